"""Rolling order accuracy: of two recent answers, was the longer one predicted to be longer?"""

from collections.abc import Mapping

import numpy as np

from alise_predictor.online.state import Array, State, StateError, take

WINDOW = 512


class RollingConcordance:
    """Pairs within the last ``WINDOW`` answers, each pair counted when its later one arrives.

    Equal answers do not count; equal predictions count one half. One update compares with the
    whole window in a few vector operations.
    """

    __slots__ = ("_actual", "_agreeing", "_compared", "_count", "_predicted")

    def __init__(self) -> None:
        self._predicted = np.zeros(WINDOW, np.float32)
        self._actual = np.zeros(WINDOW, np.float32)
        self._agreeing = np.zeros(WINDOW, np.float32)
        self._compared = np.zeros(WINDOW, np.float32)
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, WINDOW)

    def update(self, predicted: float, actual: float) -> None:
        """Learn one answer; any scale will do, only order counts."""
        size = len(self)
        # Differences are taken in the precision of the ring, so that ties stay ties.
        up = np.sign(self._actual[:size] - np.float32(actual))
        said = np.sign(self._predicted[:size] - np.float32(predicted))
        compared = float(np.count_nonzero(up))
        place = self._count % WINDOW
        self._agreeing[place] = 0.5 * (compared + float(np.dot(up, said)))
        self._compared[place] = compared
        self._predicted[place] = predicted
        self._actual[place] = actual
        self._count += 1

    def value(self) -> float | None:
        """Share of pairs in the right order, .5 for none known; ``None`` without a pair."""
        compared = float(self._compared.sum())
        return float(self._agreeing.sum()) / compared if compared else None

    def state(self) -> State:
        """For a snapshot."""
        size = len(self)
        rows = (self._predicted, self._actual, self._agreeing, self._compared)
        return {
            "rows": np.stack([row[:size] for row in rows]),
            "count": np.array([self._count], np.int64),
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        rows = take(state, "rows", np.float32, 4, None)
        count = int(take(state, "count", np.int64, 1)[0])
        if count < 0 or rows.shape[1] != min(count, WINDOW):
            raise StateError(f"{rows.shape[1]} answers for a count of {count}")
        for row, ring in enumerate((self._predicted, self._actual, self._agreeing, self._compared)):
            ring[: rows.shape[1]] = rows[row]
        self._count = count
