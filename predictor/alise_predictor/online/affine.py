"""Affine calibration in log space: what the base predicts is ranked right and scaled wrong.

Out of distribution the ranking of a length predictor transfers, its scale does not: fitted slopes
lie near .4. Until there is enough to fit a slope only the offset is learned.
"""

from collections.abc import Mapping

import numpy as np

from alise_predictor.online.state import Array, State, take

KEEP = 1.0 - 1.0 / 1_000
"""Share of the past kept with every answer: the last thousand answers count, so that drift is
followed within hours."""

OFFSET_PSEUDO_ANSWERS = 8.0
"""Answers' worth of belief in offset 0."""

SLOPE_FROM_ANSWERS = 50.0
SLOPE_PSEUDO_ANSWERS = 30.0
"""Answers' worth of belief in slope 1."""

PRIOR_VARIANCE = 0.25
"""Variance of the base's medians that the belief in slope 1 assumes."""

MOST_SLOPE = 1.2
FLAT_SLOPE = 0.05
"""Below this the base says nothing about this traffic, and its median is as good."""

MOST_STEP = 1.5
"""A residual beyond this counts as this (log units, a factor of 4.5)."""

_SIZE = 5


class AffineCalibration:
    """``offset + slope * base`` with forgetting, shrinkage and clipped residuals.

    The influence of one answer on any later prediction is at most ``MOST_STEP`` times its share of
    the effective number of answers, for a base within the range of what was seen.
    """

    __slots__ = ("_count", "_offset", "_slope", "_x", "_xx", "_xy", "_y")

    def __init__(self) -> None:
        self._count = self._x = self._y = self._xx = self._xy = 0.0
        self._slope, self._offset = 1.0, 0.0

    @property
    def slope(self) -> float:
        """In [0, ``MOST_SLOPE``]; 1 until fitted."""
        return self._slope

    @property
    def offset(self) -> float:
        """Added after the slope, log units."""
        return self._offset

    def apply(self, base: float) -> float:
        """The calibrated value of a base prediction, log units."""
        return self._offset + self._slope * base

    def update(self, base: float, observed: float) -> None:
        """Learn one answer; both in ``log(1 + tokens)``."""
        expected = self.apply(base)
        y = expected + min(max(observed - expected, -MOST_STEP), MOST_STEP)
        self._count = KEEP * self._count + 1.0
        self._x = KEEP * self._x + base
        self._y = KEEP * self._y + y
        self._xx = KEEP * self._xx + base * base
        self._xy = KEEP * self._xy + base * y
        self._fit()

    def state(self) -> State:
        """For a snapshot."""
        return {"sums": np.array((self._count, self._x, self._y, self._xx, self._xy))}

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        sums = take(state, "sums", np.float64, _SIZE)
        self._count, self._x, self._y, self._xx, self._xy = map(float, sums)
        if self._count > 0:
            self._fit()

    def _fit(self) -> None:
        count = self._count
        mean_x, mean_y = self._x / count, self._y / count
        self._slope = self._fitted_slope(mean_x, mean_y) if count >= SLOPE_FROM_ANSWERS else 1.0
        shrink = count / (count + OFFSET_PSEUDO_ANSWERS)
        # Shrunk towards the base itself, at the mean of what the base says here.
        self._offset = mean_x + shrink * (mean_y - mean_x) - self._slope * mean_x

    def _fitted_slope(self, mean_x: float, mean_y: float) -> float:
        belief = SLOPE_PSEUDO_ANSWERS * PRIOR_VARIANCE
        xx = max(0.0, self._xx - self._count * mean_x * mean_x)
        xy = self._xy - self._count * mean_x * mean_y
        slope = min(max((xy + belief) / (xx + belief), 0.0), MOST_SLOPE)
        return slope if slope >= FLAT_SLOPE else 0.0
