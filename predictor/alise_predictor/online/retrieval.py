"""Finished requests like this one: what ALISE retrieves, held as sketches, never as text.

A sketch is one-permutation MinHash (Li, Owen and Zhang, 2012) over the request's buckets: they are
uniform and in order, so that the first bucket of each range is a minimum, and the share of equal
minima estimates the Jaccard similarity of two requests' n-grams.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alise_predictor.online.sparse import BUCKETS, SparseRequest
from alise_predictor.online.state import Array, State, StateError, take

CELLS = 64
LEAST_SIMILARITY = 0.75
MOST_NEIGHBOURS = 16

_RANGE = BUCKETS // CELLS
_STARTS = np.arange(0, BUCKETS, _RANGE, dtype=np.uint16)
_EMPTY = 0

Sketch = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Like requests.

    Attributes:
        mean: Their similarity-weighted mean of ``log(1 + tokens)``.
        weight: Sum of their weights: 1 for each exact repeat, less for a likeness.
    """

    mean: float
    weight: float


def sketch(request: SparseRequest) -> Sketch:
    """Sketch of a request, shape ``(CELLS,)``; 0 in a cell means no bucket in its range."""
    buckets = request.buckets
    places = np.searchsorted(buckets, _STARTS)
    found = np.full(CELLS, _EMPTY, np.uint8)
    inside = places < len(buckets)
    first = buckets[np.minimum(places, len(buckets) - 1)]
    offset = first - _STARTS
    hit = inside & (offset < _RANGE)
    found[hit] = offset[hit] + 1
    return found


class RetrievalStore:
    """A ring of sketches and lengths of one key.

    Args:
        capacity: Finished requests held.
        ttl_seconds: After this time one is not found any more.
    """

    __slots__ = ("_capacity", "_count", "_filled", "_lengths", "_seconds", "_sketches", "_ttl")

    def __init__(self, capacity: int, ttl_seconds: float) -> None:
        self._capacity = capacity
        self._ttl = ttl_seconds
        self._count = 0
        self._sketches = np.zeros((0, CELLS), np.uint8)
        self._filled = np.zeros(0, np.uint8)
        self._lengths = np.zeros(0, np.float32)
        self._seconds = np.zeros(0, np.float64)

    @property
    def size_bytes(self) -> int:
        """Estimate of the memory held."""
        return self._sketches.nbytes + self._lengths.nbytes + self._seconds.nbytes

    def __len__(self) -> int:
        return min(self._count, self._capacity)

    def find(self, wanted: Sketch, now: float) -> Retrieved | None:
        """The most similar finished requests, if any are similar enough.

        Args:
            wanted: Sketch of the request.
            now: Seconds on the caller's clock.
        """
        size = len(self)
        if not size:
            return None
        present = wanted != _EMPTY
        total = int(np.count_nonzero(present))
        equal = np.count_nonzero((self._sketches[:size] == wanted) & present, axis=1)
        near = np.flatnonzero(equal >= LEAST_SIMILARITY * total)
        if not len(near):
            return None
        return self._weigh(near, equal[near], total, now)

    def add(self, request: Sketch, log_tokens: float, now: float) -> None:
        """Remember a finished request."""
        if self._capacity < 1:
            return
        if self._count == len(self._lengths) < self._capacity:
            self._grow()
        place = self._count % self._capacity
        self._sketches[place] = request
        self._filled[place] = np.count_nonzero(request)
        self._lengths[place] = log_tokens
        self._seconds[place] = now
        self._count += 1

    def state(self) -> State:
        """For a snapshot."""
        size = len(self)
        return {
            "count": np.array([self._count], np.int64),
            "sketches": self._sketches[:size].copy(),
            "lengths": self._lengths[:size].copy(),
            "seconds": self._seconds[:size].copy(),
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        count = int(take(state, "count", np.int64, 1)[0])
        size = min(count, self._capacity)
        if count < 0:
            raise StateError(f"count is {count}")
        sketches = take(state, "sketches", np.uint8, size, CELLS)
        lengths = take(state, "lengths", np.float32, size)
        seconds = take(state, "seconds", np.float64, size)
        self._sketches, self._lengths, self._seconds = sketches, lengths, seconds
        self._filled = np.count_nonzero(sketches, axis=1).astype(np.uint8)
        self._count = count

    def _weigh(
        self, near: npt.NDArray[np.intp], equal: npt.NDArray[np.intp], total: int, now: float
    ) -> Retrieved | None:
        union = total + self._filled[near].astype(np.int64)
        # Both requests' empty cells say nothing; a cell only one of them fills is a difference.
        likeness = 2.0 * equal / np.maximum(union, 1)
        alive = (likeness >= LEAST_SIMILARITY) & (now - self._seconds[near] <= self._ttl)
        if not alive.any():
            return None
        near, likeness = near[alive], likeness[alive]
        if len(near) > MOST_NEIGHBOURS:
            # The latest of the most similar: equal prompts' newest answers count.
            age = (self._count - 1 - near) % max(1, len(self))
            chosen = np.lexsort((age, -likeness))[:MOST_NEIGHBOURS]
            near, likeness = near[chosen], likeness[chosen]
        weight = ((likeness - _FLOOR) / (1.0 - _FLOOR)) ** 2
        total_weight = float(weight.sum())
        return Retrieved(float(weight @ self._lengths[near]) / total_weight, total_weight)

    def _grow(self) -> None:
        size = min(max(64, 2 * len(self._lengths)), self._capacity)
        more = size - len(self._lengths)
        self._sketches = np.concatenate((self._sketches, np.zeros((more, CELLS), np.uint8)))
        self._filled = np.concatenate((self._filled, np.zeros(more, np.uint8)))
        self._lengths = np.concatenate((self._lengths, np.zeros(more, np.float32)))
        self._seconds = np.concatenate((self._seconds, np.zeros(more)))


_FLOOR = 0.6
"""Similarity that weighs nothing."""
