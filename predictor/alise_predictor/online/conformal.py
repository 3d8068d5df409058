"""Quantiles that hold on this traffic: split-conformal recalibration over a bounded window.

Scores are residuals in units of the predicted spread. With few of them the model's own quantiles
stand; with ``FULL_FROM_ANSWERS`` the window's empirical ones do. Each level is moreover steered by
its own hits and misses (adaptive conformal inference, Gibbs and Candes, arXiv 2106.00170), which
keeps coverage while the traffic drifts.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np

from alise_core.prediction import LEVELS
from alise_predictor.online.state import Array, State, StateError, take

WINDOW = 500
FULL_FROM_ANSWERS = 200
PSEUDO_ANSWERS = 10.0
"""Answers' worth of belief in the model's own quantiles while there are few."""

STEP = 0.004
"""How far one answer moves the level that is looked up."""

MOST_SHIFT = 0.08
"""How far the level looked up may be from the level asked for."""

MOST_SCORE = 6.0


class ConformalQuantiles:
    """Scores of the last ``WINDOW`` answers, in order of time and of size."""

    __slots__ = ("_found", "_ordered", "_recent", "_shifts")

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._ordered: list[float] = []
        self._shifts = [0.0] * len(LEVELS)
        self._found: list[float] = []

    def __len__(self) -> int:
        return len(self._recent)

    def scores(self, own: Sequence[float]) -> list[float]:
        """Score at each of ``LEVELS``, non-decreasing.

        Args:
            own: The model's own quantiles as scores.
        """
        count = len(self._ordered)
        if not count:
            return list(own)
        if count >= FULL_FROM_ANSWERS:
            return self._found
        trust = count / (count + PSEUDO_ANSWERS)
        mixed = zip(self._found, own, strict=True)
        return _non_decreasing([trust * found + (1.0 - trust) * said for found, said in mixed])

    def update(self, score: float, was_below: Sequence[bool]) -> None:
        """Learn one answer.

        Args:
            score: Its residual in units of the predicted spread.
            was_below: For each of ``LEVELS``, whether it did not exceed the quantile given.
        """
        score = min(max(score, -MOST_SCORE), MOST_SCORE)
        if len(self._recent) == WINDOW:
            oldest = self._recent[0]
            del self._ordered[bisect_left(self._ordered, oldest)]
        self._recent.append(score)
        insort(self._ordered, score)
        if len(self._recent) >= FULL_FROM_ANSWERS:
            self._steer(was_below)
        self._look_up()

    def state(self) -> State:
        """For a snapshot."""
        return {"scores": np.array(self._recent, np.float64), "shifts": np.array(self._shifts)}

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        scores = take(state, "scores", np.float64, None)
        if len(scores) > WINDOW:
            raise StateError(f"{len(scores)} scores, expected at most {WINDOW}")
        self._shifts = [float(v) for v in take(state, "shifts", np.float64, len(LEVELS))]
        self._recent = deque((float(value) for value in scores), maxlen=WINDOW)
        self._ordered = sorted(self._recent)
        self._look_up()

    def _steer(self, was_below: Sequence[bool]) -> None:
        for index, level in enumerate(LEVELS):
            shift = self._shifts[index] + STEP * (level - was_below[index])
            bound = min(MOST_SHIFT, 0.8 * min(level, 1.0 - level))
            self._shifts[index] = min(max(shift, -bound), bound)

    def _look_up(self) -> None:
        # With the answer that changes it, because a request would wait for it.
        if self._ordered:
            self._found = _non_decreasing(
                [self._empirical(lv + by) for lv, by in zip(LEVELS, self._shifts, strict=True)]
            )

    def _empirical(self, level: float) -> float:
        # Split-conformal prediction takes the k-th of n with k = level * (n + 1); interpolated.
        ordered = self._ordered
        place = min(max(level * (len(ordered) + 1) - 1.0, 0.0), len(ordered) - 1.0)
        lower = int(place)
        upper = min(lower + 1, len(ordered) - 1)
        return ordered[lower] + (place - lower) * (ordered[upper] - ordered[lower])


def _non_decreasing(values: list[float]) -> list[float]:
    for index in range(1, len(values)):
        values[index] = max(values[index], values[index - 1])
    return values


def as_scores(log_quantiles: Sequence[float], spread: float) -> list[float]:
    """A model's quantiles as scores: distance from its median in units of its spread."""
    median = log_quantiles[len(LEVELS) // 2]
    return [(value - median) / spread for value in log_quantiles]


def spread_of(log_quantiles: Sequence[float]) -> float:
    """Standard deviation that a normal distribution with these 10 % and 90 % quantiles has."""
    width = log_quantiles[LEVELS.index(0.9)] - log_quantiles[LEVELS.index(0.1)]
    return min(max(width / _NORMAL_WIDTH, LEAST_SPREAD), MOST_SPREAD) if isfinite(width) else 1.0


LEAST_SPREAD = 0.05
MOST_SPREAD = 3.0
_NORMAL_WIDTH = 2.563
"""10 % to 90 % of the standard normal distribution."""
