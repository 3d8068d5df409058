"""What is learned from the answers that ended, and what it does to the next prediction."""

import random
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.ordering.calibration import Calibration
from alise_vllm.ordering.forecast import Forecast
from alise_vllm.ordering.normal import Z90
from fakes.works import forecasts


def taught(answers: int, factor: float, slope: float, sigma: float, told: float) -> Calibration:
    """By answers that are ``factor * median ** slope``, but for a log-normal error."""
    generator = random.Random(1)  # noqa: S311
    made = Calibration()
    for _ in range(answers):
        median = generator.lognormvariate(log(100), 0.8)
        length = factor * 100 * (median / 100) ** slope * generator.lognormvariate(0, sigma)
        made.learn(Forecast(median, median * exp(Z90 * told)), max(1, round(length)), cut=False)
    return made


def sigma_of(forecast: Forecast) -> float:
    return log(forecast.p90 / forecast.p50) / Z90


@given(forecasts())
def test_without_an_answer_a_prediction_is_taken_as_it_is(told: Forecast) -> None:
    assert Calibration().corrected(told) is told


def test_predictions_that_are_right_stay_as_they_are() -> None:
    made = taught(2_000, 1.0, 1.0, 0.5, 0.5)

    for p50 in (20.0, 100.0, 500.0):
        found = made.corrected(Forecast(p50, p50 * 2))
        assert found.p50 == pytest.approx(p50, rel=0.15)
        assert sigma_of(found) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("factor", "slope", "sigma"), [(2.0, 1.0, 0.3), (0.5, 1.5, 1.1)])
def test_shift_slope_and_spread_are_found(factor: float, slope: float, sigma: float) -> None:
    made = taught(2_000, factor, slope, sigma, 0.5)

    for p50 in (50.0, 100.0, 200.0):
        found = made.corrected(Forecast(p50, p50 * 2))
        # A hundred answers count, against thirty that were as predicted.
        wanted = factor * 100 * (p50 / 100) ** slope
        assert abs(log(found.p50 / wanted)) < 0.3 * abs(log(factor)) + 0.25
    assert made.line.slope == pytest.approx(slope, abs=0.25)
    assert made.line.sigma == pytest.approx(sigma, abs=0.15)


def test_predictions_without_worth_are_all_the_same_in_the_end() -> None:
    generator = random.Random(2)  # noqa: S311
    made = Calibration()
    for _ in range(1_000):
        median = generator.lognormvariate(log(100), 2.0)
        length = max(1, round(generator.lognormvariate(log(50), 0.5)))
        made.learn(Forecast(median, 2 * median), length, cut=False)

    short, long = made.corrected(Forecast(20, 40)), made.corrected(Forecast(500, 1_000))

    assert long.p50 / short.p50 < 1.5


def test_few_answers_weigh_little() -> None:
    made = Calibration()
    for _ in range(3):
        made.learn(Forecast(100, 200), 1_000, cut=False)

    assert 100 < made.corrected(Forecast(100, 200)).p50 < 150


def test_newer_answers_count_more_than_older_ones() -> None:
    made = taught(500, 10.0, 1.0, 0.3, 0.5)
    for _ in range(400):
        made.learn(Forecast(100, 200), 100, cut=False)

    assert made.corrected(Forecast(100, 200)).p50 < 200


def test_an_answer_that_was_cut_early_says_nothing() -> None:
    made = Calibration()

    made.learn(Forecast(100, 200), 10, cut=True)
    assert made.answers == 0
    made.learn(Forecast(100, 200), 300, cut=True)
    assert made.answers == 1
    assert made.corrected(Forecast(100, 200)).p50 > 100
    made.learn(Forecast(100, 200), 0, cut=False)
    assert made.answers == 1


@given(st.lists(st.tuples(forecasts(), st.integers(1, 10_000_000))), forecasts())
def test_whatever_is_learned_the_next_prediction_is_one(
    answers: list[tuple[Forecast, int]], told: Forecast
) -> None:
    made = Calibration()
    for said, tokens in answers:
        made.learn(said, tokens, cut=False)

    found = made.corrected(told)

    assert 0 < found.p50 <= found.p90 < float("inf")
    assert found.p50 <= 1_000.1 * told.p50
    assert found.remaining(10, 4_096) >= 1
    assert set(made.state()) <= {"shift_ratio", "slope", "sigma"}


@given(st.lists(st.tuples(forecasts(), st.integers(1, 10_000)), min_size=1), forecasts())
def test_whoever_is_predicted_longer_stays_so(
    answers: list[tuple[Forecast, int]], told: Forecast
) -> None:
    made = Calibration()
    for said, tokens in answers:
        made.learn(said, tokens, cut=False)

    longer = made.corrected(Forecast(2 * told.p50, 2 * told.p90))

    assert longer.p50 >= made.corrected(told).p50 * (1 - 1e-9)
