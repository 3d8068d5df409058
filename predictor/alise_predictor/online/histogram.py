"""How long the answers of one key have been: what is left to say when no model answers."""

from collections.abc import Mapping, Sequence
from math import expm1

import numpy as np
import numpy.typing as npt

from alise_core.prediction import LEVELS
from alise_predictor.online.state import Array, State, take

BINS = 96
BIN_WIDTH = 0.125
"""In ``log(1 + tokens)``: 96 bins reach 160,000 tokens."""

TOP = BINS * BIN_WIDTH
KEEP = 1.0 - 1.0 / 2_000
LEAST_ANSWERS = 5.0
"""With fewer answers a histogram says less than the one above it."""

VOUCHING = 3.0
"""Answers at least so long before predictions may be: one alone moves nothing."""

TENANT_WEIGHT = 50.0
"""Answers' worth that one tenant counts at most in its model's histogram."""

PRIOR_WEIGHT = 50.0
"""Answers' worth of prior in a model's histogram."""

Mass = npt.NDArray[np.float64]


class LengthHistogram:
    """Log-spaced bins with exponential forgetting."""

    __slots__ = ("_mass", "_reach")

    def __init__(self) -> None:
        self._mass: Mass = np.zeros(BINS)
        self._reach = 0.0

    @property
    def reach_tokens(self) -> float:
        """Length that ``VOUCHING`` answers have reached, in tokens; 0 while there are fewer."""
        return self._reach

    @property
    def mass(self) -> Mass:
        """Effective number of answers in each bin; not to be written to."""
        return self._mass

    @property
    def answers(self) -> float:
        """Effective number of answers."""
        return float(self._mass.sum())

    def update(self, log_tokens: float) -> None:
        """Learn one answer, ``log(1 + tokens)``."""
        self._mass *= KEEP
        self._mass[min(max(int(log_tokens / BIN_WIDTH), 0), BINS - 1)] += 1.0
        self._measure_reach()

    def state(self) -> State:
        """For a snapshot."""
        return {"mass": self._mass.copy()}

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        self._mass = np.maximum(take(state, "mass", np.float64, BINS), 0.0)
        self._measure_reach()

    def _measure_reach(self) -> None:
        longer = np.cumsum(self._mass[::-1])[::-1]
        # Forgetting has made a little less than three of three answers.
        reached = np.flatnonzero(longer >= VOUCHING - 0.5)
        self._reach = expm1((int(reached[-1]) + 1) * BIN_WIDTH) if len(reached) else 0.0


def quantiles(mass: Mass) -> tuple[float, ...]:
    """``log(1 + tokens)`` at each of ``LEVELS``; mass is spread evenly inside its bin."""
    total = np.concatenate(((0.0,), np.cumsum(mass)))
    edges = np.arange(BINS + 1) * BIN_WIDTH
    # Bins without mass would make the inverse ambiguous; a grain everywhere does not move it.
    total = total / total[-1] + edges * 1e-12
    return tuple(float(value) for value in np.interp(LEVELS, total, edges))


def prior_mass(log_quantiles: Sequence[float]) -> Mass:
    """A distribution given by its quantiles as mass 1 over the bins."""
    low = max(0.0, 2 * log_quantiles[0] - log_quantiles[1])
    high = min(TOP, 2 * log_quantiles[-1] - log_quantiles[-2])
    values = np.maximum.accumulate(np.clip((low, *log_quantiles, high), 0.0, TOP))
    values = values + np.arange(len(values)) * 1e-9
    edges = np.arange(BINS + 1) * BIN_WIDTH
    share = np.interp(edges, values, (0.0, *LEVELS, 1.0), left=0.0, right=1.0)
    mass = np.diff(share)
    return np.asarray(mass / mass.sum(), np.float64)


def pooled(parts: Sequence[Mass], prior: Mass) -> Mass:
    """A model's histogram out of its tenants' and the prior.

    No tenant moves more than ``TENANT_WEIGHT / (TENANT_WEIGHT + PRIOR_WEIGHT + others)`` of the
    mass, however many answers it has had.
    """
    total = prior * PRIOR_WEIGHT
    for mass in parts:
        answers = float(mass.sum())
        if answers > 0:
            total = total + mass * (min(answers, TENANT_WEIGHT) / answers)
    return np.asarray(total, np.float64)
