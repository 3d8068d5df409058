"""Rolling coverage: how many recent answers lay where they were promised to lie."""

from collections import deque
from collections.abc import Mapping

import numpy as np

from alise_predictor.online.state import Array, State, StateError, take

WINDOW = 500


class RollingCoverage:
    """Hits of the 80 % interval and of the 90 % quantile over the last ``WINDOW`` answers."""

    __slots__ = ("_below_p90", "_hits", "_inside")

    def __init__(self) -> None:
        self._hits: deque[int] = deque()
        self._inside = self._below_p90 = 0

    def __len__(self) -> int:
        return len(self._hits)

    def update(self, *, is_inside: bool, is_below_p90: bool) -> None:
        """Learn one answer."""
        self._push(is_inside + 2 * is_below_p90)

    @property
    def p80(self) -> float | None:
        """Share between the 10 % and 90 % quantiles."""
        return self._inside / len(self._hits) if self._hits else None

    @property
    def p90(self) -> float | None:
        """Share at or below the 90 % quantile."""
        return self._below_p90 / len(self._hits) if self._hits else None

    def state(self) -> State:
        """For a snapshot."""
        return {"hits": np.array(self._hits, np.uint8)}

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        hits = take(state, "hits", np.uint8, None)
        if len(hits) > WINDOW or (len(hits) and int(hits.max()) > 3):  # noqa: PLR2004  two bits
            raise StateError("hits out of range")
        for hit in hits:
            self._push(int(hit))

    def _push(self, hit: int) -> None:
        if len(self._hits) == WINDOW:
            oldest = self._hits.popleft()
            self._inside -= oldest & 1
            self._below_p90 -= oldest >> 1
        self._hits.append(hit)
        self._inside += hit & 1
        self._below_p90 += hit >> 1
