"""Requests to order, for tests."""

from itertools import count
from typing import Any

from hypothesis import strategies as st

from alise_vllm.ordering.forecast import Forecast
from alise_vllm.ordering.pace import Pace
from alise_vllm.ordering.work import Work

PACE = Pace(step_seconds=0.01, prompt_seconds=0.0001)
_numbers = count(1)


def make(p50: float | None = None, p90: float | None = None, **fields: Any) -> Work:
    """A request; predicted where a median is given, and one more than the last otherwise."""
    forecast = None if p50 is None else Forecast(p50, p50 if p90 is None else p90)
    usual = {
        "number": next(_numbers),
        "rank": 0,
        "prompt_tokens": 10,
        "max_tokens": 4_096,
        "arrived": 0.0,
        "forecast": forecast,
    }
    return Work(**{**usual, **fields})


@st.composite
def forecasts(draw: st.DrawFn) -> Forecast:
    p50 = draw(st.floats(0.01, 1e6))
    return Forecast(p50, p50 * draw(st.floats(1.0, 1e4)))
