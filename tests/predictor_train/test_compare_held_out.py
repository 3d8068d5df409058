"""Tier 0 without data sets, models, or what came later."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from alise_core.clock import MonotonicClock
from alise_predictor.train.candidates.base import Files, PromptStore
from alise_predictor.train.candidates.hashed import Hashed
from alise_predictor.train.compare.held_out import after, without_models, without_sources
from alise_predictor.train.compare.options import QUICK_LIMITS
from alise_predictor.train.compare.regime_runner import Setting, prepare
from alise_predictor.train.compare.regimes import make_regime
from alise_predictor.train.dataset.corpus import Corpus
from fakes.length_corpus import make_corpus


def _setting(corpus: Corpus, cache: Path) -> Setting:
    return Setting(corpus, PromptStore(corpus), Files(cache), QUICK_LIMITS, MonotonicClock(),
                   lambda _: None, quick=True, seed=0)  # fmt: skip


def test_a_data_set_that_was_left_out_is_scored_beside_the_one_that_knew_it(
    tmp_path: Path,
) -> None:
    corpus = make_corpus({"one": (True, True), "two": (True, True)}, prompts=700)
    setting = _setting(corpus, tmp_path)
    regime = make_regime(corpus, "shipped", "", ["one", "two"], [])
    fitted = Hashed().fit(*prepare(regime, setting))
    found = without_sources(regime, fitted, Hashed(), setting)
    assert [one.name for one in found] == ["one", "two"]
    for one in found:
        assert one.with_it is not None
        assert one.with_it.n == one.without.n
        # Both data sets ask for long and short answers with the same words.
        assert (one.without.tau_b or 0) > 0.25


def test_models_that_were_left_out_are_ordered_all_the_same(tmp_path: Path) -> None:
    corpus = make_corpus({"alpaca_eval": (False, True)}, prompts=900, models=6)
    (one,) = without_models(Hashed(), _setting(corpus, tmp_path))
    assert one.name == "2 of 6 models of alpaca_eval"
    assert (one.without.tau_b or 0) > 0.25
    assert one.with_it is not None


def test_what_came_later_is_scored_where_there_are_timestamps(tmp_path: Path) -> None:
    corpus = make_corpus({"own": (False, True)}, prompts=700)
    assert after(Hashed(), _setting(corpus, tmp_path)) == []
    prompts = tuple(
        replace(prompt, timestamp_s=1.7e9 + number) for number, prompt in enumerate(corpus.prompts)
    )
    timed = replace(corpus, prompts=prompts)
    (one,) = after(Hashed(), _setting(timed, tmp_path))
    assert one.kind == "time"
    assert one.with_it is None
    assert (one.without.tau_b or 0) > 0.25
