"""Answers that ended at ``max_tokens``: lower bounds, completed by what was predicted beyond them.

Leaving them out would teach that answers are short, because it is the long ones that are cut.
"""

from bisect import bisect_right
from collections.abc import Sequence

from alise_core.prediction import LEVELS

_GOLDEN = 0.618_033_988_749_895
_TAIL = 0.35
"""Log units added at most when a bound lies beyond everything predicted."""


def complete(bound: float, log_quantiles: Sequence[float], turn: int) -> float:
    """A length at or above a bound, as the prediction distributes them.

    Successive turns take successive members of a low-discrepancy sequence, so that completed
    answers have the predicted tail's spread without randomness.

    Args:
        bound: ``log(1 + tokens)`` that were produced before the cut.
        log_quantiles: What was predicted, at each of ``LEVELS``.
        turn: Number of this completion.
    """
    passed = _probability(bound, log_quantiles)
    level = passed + (1.0 - passed) * ((turn * _GOLDEN) % 1.0)
    if level >= LEVELS[-1]:
        beyond = (level - LEVELS[-1]) / (1.0 - LEVELS[-1])
        return max(bound, log_quantiles[-1]) + _TAIL * beyond
    index = max(0, bisect_right(LEVELS, level) - 1)
    share = (level - LEVELS[index]) / (LEVELS[index + 1] - LEVELS[index])
    low, high = log_quantiles[index], log_quantiles[index + 1]
    return max(bound, low + share * (high - low))


def _probability(value: float, log_quantiles: Sequence[float]) -> float:
    index = bisect_right(log_quantiles, value) - 1
    if index < 0:
        return 0.0
    if index == len(LEVELS) - 1:
        return LEVELS[-1]
    low, high = log_quantiles[index], log_quantiles[index + 1]
    share = (value - low) / (high - low) if high > low else 0.0
    return LEVELS[index] + share * (LEVELS[index + 1] - LEVELS[index])
