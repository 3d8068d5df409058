"""The most KV memory that requests will hold at one time, if no further one comes. Pure.

Requests gain a token a step, all of them, so the moments at which they end are ordered by what each
has still to generate. With those that end last first, the memory when request i ends is what the
first i hold now, and i times what request i has still to generate; the largest of these sums is the
peak. ``kv_ledger`` keeps the same for one backend as requests come and go; here it is asked for
once in a while, for all of a model's.

Source: Past-Future scheduler, arXiv 2507.10150.
"""

from collections.abc import Iterable
from math import sqrt

Held = tuple[float, float]
"""KV tokens that a request holds now, and those that it has still to generate."""


def future_peak(requests: Iterable[Held]) -> float:
    """KV tokens at the worst moment to come; 0 of no requests. O(n log n)."""
    peak = base = 0.0
    last_first = sorted(requests, key=lambda one: one[1], reverse=True)
    for count, (held, rest) in enumerate(last_first, 1):
        base += held
        peak = max(peak, base + count * rest)
    return peak


def high_peak(middle: float, every_high: float, count: int) -> float:
    """What the peak does not exceed in about nine of ten cases.

    Args:
        middle: The peak with every answer at its median.
        every_high: The peak with every answer at its 90th percentile.
        count: Requests: of a sum of so many independent ones the spread is less, by the root.
    """
    return middle + max(0.0, every_high - middle) / sqrt(max(1, count))
