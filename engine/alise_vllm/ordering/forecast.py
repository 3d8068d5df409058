"""How many tokens a request is still going to generate, given what is predicted of it.

A prediction is a median and a 90th percentile. They are taken for those of a log-normal
distribution, and the estimate is what such a length has left on average once it is known to
exceed what was generated. It falls while a request does as predicted and rises again once it has
outrun that: whoever ran twice as long as predicted is not about to finish. An estimate of
"predicted less generated" would be zero there, and would put the longest requests first.

Beyond the 90th percentile the prediction itself is in doubt, the more the further, so the estimate
is never below half of the overrun there; that is what a heavy tail would have left. The index
that requests are ordered by is never below a third of it, for the same reason.
"""

from dataclasses import dataclass, field
from math import exp, log
from typing import Protocol

from alise_vllm.ordering.gittins import LEAST_SIGMA, MOST_SIGMA, IndexCurve
from alise_vllm.ordering.normal import above, sigma_of

LEAST_TOKENS = 8.0
"""No estimate is below: a few tokens more or less are noise, and an order must not hang on it."""
USUAL_RATIO = 3.0
"""90th percentile over median where only the median is known."""
_OVERRUN_SHARE, _OVERRUN_INDEX = 1 / 2, 1 / 3
"""Mean and index of what is left over how far it came, for a Pareto tail of exponent 3 [our
choice]: 1 / (3 - 1), and the inverse of its hazard rate."""
_TINY = 1e-300
_FAR = 8.0
"""Standard deviations beyond which a cut takes away nothing that counts."""


class Estimate(Protocol):
    """What is expected of one request's output; the seam for more than ``Forecast`` knows.

    ``Forecast`` refines a prediction by how many tokens there are so far, which costs nothing. A
    probe on the model's hidden states sees more (TRAIL: a small classifier on one layer, read
    every step, smoothed over them). Whoever has one hands the order an object of his own, with
    ``RequestOrder.refine``, and it is asked from then on. None is shipped.
    """

    @property
    def p50(self) -> float:
        """Median of the whole answer as predicted at first, tokens; above 0.

        Who has not come far by it is not asked for what remains.
        """
        ...

    def remaining(self, generated: int, most: int) -> float:
        """Tokens still to come on average, above 0.

        Args:
            generated: Tokens so far. The answer to the same number is the same: it is remembered.
            most: Tokens at which the answer is cut, whatever it would have become.
        """
        ...

    def index(self, generated: int, most: int) -> float:
        """Tokens that it takes by the chance that they are enough, above 0; see ``gittins``.

        Who knows only what remains on average says that: an estimate without spread has no other.

        Args:
            generated: Tokens so far.
            most: Tokens at which the answer is cut.
        """
        ...


@dataclass(frozen=True, slots=True)
class Forecast:
    """Predicted output of one request; an ``Estimate`` by the tokens that there are so far.

    Attributes:
        p50: Median, tokens; above 0.
        p90: 90th percentile, tokens; not below ``p50``.
    """

    p50: float
    p90: float
    _mu: float = field(init=False, repr=False, compare=False)
    _sigma: float = field(init=False, repr=False, compare=False)
    _mean: float = field(init=False, repr=False, compare=False)
    _curve: IndexCurve | None = field(default=None, init=False, repr=False, compare=False)
    """Made when it is asked for: not every policy does."""

    def __post_init__(self) -> None:
        # Nobody predicts better than by a quarter; and beyond 25-fold the tail is a guess.
        sigma = min(max(sigma_of(self.p50, self.p90), LEAST_SIGMA), MOST_SIGMA)
        object.__setattr__(self, "_mu", log(self.p50))
        object.__setattr__(self, "_sigma", sigma)
        object.__setattr__(self, "_mean", self.p50 * exp(sigma * sigma / 2))

    def remaining(self, generated: int, most: int) -> float:
        """Tokens still to come on average, at least ``LEAST_TOKENS``.

        Args:
            generated: Tokens so far.
            most: Tokens at which the answer is cut, whatever it would have become.
        """
        left = most - generated
        if left <= LEAST_TOKENS:
            return LEAST_TOKENS
        return self._bounded(self._predicted(generated, most), _OVERRUN_SHARE, generated, left)

    def index(self, generated: int, most: int) -> float:
        """Tokens that it takes by the chance that they are enough, at least ``LEAST_TOKENS``.

        Args:
            generated: Tokens so far.
            most: Tokens at which the answer is cut: then it has ended for certain.
        """
        left = most - generated
        if left <= LEAST_TOKENS:
            return LEAST_TOKENS
        curve = self._curve
        if curve is None:
            curve = IndexCurve(self._sigma)
            object.__setattr__(self, "_curve", curve)
        index = self.p50 * curve.at(generated / self.p50)
        return self._bounded(index, _OVERRUN_INDEX, generated, left)

    def _bounded(self, tokens: float, share: float, generated: int, left: int) -> float:
        """At least a share of the overrun, at most what is left, at least ``LEAST_TOKENS``."""
        doubted = share * (generated - self.p90)
        return max(min(max(tokens, doubted), left), LEAST_TOKENS)

    def _predicted(self, generated: int, most: int) -> float:
        """The mean of a log-normal length, cut at ``most``, less what was generated."""
        mu, sigma = self._mu, self._sigma
        here = (log(generated) - mu) / sigma if generated else -_FAR
        longer = above(here) if generated else 1.0
        if longer < _TINY:
            # So far out that it is the doubt that counts.
            return 0.0
        ending = self._mean * (above(here - sigma) if generated else 1.0)
        cut = (log(most) - mu) / sigma
        if cut < _FAR:
            ending += most * above(cut) - self._mean * above(cut - sigma)
        return ending / longer - generated
