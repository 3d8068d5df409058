"""The small network's losses, the scaling of scores, and retrieval."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from alise_core.clock import MonotonicClock
from alise_predictor.evaluation.ranking import kendall_tau_b
from alise_predictor.train.candidates import frozen_encoder, retrieval
from alise_predictor.train.candidates.base import (
    MEDIAN,
    CandidateUnavailable,
    Context,
    Files,
    PromptStore,
)
from alise_predictor.train.candidates.constant import Constant
from alise_predictor.train.candidates.frozen_encoder import FrozenMlp, frozen_candidates
from alise_predictor.train.candidates.rank_scale import fit_scale
from alise_predictor.train.candidates.retrieval import FALLBACK, Retrieval
from alise_predictor.train.compare.options import Limits
from alise_predictor.train.compare.regime_runner import Setting, prepare
from alise_predictor.train.compare.regimes import make_regime
from alise_predictor.train.examples import Examples
from fakes.length_corpus import make_corpus

_WORDS = ("essay", "story", "report", "explain", "name", "yes", "classify", "translate")


class _Encoder:
    """Counts words: what a sentence encoder does, without its weights."""

    def __init__(self, context: Context) -> None:
        self.width = len(_WORDS)
        self.weights = context.files.cache / "weights"
        self.weights.write_bytes(b"weights")

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        return self.encode(texts)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.array([[text.split().count(word) for word in _WORDS] for text in texts])
        vectors = (counts + 0.01).astype(np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Examples, Context]:
    for module in (frozen_encoder, retrieval):
        monkeypatch.setattr(module, "FrozenEncoder", _Encoder)
    corpus = make_corpus({"one": (True, True), "two": (True, True)}, prompts=900)
    setting = Setting(corpus, PromptStore(corpus), Files(tmp_path), Limits(), MonotonicClock(),
                      lambda _: None, quick=True, seed=0)  # fmt: skip
    return prepare(make_regime(corpus, "shipped", "", ["one", "two"], []), setting)


@pytest.mark.parametrize("candidate", frozen_candidates(), ids=lambda one: one.name)
def test_every_loss_learns_the_order_and_stays_in_range(
    candidate: FrozenMlp, prepared: tuple[Examples, Context]
) -> None:
    examples, context = prepared
    longer = replace(candidate, settings=replace(candidate.settings, epochs=8))
    fitted = longer.fit(examples, replace(context, quick=False))
    unseen = context.validation
    found = fitted.log_quantiles(unseen.prompts)
    tau = kendall_tau_b(unseen.level, found[:, MEDIAN])
    assert tau is not None
    assert tau > 0.4
    assert np.all(np.diff(found, axis=1) >= 0)
    low, high = context.span
    assert low - 1e-4 <= found.min() <= found.max() <= high + 1e-4
    covered = np.mean(unseen.level <= found[:, MEDIAN])
    assert 0.25 < covered < 0.75


def test_a_scale_fits_a_line_and_never_turns_a_score_around(
    prepared: tuple[Examples, Context],
) -> None:
    _, context = prepared
    held_out = context.validation
    straight = fit_scale(held_out.level * 3 + 1, held_out, context.span, 0)
    assert straight.slope == pytest.approx(1 / 3, rel=0.15)
    turned = fit_scale(-held_out.level, held_out, context.span, 0)
    assert turned.slope == 0.0
    found = turned.log_quantiles(held_out.level)
    assert np.allclose(found, found[0])


def test_retrieval_answers_with_similar_requests_lengths(
    prepared: tuple[Examples, Context],
) -> None:
    examples, context = prepared
    fitted = Retrieval("retrieval", "", -1.0).fit(examples, context)
    unseen = context.validation
    found = fitted.log_quantiles(unseen.prompts)
    tau = kendall_tau_b(unseen.level, found[:, MEDIAN])
    assert tau is not None
    assert tau > 0.3
    assert np.all(np.diff(found, axis=1) >= 0)
    (rate,) = fitted.notes.values()
    assert 0 < rate <= 1


def test_below_the_threshold_the_head_answers(prepared: tuple[Examples, Context]) -> None:
    examples, context = prepared
    with pytest.raises(CandidateUnavailable, match=FALLBACK):
        Retrieval("never", "", 1.1).fit(examples, context)
    constant = Constant().fit(examples, context)
    known = replace(context, fitted={FALLBACK: constant})
    prompts = context.validation.prompts
    never = Retrieval("never", "", 1.1).fit(examples, known).log_quantiles(prompts)
    assert np.array_equal(never, constant.log_quantiles(prompts))
    always = Retrieval("always", "", -0.5).fit(examples, known).log_quantiles(prompts)
    alone = Retrieval("alone", "", -1.0).fit(examples, context).log_quantiles(prompts)
    assert np.array_equal(always, alone)
