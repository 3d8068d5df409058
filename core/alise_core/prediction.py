"""A predicted number of output tokens, as a distribution, and what becomes of it while it runs.

Pure: the queue, admission and routing condition on what a request has generated so far without
asking the model again.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, expm1, log, log1p

LEVELS: tuple[float, ...] = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
"""Probabilities at which a distribution is stored."""

_P = (0.0, *LEVELS, 1.0)
_OVERRUN_SHAPE = 2.0
"""Pareto shape beyond the support: a request that outran everything predicted is expected to go
on for as long again (``g / (shape - 1)``), which is the bounce that bounds the harm of wrong
estimates (Scully, Grosof and Mitzenmacher, arXiv 2110.00633)."""


class PredictionSource(StrEnum):
    """Where a prediction came from; a metric label."""

    TIER0 = "tier0"
    TIER1 = "tier1"
    TENANT_HISTOGRAM = "tenant_histogram"
    MODEL_HISTOGRAM = "model_histogram"
    PRIOR = "prior"


@dataclass(frozen=True, slots=True)
class LengthDistribution:
    """Distribution of a request's output tokens.

    The quantile function is linear in ``log(1 + tokens)`` between its knots, and capped.

    Attributes:
        knots: ``log(1 + tokens)`` at probability 0, at each of ``LEVELS`` and at 1;
            non-decreasing.
        cap: Tokens that cannot be passed (``max_tokens``, what is left of the context window);
            the probability beyond lies on the cap.
    """

    knots: tuple[float, ...]
    cap: float

    @classmethod
    def of(
        cls, log_quantiles: Sequence[float], lowest: float, highest: float, cap: float | None
    ) -> "LengthDistribution":
        """Build from ``log(1 + tokens)`` at each of ``LEVELS``, put in order and clamped.

        Args:
            log_quantiles: One value for each of ``LEVELS``; an unordered or unbounded one is
                repaired, because a head that extrapolates can be off by orders of magnitude.
            lowest: Fewest tokens ever predicted.
            highest: Most tokens ever predicted.
            cap: ``max_tokens`` or what else bounds the answer; ``None`` for no bound.
        """
        bottom, top = log1p(lowest), log1p(max(lowest, highest))
        middle = sorted(min(max(value, bottom), top) for value in log_quantiles)
        first = max(bottom, 2 * middle[0] - middle[1])
        last = min(top, 2 * middle[-1] - middle[-2])
        limit = highest if cap is None else max(1.0, min(cap, highest))
        return cls((first, *middle, last), limit)

    def quantile(self, probability: float) -> float:
        """Tokens that are not exceeded with this probability."""
        return min(expm1(self._log_quantile(probability)), self.cap)

    def mean(self) -> float:
        """Expected tokens."""
        total = 0.0
        log_cap = log1p(self.cap)
        for index, (low, high) in enumerate(zip(self.knots, self.knots[1:], strict=False)):
            weight = _P[index + 1] - _P[index]
            total += weight * _segment_mean(min(low, log_cap), high, log_cap)
        return total

    def exceeds(self, tokens: float) -> float:
        """Probability that the answer is longer than this."""
        if tokens >= self.cap:
            return 0.0
        return 1.0 - self._probability(log1p(max(0.0, tokens)))

    def given_more_than(self, generated: float) -> "LengthDistribution":
        """P(L | L > generated): the distribution of the whole length, known to be longer.

        Beyond the support the rest is Pareto: the longer a request has overrun, the longer it
        is expected to go on. Never shorter than ``generated + 1`` before the cap.

        Args:
            generated: Output tokens produced so far.
        """
        if generated <= 0:
            return self
        floor = log1p(min(generated + 1.0, self.cap))
        passed = self._probability(log1p(generated))
        alive = 1.0 - passed
        if alive <= 1.0 - LEVELS[-1]:
            return self._overrun(generated, floor)
        points = [self._log_quantile(passed + level * alive) for level in _P]
        return LengthDistribution(tuple(max(floor, point) for point in points), self.cap)

    def remaining_mean(self, generated: float) -> float:
        """Expected tokens still to come after ``generated``; at least 1 before the cap."""
        if generated >= self.cap:
            return 0.0
        return max(1.0, self.given_more_than(generated).mean() - max(0.0, generated))

    def _overrun(self, generated: float, floor: float) -> "LengthDistribution":
        start = max(log1p(generated), self.knots[-2])
        points = [start - log(1.0 - min(level, 0.995)) / _OVERRUN_SHAPE for level in _P]
        return LengthDistribution(tuple(max(floor, point) for point in points), self.cap)

    def _log_quantile(self, probability: float) -> float:
        knots = self.knots
        if probability <= 0.0:
            return knots[0]
        if probability >= 1.0:
            return knots[-1]
        index = bisect_right(_P, probability) - 1
        share = (probability - _P[index]) / (_P[index + 1] - _P[index])
        return knots[index] + share * (knots[index + 1] - knots[index])

    def _probability(self, value: float) -> float:
        """Share of the distribution at or below a value of ``log(1 + tokens)``."""
        knots = self.knots
        if value < knots[0]:
            return 0.0
        if value >= knots[-1]:
            return 1.0
        index = bisect_right(knots, value) - 1
        width = knots[index + 1] - knots[index]
        share = (value - knots[index]) / width if width > 0 else 1.0
        return _P[index] + share * (_P[index + 1] - _P[index])


def _segment_mean(low: float, high: float, log_cap: float) -> float:
    """Mean of ``min(e^x - 1, cap)`` for x uniform in [low, high]."""
    width = high - low
    if width < 1e-9:  # noqa: PLR2004  below this the difference quotient loses its digits
        return expm1(min(low, log_cap))
    top = min(high, log_cap)
    inside = exp(top) - exp(low) - (top - low)
    return (inside + (high - top) * expm1(log_cap)) / width
