"""The Gittins index of a log-normal length: least expected service by the chance that it suffices.

Serve a request for some time q: it takes E[min(what is left, q)] of service on average, and ends
within q with P(what is left <= q). The index is the least that the first can be by the second,
over all q. Whoever has the smallest goes first; no rule has a better mean time in system where
lengths are only known as distributions [Gittins 1979; for an M/G/1 queue Aalto, Ayesta, Righter
2009]. It differs from the mean of what is left, which is the case q = infinity, where a prediction
is vague: a request that may well end soon is worth a try although it may also become long, and one
that was tried for long enough is not.

The index scales with the median, so it is a table of two numbers: how vague the prediction is, and
how far the request has come by it.
"""

from functools import cache
from math import exp, log

from alise_vllm.ordering.normal import above

LEAST_SIGMA, MOST_SIGMA = 0.25, 2.5
"""Bounds of the table: standard deviation of the logarithm of the length."""
_ROWS = 16
_FIRST, _LAST, _STEPS = -4.0, 6.0, 40
"""Columns: how far a request has come, in standard deviations around its median. Before the first
none ends; beyond the last the index grows in proportion to what was generated."""
_TRIES, _SHORTEST, _GROWTH = 56, 0.01, 1.144
"""Times q that are compared: standard deviations further, the last at 16."""
_PER_SIGMA = _STEPS / (_LAST - _FIRST)
_SPAN = log(MOST_SIGMA / LEAST_SIGMA)


class IndexCurve:
    """The index by the median, over how far a request has come by its median.

    Args:
        sigma: Of the logarithm of the length; from ``LEAST_SIGMA`` to ``MOST_SIGMA``.
    """

    __slots__ = ("_begin", "_down", "_first", "_lower", "_sigma", "_upper")

    def __init__(self, sigma: float) -> None:
        line = _ROWS * log(sigma / LEAST_SIGMA) / _SPAN
        upper = min(max(int(line), 0), _ROWS - 1)
        self._down = min(max(line - upper, 0.0), 1.0)
        self._upper, self._lower = _row(upper), _row(upper + 1)
        self._sigma = sigma
        self._begin = exp(_FIRST * sigma)
        self._first = exp(self._column(0)) + self._begin

    def at(self, come: float) -> float:
        """The index, by the median.

        Args:
            come: Generated so far, by the median; 0 or more.
        """
        if come <= self._begin:
            return self._first - come
        place = (log(come) / self._sigma - _FIRST) * _PER_SIGMA
        if place >= _STEPS:
            return exp(self._column(_STEPS) + (place - _STEPS) / _PER_SIGMA * self._sigma)
        left = int(place)
        value = self._column(left)
        return exp(value + (place - left) * (self._column(left + 1) - value))

    def _column(self, number: int) -> float:
        # Between two rows, when it is asked for: a request asks for a few of all columns.
        value = self._upper[number]
        return value + self._down * (self._lower[number] - value)


@cache
def _row(number: int) -> tuple[float, ...]:
    """Logarithms of the index for one sigma; a few milliseconds, once."""
    sigma = LEAST_SIGMA * (MOST_SIGMA / LEAST_SIGMA) ** (number / _ROWS)
    width = (_LAST - _FIRST) / _STEPS
    return tuple(log(_least(sigma, _FIRST + column * width)) for column in range(_STEPS + 1))


def _least(sigma: float, far: float) -> float:
    """The index of a length with median 1 that is known to exceed ``exp(far * sigma)``."""
    mean, here = exp(sigma * sigma / 2), exp(far * sigma)
    longer, ending = above(far), above(far - sigma)
    least, further = mean * ending / longer - here, _SHORTEST
    for _ in range(_TRIES):
        until = far + further
        served = mean * (ending - above(until - sigma)) + exp(until * sigma) * above(until)
        ended = longer - above(until)
        least = min(least, (served - here * longer) / ended)
        further *= _GROWTH
    return least
