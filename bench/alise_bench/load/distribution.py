"""Summary statistics of a list of numbers: pure, and the only place where percentiles are taken.

Percentiles interpolate linearly between the two nearest ranks (method 7 of Hyndman and Fan 1996,
the default of numpy and R), so they lie between the smallest and the largest value.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """A distribution in eight numbers, in the unit of the values."""

    count: int
    mean: float
    minimum: float
    p50: float
    p90: float
    p95: float
    p99: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Repeated measurements of one figure: the median, and the smallest and largest repeat."""

    median: float
    low: float
    high: float
    count: int


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The value below which ``fraction`` of the sample lies.

    Args:
        ordered: Ascending, not empty.
        fraction: 0 to 1.

    Raises:
        ValueError: The sample is empty or the fraction outside 0 to 1.
    """
    if not ordered:
        raise ValueError("a percentile of nothing is undefined")
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction {fraction} is outside 0 to 1")
    rank = fraction * (len(ordered) - 1)
    below = math.floor(rank)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    # min/max: rounding must not push the result outside its two neighbours.
    return min(max(low + (high - low) * (rank - below), low), high)


def summarize(values: Iterable[float]) -> Summary | None:
    """Reduce a sample; ``None`` for an empty one, which has no percentiles."""
    ordered = sorted(values)
    if not ordered:
        return None
    mean = math.fsum(ordered) / len(ordered)
    return Summary(
        count=len(ordered),
        mean=min(max(mean, ordered[0]), ordered[-1]),
        minimum=ordered[0],
        p50=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p95=percentile(ordered, 0.95),
        p99=percentile(ordered, 0.99),
        maximum=ordered[-1],
    )


def spread(values: Iterable[float]) -> Spread | None:
    """Median and range of repeated measurements; ``None`` when there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Spread(percentile(ordered, 0.5), ordered[0], ordered[-1], len(ordered))
