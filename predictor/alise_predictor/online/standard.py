"""Dense features on one scale: how far they are from what is usual in this traffic."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from alise_predictor.online.state import Array, State, take

KEEP = 1.0 - 1.0 / 2_000
REFRESH_AT = (10, 20, 40, 80, 160, 320, 640)
REFRESH_EVERY = 1_000
"""The scale in use stays the same between these counts of answers, because whoever uses it has to
compute anew with every change."""

SCALE = 0.2
"""What one standard deviation counts, against a text's vector of length 1."""

LEAST_DEVIATION = 0.05
MOST_DEVIATIONS = 4.0

Dense = npt.NDArray[np.float32]


class Standardiser:
    """Running mean and deviation of dense features, put to use at intervals.

    Args:
        size: How many features.
    """

    __slots__ = ("_count", "_factor", "_mean", "_squares", "_sum", "_weight")

    def __init__(self, size: int) -> None:
        self._count = 0
        self._weight = 0.0
        self._sum = np.zeros(size)
        self._squares = np.zeros(size)
        self._mean = np.zeros(size, np.float32)
        self._factor = np.zeros(size, np.float32)

    def apply(self, numbers: Dense) -> Dense:
        """On the scale in use; 0 before the first refresh."""
        scaled: Dense = (numbers - self._mean) * self._factor
        np.minimum(scaled, _BOUND, out=scaled)
        np.maximum(scaled, -_BOUND, out=scaled)
        return scaled

    def update(self, numbers: Dense) -> bool:
        """Learn one request's; true when the scale in use has changed."""
        self._count += 1
        self._weight = KEEP * self._weight + 1.0
        self._sum = KEEP * self._sum + numbers
        self._squares = KEEP * self._squares + np.square(numbers, dtype=np.float64)
        if self._count not in REFRESH_AT and self._count % REFRESH_EVERY:
            return False
        mean = self._sum / self._weight
        deviation = np.sqrt(np.maximum(self._squares / self._weight - mean * mean, 0.0))
        self._mean = mean.astype(np.float32)
        self._factor = (SCALE / (deviation + LEAST_DEVIATION)).astype(np.float32)
        return True

    def state(self) -> State:
        """For a snapshot."""
        return {
            "count": np.array([self._count], np.int64),
            "weight": np.array([self._weight]),
            "sums": np.stack((self._sum, self._squares)),
            "used": np.stack((self._mean, self._factor)),
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        size = len(self._mean)
        self._count = int(take(state, "count", np.int64, 1)[0])
        self._weight = float(take(state, "weight", np.float64, 1)[0])
        self._sum, self._squares = take(state, "sums", np.float64, 2, size)
        self._mean, self._factor = take(state, "used", np.float32, 2, size)


_BOUND = np.float32(SCALE * MOST_DEVIATIONS)
