"""A predicted number of output tokens, as a distribution, and what becomes of it while it runs.

Pure: the queue, admission and routing condition on what a request has generated so far without
asking the model again.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, expm1, inf, isnan, log, log1p

LEVELS: tuple[float, ...] = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
"""Probabilities at which a distribution is stored."""

_P = (0.0, *LEVELS)
_WEIGHTS = tuple(high - low for low, high in zip(_P, LEVELS, strict=False))
"""Probability between two neighbours of ``_P``."""
_KNOT_AT = {level: number for number, level in enumerate(LEVELS, 1)}
_TAIL = 1.0 - LEVELS[-1]
_TAIL_SHAPE = 2.0
"""Pareto shape beyond the last level: a request that outran everything predicted is expected to
go on for as long again, which is the bounce that bounds the harm of wrong estimates (Scully,
Grosof and Mitzenmacher, arXiv 2110.00633). The closed form in ``_tail_mean`` is that of shape 2."""
_LEAST_WIDTH = 1e-9
"""Of a stretch between knots: below it the difference quotient loses its digits."""
_OVERRUN = 4.0
"""What has outrun the training range is expected to end within this multiple of what it has
generated: a bound on the mean that keeps it rising with every further token."""


class PredictionSource(StrEnum):
    """Where a prediction came from; a metric label."""

    TIER0 = "tier0"
    TIER1 = "tier1"
    TENANT_HISTOGRAM = "tenant_histogram"
    MODEL_HISTOGRAM = "model_histogram"
    PRIOR = "prior"


@dataclass(frozen=True, slots=True)
class LengthDistribution:
    """Distribution of a request's output tokens, given that it has more than ``generated``.

    The quantile function is linear in ``log(1 + tokens)`` between its knots and Pareto beyond the
    last. What lies above ``highest`` or ``cap`` lies on them. Conditioning keeps the knots, so
    that conditioning twice is exactly conditioning once.

    Attributes:
        knots: ``log(1 + tokens)`` at probability 0 and at each of ``LEVELS``; non-decreasing.
        highest: Most tokens that are predicted of a request which has not outrun them.
        cap: Tokens that cannot be passed (``max_tokens``, what is left of the context window);
            infinite without a bound.
        generated: Output tokens produced so far.
    """

    knots: tuple[float, ...]
    highest: float
    cap: float = inf
    generated: float = 0.0

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

        Raises:
            ValueError: A value is no number, or there are too few or too many.
        """
        if len(log_quantiles) != len(LEVELS) or any(map(isnan, log_quantiles)):
            raise ValueError(f"a prediction has {len(LEVELS)} numbers")
        bottom, top = log1p(lowest), log1p(max(lowest, highest))
        middle = sorted(min(max(float(value), bottom), top) for value in log_quantiles)
        first = max(bottom, 2 * middle[0] - middle[1])
        return cls(
            (first, *middle), max(lowest, highest), inf if cap is None else max(1.0, float(cap))
        )

    def quantile(self, probability: float) -> float:
        """Tokens that are not exceeded with this probability."""
        known = _KNOT_AT.get(probability)
        if known is not None and self.generated <= 0:
            return min(max(expm1(self.knots[known]), 0.0), self.cap, max(self.highest, 0.0))
        wanted = (1.0 - min(max(probability, 0.0), 1.0)) * self._survival(self._start)
        return min(max(expm1(self._log_at(wanted)), self._least), self._most)

    def mean(self) -> float:
        """Expected tokens."""
        total = sum(weight * tokens for weight, tokens in self.atoms())
        return min(max(total, self._least), self._most)

    def atoms(self) -> tuple[tuple[float, float], ...]:
        """The distribution as a few weighted lengths, for sums that need more than a mean.

        Returns: ``(weight, tokens)``, ascending; one for each stretch between knots, at its mean,
            and one for the tail. Weights add up to 1, and their mean is ``mean()``.
        """
        if self.generated <= 0:
            return self._first_atoms()
        start = self._start
        alive = self._survival(start)
        least, most = log1p(self._least), log1p(self._most)
        atoms = []
        before_tail = 0.0
        for low, high, weight in self._pieces(start):
            atoms.append((weight / alive, _clamped_mean(low, high, least, most)))
            before_tail += weight
        tail = _tail_mean(exp(max(start, self.knots[-1])), exp(least), exp(most))
        atoms.append(((alive - before_tail) / alive, max(tail, self._least)))
        return tuple(atoms)

    def _first_atoms(self) -> tuple[tuple[float, float], ...]:
        """Atoms before anything is generated, which is when nearly all are asked for."""
        knots, bottom, top = self.knots, 0.0, log1p(self._most)
        atoms = []
        exp_low, low = exp(knots[0]), knots[0]
        for weight, high in zip(_WEIGHTS, knots[1:], strict=True):
            exp_high = exp(high)
            if high > top or low < bottom or high - low < _LEAST_WIDTH:
                mean = _clamped_mean(low, high, bottom, top)
            else:
                mean = (exp_high - exp_low) / (high - low) - 1.0
            atoms.append((weight, mean))
            low, exp_low = high, exp_high
        atoms.append((_TAIL, max(_tail_mean(exp_low, 1.0, exp(top)), 0.0)))
        return tuple(atoms)

    def exceeds(self, tokens: float) -> float:
        """Probability that the answer is longer than this."""
        if tokens >= self._most:
            return 0.0
        if tokens < self._least:
            return 1.0
        return self._survival(log1p(tokens)) / self._survival(self._start)

    def given_more_than(self, generated: float) -> "LengthDistribution":
        """P(L | L > generated): the distribution of the whole length, known to be longer.

        Beyond the support the rest is Pareto: the longer a request has overrun, the longer it
        is expected to go on. Never shorter than ``generated + 1`` before the cap.

        Args:
            generated: Output tokens produced so far; fewer than before change nothing.
        """
        if generated <= self.generated:
            return self
        return LengthDistribution(self.knots, self.highest, self.cap, generated)

    def remaining_mean(self, generated: float) -> float:
        """Expected tokens still to come after ``generated``; at least 1 before the cap."""
        if generated >= self.cap:
            return 0.0
        produced = max(0.0, generated)
        rest = min(1.0, self.cap - produced)
        return max(rest, self.given_more_than(generated).mean() - produced)

    @property
    def _start(self) -> float:
        """Where the distribution begins, as ``log(1 + tokens)``: below everything at first."""
        return log1p(self.generated) if self.generated > 0 else -inf

    @property
    def _least(self) -> float:
        """Tokens that the answer has at least."""
        return min(self.generated + 1.0, self.cap) if self.generated > 0 else 0.0

    @property
    def _most(self) -> float:
        """Tokens that the answer is expected to have at most."""
        return min(self.cap, max(self.highest, _OVERRUN * self._least))

    def _survival(self, value: float) -> float:
        """Unconditional probability to be above a value of ``log(1 + tokens)``; never 0."""
        knots = self.knots
        if value < knots[0]:
            return 1.0
        if value >= knots[-1]:
            return _TAIL * exp(_TAIL_SHAPE * (knots[-1] - value))
        index = bisect_right(knots, value) - 1
        share = (value - knots[index]) / (knots[index + 1] - knots[index])
        return 1.0 - _P[index] - share * (_P[index + 1] - _P[index])

    def _log_at(self, survival: float) -> float:
        """Value of ``log(1 + tokens)`` that is passed with this unconditional probability."""
        knots = self.knots
        if survival <= 0.0:
            return inf
        if survival <= _TAIL:
            return knots[-1] + log(_TAIL / survival) / _TAIL_SHAPE
        probability = 1.0 - survival
        index = min(bisect_right(_P, probability), len(_P) - 1) - 1
        share = (probability - _P[index]) / (_P[index + 1] - _P[index])
        return knots[index] + share * (knots[index + 1] - knots[index])

    def _pieces(self, start: float) -> Iterator[tuple[float, float, float]]:
        """Stretches above ``start`` on which the log length is uniform, with their probability."""
        for index in range(len(self.knots) - 1):
            low, high = self.knots[index], self.knots[index + 1]
            weight = _P[index + 1] - _P[index]
            if start < low or (start == low < high):
                yield low, high, weight
            elif start < high:
                yield start, high, weight * (high - start) / (high - low)


def _clamped_mean(low: float, high: float, least: float, most: float) -> float:
    """Mean of ``e^x - 1`` clamped to ``least..most``, x uniform in [low, high]; all in logs."""
    width = high - low
    if width < _LEAST_WIDTH:
        return expm1(min(max(low, least), most))
    start, end = min(max(low, least), most), min(max(high, least), most)
    inside = exp(end) - exp(start) - (end - start)
    below = (min(high, least) - low) * expm1(least) if low < least else 0.0
    above = (high - max(low, most)) * expm1(most) if high > most else 0.0
    return (inside + below + above) / width


def _tail_mean(start: float, least: float, most: float) -> float:
    """Mean of a Pareto of shape 2 from ``start``, clamped to ``least..most``, minus 1."""
    if most <= start:
        return most - 1.0
    floor = max(start, min(least, most))
    return floor + start * start * (1.0 / floor - 1.0 / most) - 1.0
