"""The whole comparison on made-up data."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightgbm")
pytest.importorskip("sklearn")

from alise_core.clock import MonotonicClock
from alise_core.errors import ConfigError
from alise_predictor.train.candidates.constant import Constant
from alise_predictor.train.candidates.fine_tuned import FineTunedFloat
from alise_predictor.train.candidates.hashed import Hashed
from alise_predictor.train.compare.options import Options
from alise_predictor.train.compare.report import render
from alise_predictor.train.compare.results import Results, as_json
from alise_predictor.train.compare.runner import compare
from fakes.length_corpus import make_corpus

_SOURCES = {
    "gpteacher_code": (True, True),
    "gpteacher_role": (True, True),
    "mmlu_pro": (True, True),
    "alpaca_eval": (False, True),
    "bfcl": (False, False),
}


def _run(cache: Path, seed: int = 0) -> Results:
    corpus = make_corpus(_SOURCES, prompts=700, models=4, samples=2)
    options = Options(data=cache / "nothing", cache=cache, quick=True, seed=seed)
    return compare(corpus, options, MonotonicClock(), [Constant(), Hashed(), FineTunedFloat()])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return _run(tmp_path_factory.mktemp("cache"))


def test_both_training_sets_are_scored_on_all_parts(results: Results) -> None:
    assert [regime.name for regime in results.regimes] == ["shipped", "research"]
    for regime in results.regimes:
        assert set(regime.tests) == {"in", "out", "tools"}
        assert [one.name for one in regime.candidates] == ["constant", "tier0_undistilled"]
        tier0 = regime.candidates[1]
        for part in regime.tests:
            tau = tier0.parts[part].macro.tau_b
            assert tau is not None
            assert tau > 0.25
            assert tier0.parts[part].difference is None
            difference = regime.candidates[0].parts[part].difference
            assert difference is not None
            assert difference.high < 0


def test_what_could_not_be_fitted_is_named(results: Results) -> None:
    assert "fine_tuned" in results.regimes[0].left_out


def test_the_reference_is_the_best_tier_0_there_is(results: Results) -> None:
    assert [regime.reference for regime in results.regimes] == ["tier0_undistilled"] * 2


def test_graphs_are_timed_and_ceilings_computed(results: Results) -> None:
    assert {(row.graph, row.prompt_tokens) for row in results.latency} == {
        ("tier0_undistilled", tokens) for tokens in (32, 128, 512, 4_096)
    }
    assert {one.source for one in results.ceilings} == set(_SOURCES)


def test_results_are_json_and_a_document(results: Results) -> None:
    assert json.loads(json.dumps(as_json(results), allow_nan=False))["regimes"]["research"]
    assert "not a result" in render(results, [])


def test_the_figures_are_the_same_for_the_same_seed(results: Results, tmp_path: Path) -> None:
    again = _run(tmp_path)
    for one, other in zip(results.regimes, again.regimes, strict=True):
        assert [item.parts for item in one.candidates] == [item.parts for item in other.candidates]


def test_an_unknown_candidate_is_refused(tmp_path: Path) -> None:
    corpus = make_corpus(_SOURCES)
    options = Options(data=tmp_path, cache=tmp_path, quick=True, candidates=("nonsense",))
    with pytest.raises(ConfigError, match=r"nonsense.*tier0"):
        compare(corpus, options, MonotonicClock())
