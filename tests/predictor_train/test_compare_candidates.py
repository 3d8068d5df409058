"""Every candidate learns what there is to learn, and never leaves the training range."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightgbm")
pytest.importorskip("sklearn")

from alise_core.clock import MonotonicClock
from alise_predictor.artifact import write_bundle
from alise_predictor.evaluation.ranking import kendall_tau_b
from alise_predictor.request import from_prompt
from alise_predictor.serving import LengthPredictor
from alise_predictor.train.candidates.bag_mlp import BagMlp
from alise_predictor.train.candidates.base import (
    MEDIAN,
    Candidate,
    CandidateUnavailable,
    Context,
    Files,
    PromptStore,
)
from alise_predictor.train.candidates.constant import Constant
from alise_predictor.train.candidates.distilled import DistilledTier0
from alise_predictor.train.candidates.fine_tuned import Blend, FineTunedFloat, FineTunedInt8
from alise_predictor.train.candidates.hand_boosting import HandBoosting
from alise_predictor.train.candidates.hashed import Hashed, hashed_candidates
from alise_predictor.train.candidates.prompt_length import PromptLength
from alise_predictor.train.compare.options import Limits
from alise_predictor.train.compare.regime_runner import Setting, prepare
from alise_predictor.train.compare.regimes import Regime, make_regime
from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.dataset.split import SALT
from alise_predictor.train.examples import Examples
from fakes.length_corpus import make_corpus
from fakes.predictor_bundle import BundleOptions, description, files, tiny_bundle

_LEARN: list[Candidate] = [HandBoosting(), *hashed_candidates()[:4], BagMlp()]
_ALL: list[Candidate] = [Constant(), PromptLength(), *_LEARN]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus({"one": (True, True), "two": (True, True)}, prompts=900)


@pytest.fixture(scope="module")
def regime(corpus: Corpus) -> Regime:
    return make_regime(corpus, "shipped", "", ["one", "two"], [])


@pytest.fixture
def prepared(corpus: Corpus, regime: Regime, tmp_path: Path) -> tuple[Examples, Context]:
    setting = Setting(corpus, PromptStore(corpus), Files(tmp_path), Limits(), MonotonicClock(),
                      lambda _: None, quick=True, seed=0)  # fmt: skip
    return prepare(regime, setting)


def _names(candidates: list[Candidate]) -> list[str]:
    return [candidate.name for candidate in candidates]


@pytest.mark.parametrize("candidate", _ALL, ids=_names(_ALL))
def test_quantiles_are_ordered_and_inside_the_training_range(
    candidate: Candidate, prepared: tuple[Examples, Context]
) -> None:
    examples, context = prepared
    fitted = candidate.fit(examples, context)
    found = fitted.log_quantiles(context.validation.prompts)
    assert found.shape == (len(context.validation), 7)
    assert np.all(np.diff(found, axis=1) >= 0)
    low, high = context.span
    assert low - 1e-4 <= found.min() <= found.max() <= high + 1e-4
    assert fitted.size_bytes > 0
    assert fitted.predict_one is not None
    fitted.predict_one(from_prompt("Write an essay.", ""))
    fitted.predict_one(from_prompt("", ""))


@pytest.mark.parametrize("candidate", _LEARN, ids=_names(_LEARN))
def test_words_that_ask_for_long_answers_are_learned(
    candidate: Candidate, prepared: tuple[Examples, Context]
) -> None:
    examples, context = prepared
    fitted = candidate.fit(examples, context)
    unseen = context.validation
    score = fitted.log_quantiles(unseen.prompts)[:, MEDIAN]
    tau = kendall_tau_b(unseen.level, score)
    assert tau is not None
    assert tau > 0.3
    if fitted.score is not None:
        ordered = kendall_tau_b(unseen.level, fitted.score(unseen.prompts))
        assert ordered == pytest.approx(tau, abs=0.02)


def test_fitting_twice_gives_the_same(prepared: tuple[Examples, Context]) -> None:
    examples, context = prepared
    for candidate in (Hashed(), BagMlp(), HandBoosting()):
        one, other = (candidate.fit(examples, context).log_quantiles(context.validation.prompts)
                      for _ in range(2))  # fmt: skip
        assert np.array_equal(one, other)


def test_a_fine_tuned_network_needs_a_checkpoint(prepared: tuple[Examples, Context]) -> None:
    for candidate in (FineTunedFloat(), FineTunedInt8(), DistilledTier0()):
        with pytest.raises(CandidateUnavailable, match=r"shipped\.pt"):
            candidate.fit(*prepared)


def test_a_blend_is_the_weighted_mean_and_needs_both(prepared: tuple[Examples, Context]) -> None:
    examples, context = prepared
    blend = Blend("mixed", "", "constant", second="prompt_length", weight=0.25)
    with pytest.raises(CandidateUnavailable, match="constant"):
        blend.fit(examples, context)
    fitted = {one.name: one.fit(examples, context) for one in (Constant(), PromptLength())}
    prompts = context.validation.prompts
    both = replace(context, fitted=fitted)
    expected = (0.25 * fitted["constant"].log_quantiles(prompts)
                + 0.75 * fitted["prompt_length"].log_quantiles(prompts))  # fmt: skip
    assert blend.fit(examples, both).log_quantiles(prompts) == pytest.approx(expected, abs=1e-5)


def test_a_bundle_of_another_split_is_not_compared(
    prepared: tuple[Examples, Context], tmp_path: Path
) -> None:
    examples, context = prepared
    bundle = tiny_bundle(tmp_path / "bundle", BundleOptions(tier1=True))
    theirs = replace(context, files=replace(context.files, bundle=bundle.directory))
    for candidate in (DistilledTier0(), FineTunedInt8()):
        with pytest.raises(CandidateUnavailable, match="another split"):
            candidate.fit(examples, theirs)


def test_a_bundle_of_this_split_answers_itself(
    prepared: tuple[Examples, Context], tmp_path: Path
) -> None:
    examples, context = prepared
    options = BundleOptions(tier1=True)
    made = description(tier1=True)
    training = made.training.model_copy(update={"split_salt": SALT})
    bundle = write_bundle(tmp_path / "bundle", made.model_copy(update={"training": training}),
                          files(options))  # fmt: skip
    theirs = replace(context, files=replace(context.files, bundle=bundle.directory))
    predictor = LengthPredictor.open(bundle, tier1=False)
    prompts = context.validation.prompts[:5]
    fitted = DistilledTier0().fit(examples, theirs)
    expected = [predictor.predict(context.prompts.request(one)).log_quantiles for one in prompts]
    assert np.allclose(fitted.log_quantiles(prompts), expected, atol=1e-5)
    assert fitted.size_bytes == (bundle.directory / "tier0.onnx").stat().st_size
    second = FineTunedInt8().fit(examples, theirs).log_quantiles(prompts)
    assert second.shape == (5, 7)
    assert np.array_equal(second, FineTunedInt8().fit(examples, theirs).log_quantiles(prompts))
