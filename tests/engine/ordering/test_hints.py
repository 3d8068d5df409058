from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.ordering.forecast import USUAL_RATIO, Forecast
from alise_vllm.ordering.hints import MOST_RANK, MOST_TOKENS, Hints, read_hints

NAMES = ["alise_p50", "alise_p90", "alise_class", "alise_call_seconds"]
ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.lists(st.integers())
    | st.dictionaries(st.text(), st.integers())
)


def test_everything_that_is_said_is_read() -> None:
    said = {"alise_p50": 120, "alise_p90": 400.5, "alise_class": 2, "alise_call_seconds": 1.5}

    assert read_hints({**said, "of_somebody_else": "x"}) == Hints(Forecast(120, 400.5), 2, 1.5)


@pytest.mark.parametrize("extra", [None, {}, [], "alise_p50", 3, {"alise_p50": None}])
def test_nothing_said_is_nothing_wrong(extra: object) -> None:
    assert read_hints(extra) == Hints()


def test_a_median_alone_gets_a_usual_spread() -> None:
    assert read_hints({"alise_p50": 10}).forecast == Forecast(10, 10 * USUAL_RATIO)


@pytest.mark.parametrize(
    "value",
    [
        -1,
        0,
        0.0,
        True,
        "120",
        [120],
        float("nan"),
        float("inf"),
        float("-inf"),
        MOST_TOKENS + 1,
        10**400,
        -(10**400),
    ],
)
def test_a_median_of_no_use_is_left_out_and_counted(value: object) -> None:
    assert read_hints({"alise_p50": value}) == Hints(ignored=1)
    # A 90th percentile means nothing without it.
    assert read_hints({"alise_p50": value, "alise_p90": 400}) == Hints(ignored=2)


@pytest.mark.parametrize("value", [9, -1, "x", float("nan")])
def test_a_90th_percentile_of_no_use_leaves_the_median(value: object) -> None:
    found = read_hints({"alise_p50": 10, "alise_p90": value})

    assert found == Hints(Forecast(10, 10 * USUAL_RATIO), ignored=1)


@pytest.mark.parametrize("value", [-1, MOST_RANK + 1, 1.0, True, "0", [0], 10**400])
def test_a_class_of_no_use_is_left_out_and_counted(value: object) -> None:
    assert read_hints({"alise_class": value}) == Hints(ignored=1)


@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING))
def test_whatever_is_written_an_estimate_can_be_made_of_it(extra: dict[str, Any]) -> None:
    found = read_hints(extra)

    assert 0 <= found.ignored <= len(extra)
    assert found.rank is None or 0 <= found.rank <= MOST_RANK
    assert found.call_seconds >= 0
    if found.forecast is not None:
        assert found.forecast.remaining(7, 100) <= 93
