import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_bench.load.distribution import percentile, spread, summarize

values = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60)
fractions = st.floats(0, 1)


@given(values, fractions)
def test_a_percentile_lies_inside_the_sample(sample: list[float], fraction: float) -> None:
    ordered = sorted(sample)
    assert ordered[0] <= percentile(ordered, fraction) <= ordered[-1]


@given(values, fractions, fractions)
def test_percentiles_ascend_with_the_fraction(sample: list[float], one: float, two: float) -> None:
    ordered = sorted(sample)
    low, high = sorted((one, two))
    assert percentile(ordered, low) <= percentile(ordered, high)


@given(values)
def test_the_median_is_the_standard_library_s(sample: list[float]) -> None:
    assert percentile(sorted(sample), 0.5) == pytest.approx(statistics.median(sample))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60))
def test_quartiles_are_the_standard_library_s_inclusive_ones(sample: list[float]) -> None:
    expected = statistics.quantiles(sample, n=4, method="inclusive")
    ordered = sorted(sample)
    found = [percentile(ordered, fraction) for fraction in (0.25, 0.5, 0.75)]
    assert found == pytest.approx(expected, abs=1e-6)


@given(values)
def test_a_summary_does_not_depend_on_order(sample: list[float]) -> None:
    assert summarize(sample) == summarize(reversed(sample))


@given(values)
def test_a_summary_is_ordered_and_complete(sample: list[float]) -> None:
    summary = summarize(sample)
    assert summary is not None
    marks = [summary.minimum, summary.p50, summary.p90, summary.p95, summary.p99, summary.maximum]
    assert marks == sorted(marks)
    assert summary.count == len(sample)
    assert summary.minimum <= summary.mean <= summary.maximum
    assert summary.mean == pytest.approx(math.fsum(sample) / len(sample), abs=1e-3)


def test_nothing_has_no_summary() -> None:
    assert summarize([]) is None
    assert spread([]) is None
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


@pytest.mark.parametrize("fraction", [-0.01, 1.01])
def test_a_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        percentile([1.0], fraction)


def test_a_spread_is_median_and_range() -> None:
    found = spread([3.0, 1.0, 10.0, 2.0, 4.0])
    assert found is not None
    assert (found.median, found.low, found.high, found.count) == (3.0, 1.0, 10.0, 5)
