"""Quantiles: ordered, finite, and right as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import LEVELS
from alise_predictor.online.conformal import WINDOW, ConformalQuantiles, spread_of
from fakes.online_traffic import NORMAL, Traffic, learner, raw, tokens


def feed(found: ConformalQuantiles, scores: list[float]) -> list[list[bool]]:
    """Predict, then learn, one score after the other; gives what was hit."""
    hits = []
    for score in scores:
        below = [score <= value for value in found.scores(NORMAL)]
        found.update(score, below)
        hits.append(below)
    return hits


def test_without_answers_the_models_own_quantiles_stand() -> None:
    assert ConformalQuantiles().scores(NORMAL) == list(NORMAL)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_every_level_is_hit_as_often_as_promised(scale: float) -> None:
    scores = np.random.default_rng(0).normal(0.2, scale, 3_000).tolist()

    hits = np.mean(feed(ConformalQuantiles(), scores)[200:], axis=0)

    assert hits == pytest.approx(LEVELS, abs=0.03)


def test_coverage_returns_after_a_change() -> None:
    rng = np.random.default_rng(0)
    found = ConformalQuantiles()
    feed(found, rng.normal(0.0, 0.5, 1_000).tolist())

    hits = feed(found, rng.normal(1.0, 1.5, 1_500).tolist())

    assert np.mean(hits[700:], axis=0) == pytest.approx(LEVELS, abs=0.05)


@given(
    st.lists(st.floats(-100, 100), max_size=60), st.lists(st.floats(-5, 5), min_size=7, max_size=7)
)
def test_scores_are_ordered_and_finite(history: list[float], own: list[float]) -> None:
    found = ConformalQuantiles()
    feed(found, history)

    scores = found.scores(sorted(own))

    assert scores == sorted(scores)
    assert np.isfinite(scores).all()


def test_levels_that_were_steered_past_each_other_stay_in_order() -> None:
    found = ConformalQuantiles()
    feed(found, [value / 100 for value in range(300)])
    found.load(found.state() | {"shifts": np.array([0.016, -0.08, 0.08, -0.08, 0.08, -0.08, 0.0])})

    scores = found.scores(NORMAL)

    assert scores == sorted(scores)
    assert scores[0] == scores[1] > 0.05


def test_window_is_bounded() -> None:
    found = ConformalQuantiles()

    feed(found, [float(i % 7) for i in range(WINDOW + 50)])

    assert len(found) == WINDOW


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=7, max_size=7))
def test_spread_is_usable_whatever_a_model_says(log_quantiles: list[float]) -> None:
    assert 0.0 < spread_of(log_quantiles) < np.inf


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.floats(-100, 100), st.floats(0, 5), st.integers(0, 10**7)), max_size=30)
)
def test_corrected_quantiles_are_ordered_finite_and_bounded(
    answers: list[tuple[float, float, int]],
) -> None:
    traffic = Traffic(learner())

    for median, spread, length in answers:
        traffic.finish(raw("a few words", median, spread), length)

    for corrected in traffic.corrections:
        found = corrected.log_quantiles
        assert list(found) == sorted(found)
        assert all(0.0 <= value <= 16.0 for value in found)


@pytest.mark.slow
def test_interval_of_a_whole_learner_covers() -> None:
    rng = np.random.default_rng(0)
    traffic, inside = Traffic(learner()), []

    for _ in range(900):
        length = tokens(rng.normal(6.0, 0.9))
        found = traffic.finish(raw("hello there", 5.0, 0.3), length).evidence
        assert found is not None
        inside.append(found.log_quantiles[1] <= np.log1p(length) <= found.log_quantiles[5])

    assert 0.76 <= np.mean(inside[200:]) <= 0.84
