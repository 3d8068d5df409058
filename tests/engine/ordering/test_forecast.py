"""The estimate against the integral that it stands for, and its shape."""

from math import exp, log

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alise_vllm.ordering.forecast import LEAST_TOKENS, Forecast
from fakes.works import forecasts

NO_END = 1_000_000_000


def sampled(forecast: Forecast, generated: int, most: int) -> float:
    """Mean of what is left, by summing over the quantiles of the same distribution."""
    sigma = min(max(log(forecast.p90 / forecast.p50) / 1.2815515594, 0.25), 2.5)
    steps, total, weight = 40_000, 0.0, 0.0
    for step in range(steps):
        z = -8 + 16 * (step + 0.5) / steps
        length = exp(log(forecast.p50) + sigma * z)
        if length > generated:
            density = exp(-z * z / 2)
            total += density * (min(length, most) - generated)
            weight += density
    return total / weight


@pytest.mark.parametrize(
    ("p50", "p90", "generated", "most"),
    [
        (100, 400, 0, 4_096),
        (100, 400, 50, 4_096),
        (100, 400, 300, 4_096),
        (100, 400, 300, 350),
        (1_000, 1_100, 400, 4_096),
        (20, 5_000, 200, 2_000),
    ],
)
def test_it_is_the_mean_of_what_is_left(p50: float, p90: float, generated: int, most: int) -> None:
    forecast = Forecast(p50, p90)

    expected = sampled(forecast, generated, most)

    assert forecast.remaining(generated, most) == pytest.approx(expected, rel=0.01)


def test_it_falls_as_predicted_and_rises_once_the_prediction_is_outrun() -> None:
    forecast = Forecast(100, 200)
    course = [forecast.remaining(generated, NO_END) for generated in range(0, 3_000, 10)]

    lowest = course.index(min(course))

    assert 50 <= lowest * 10 <= 200
    assert course[: lowest + 1] == sorted(course[: lowest + 1], reverse=True)
    assert course[lowest:] == sorted(course[lowest:])


def test_a_sure_prediction_that_was_wrong_by_far_is_not_believed_any_longer() -> None:
    assert Forecast(50, 50).remaining(4_000, NO_END) == (4_000 - 50) / 2
    assert Forecast(1, 1).remaining(10**8, NO_END) == (10**8 - 1) / 2


@given(forecasts(), st.integers(0, 10_000_000), st.integers(1, 10_000_000))
def test_it_is_never_below_its_floor_nor_beyond_the_clients_limit(
    forecast: Forecast, generated: int, most: int
) -> None:
    found = forecast.remaining(generated, most)

    assert LEAST_TOKENS <= found <= max(most - generated, LEAST_TOKENS)


@given(forecasts(), st.integers(0, 10_000), st.floats(1.0, 100.0))
def test_whoever_is_predicted_longer_has_more_left(
    forecast: Forecast, generated: int, factor: float
) -> None:
    assume(generated <= forecast.p90)
    longer = Forecast(forecast.p50 * factor, forecast.p90 * factor)

    less = forecast.remaining(generated, NO_END)
    assert longer.remaining(generated, NO_END) >= less * (1 - 1e-6) - 1e-6 * generated
