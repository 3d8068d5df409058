"""How long the answers of one key have been: what is left to say when no model answers."""

from collections.abc import Mapping, Sequence
from math import expm1

import numpy as np
import numpy.typing as npt

from alise_core.prediction import LEVELS
from alise_predictor.online.corrected import NOTHING_KNOWN, KnownLengths
from alise_predictor.online.state import Array, State, take

BINS = 96
BIN_WIDTH = 0.125
"""In ``log(1 + tokens)``: 96 bins reach 160,000 tokens."""

TOP = BINS * BIN_WIDTH
KEEP = 1.0 - 1.0 / 2_000
LEAST_ANSWERS = 5.0
"""With fewer answers a histogram says less than the one above it."""

VOUCHING = 3.0
"""Answers at least so long, or so short, before predictions may be: one alone moves nothing."""

Mass = npt.NDArray[np.float64]

_EDGES = np.arange(BINS + 1) * BIN_WIDTH
_GRAIN = _EDGES * 1e-12
_LEVELS = np.array(LEVELS)


class LengthHistogram:
    """Log-spaced bins with exponential forgetting."""

    __slots__ = ("_known", "_mass", "_quantiles")

    def __init__(self) -> None:
        self._mass: Mass = np.zeros(BINS)
        self._quantiles: tuple[float, ...] | None = None
        self._known = NOTHING_KNOWN

    @property
    def known(self) -> KnownLengths:
        """Lengths that ``VOUCHING`` answers vouch for."""
        return self._known

    @property
    def mass(self) -> Mass:
        """Effective number of answers in each bin; not to be written to."""
        return self._mass

    @property
    def answers(self) -> float:
        """Effective number of answers."""
        return float(self._mass.sum())

    def quantiles(self) -> tuple[float, ...]:
        """``log(1 + tokens)`` at each of ``LEVELS``, for at least one answer."""
        if self._quantiles is None:
            # The same for every request until the next answer.
            self._quantiles = quantiles(self._mass)
        return self._quantiles

    def update(self, log_tokens: float) -> None:
        """Learn one answer, ``log(1 + tokens)``."""
        self._quantiles = None
        self._mass *= KEEP
        self._mass[min(max(int(log_tokens / BIN_WIDTH), 0), BINS - 1)] += 1.0
        self._measure()

    def state(self) -> State:
        """For a snapshot."""
        return {"mass": self._mass.copy()}

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        self._mass = np.maximum(take(state, "mass", np.float64, BINS), 0.0)
        self._quantiles = None
        self._measure()

    def _measure(self) -> None:
        shorter = np.cumsum(self._mass)
        longer = np.cumsum(self._mass[::-1])[::-1]
        # Forgetting has made a little less than three of three answers.
        enough = VOUCHING - 0.5
        if shorter[-1] < enough:
            self._known = NOTHING_KNOWN
            return
        first = int(np.flatnonzero(shorter >= enough)[0])
        last = int(np.flatnonzero(longer >= enough)[-1])
        self._known = KnownLengths(expm1(first * BIN_WIDTH), expm1((last + 1) * BIN_WIDTH))


def quantiles(mass: Mass) -> tuple[float, ...]:
    """``log(1 + tokens)`` at each of ``LEVELS``; mass is spread evenly inside its bin."""
    total = np.zeros(BINS + 1)
    np.cumsum(mass, out=total[1:])
    # Bins without mass would make the inverse ambiguous; a grain everywhere does not move it.
    total = total / total[-1] + _GRAIN
    return tuple(np.interp(_LEVELS, total, _EDGES).tolist())


def prior_mass(log_quantiles: Sequence[float]) -> Mass:
    """A distribution given by its quantiles as mass 1 over the bins."""
    low = max(0.0, 2 * log_quantiles[0] - log_quantiles[1])
    high = min(TOP, 2 * log_quantiles[-1] - log_quantiles[-2])
    values = np.maximum.accumulate(np.clip((low, *log_quantiles, high), 0.0, TOP))
    values = values + np.arange(len(values)) * 1e-9
    share = np.interp(_EDGES, values, (0.0, *LEVELS, 1.0), left=0.0, right=1.0)
    mass = np.diff(share)
    return np.asarray(mass / mass.sum(), np.float64)
