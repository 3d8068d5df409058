"""The index against the search that it stands for."""

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.ordering.forecast import LEAST_TOKENS, Forecast
from alise_vllm.ordering.gittins import LEAST_SIGMA, MOST_SIGMA, IndexCurve
from fakes.works import forecasts

NO_END = 1_000_000_000
SIGMAS = st.floats(LEAST_SIGMA, MOST_SIGMA)


def searched(sigma: float, come: float) -> float:
    """The least expected service by the chance that it is enough, summed step by step."""
    begin = max(log(come) / sigma, -9.0) if come else -9.0
    width, density = 0.001, []
    for step in range(18_000):
        middle, end = begin + width * (step + 0.5), begin + width * (step + 1)
        left, until = exp(sigma * middle) - come, exp(sigma * end) - come
        density.append((left, until, exp(-middle * middle / 2)))
    total = sum(weight for _, _, weight in density)
    served = ended = 0.0
    best = float("inf")
    for left, until, weight in density:
        served, ended = served + weight * left, ended + weight
        best = min(best, (served + (total - ended) * until) / ended)
    return best


@pytest.mark.parametrize("sigma", [0.25, 0.33, 0.8, 1.5, 2.5])
@pytest.mark.parametrize("come", [0.0, 0.01, 0.4, 1.0, 3.0])
def test_it_is_the_least_over_all_services(sigma: float, come: float) -> None:
    assert IndexCurve(sigma).at(come) == pytest.approx(searched(sigma, come), rel=0.03)


@given(forecasts(), st.integers(0, 100_000))
def test_it_is_at_most_what_remains_on_average(forecast: Forecast, generated: int) -> None:
    # Service without end is one of those that are compared; 3 %: the table's own error.
    assert forecast.index(generated, NO_END) <= 1.03 * forecast.remaining(generated, NO_END)


@given(forecasts(), st.integers(0, 10_000_000), st.integers(1, 10_000_000))
def test_it_is_never_below_its_floor_nor_beyond_the_clients_limit(
    forecast: Forecast, generated: int, most: int
) -> None:
    found = forecast.index(generated, most)

    assert LEAST_TOKENS <= found <= max(most - generated, LEAST_TOKENS)


@given(SIGMAS, st.floats(0.0, 200.0))
def test_it_has_no_steps(sigma: float, come: float) -> None:
    curve = IndexCurve(sigma)
    before, after = curve.at(come), curve.at(come * 1.001 + 0.0001)

    assert abs(log(after / before)) < 0.05


def test_what_may_well_be_short_is_tried_and_what_was_tried_is_not() -> None:
    sure, vague = Forecast(100, 140), Forecast(100, 2_000)

    assert vague.remaining(0, NO_END) > 4 * sure.remaining(0, NO_END)
    assert vague.index(0, NO_END) < sure.index(0, NO_END)
    assert vague.index(100, NO_END) > 2 * sure.index(100, NO_END)


def test_a_sure_prediction_that_was_wrong_by_far_is_not_believed_any_longer() -> None:
    assert Forecast(50, 50).index(4_000, NO_END) == pytest.approx((4_000 - 50) / 3)
