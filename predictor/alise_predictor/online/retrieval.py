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
"""A power of two, and a multiple of four."""

LEAST_SIMILARITY = 0.75
MOST_NEIGHBOURS = 32
"""Compared cell by cell and counted: where requests repeat, hundreds share their bands."""

_EDGES = np.arange(0, BUCKETS + 1, BUCKETS // CELLS, dtype=np.uint16)
_EMPTY = 0
_LOW_BITS = 127
_BANDS = CELLS // 4
_NEVER_CELL = np.uint8(0xFF)
_NEVER = np.uint32(0xFFFF_FFFF)
"""Four cells are compared at once; of two requests with similarity .75 all 16 bands of four differ
once in 400 times."""

Sketch = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]


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
    places = request.buckets.searchsorted(_EDGES)
    starts = places[:-1]
    is_filled = starts < places[1:]
    found = np.zeros(CELLS, np.uint8)
    found[is_filled] = (request.buckets[starts[is_filled]] & _LOW_BITS) + 1
    return found


class RetrievalStore:
    """A ring of sketches and lengths of one key.

    Args:
        capacity: Finished requests held.
        ttl_seconds: After this time one is not found any more.
    """

    __slots__ = ("_bands", "_capacity", "_count", "_filled", "_lengths", "_seconds", "_ttl")

    def __init__(self, capacity: int, ttl_seconds: float) -> None:
        self._capacity = capacity
        self._ttl = ttl_seconds
        self._count = 0
        # Bands lie in rows, so that one comparison runs along memory.
        self._bands = np.zeros((_BANDS, 0), np.uint32)
        self._filled = np.zeros(0, np.int64)
        self._lengths = np.zeros(0, np.float32)
        self._seconds = np.zeros(0, np.float64)

    @property
    def size_bytes(self) -> int:
        """Estimate of the memory held."""
        return self._bands.nbytes + 20 * len(self._lengths)

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
        bands = wanted.view(np.uint32)
        # A band without any bucket says nothing, and no stored cell can equal this.
        bands = np.where(bands == _EMPTY, _NEVER, bands)
        is_shared = self._bands[:, :size] == bands[:, None]
        if not is_shared.any():
            return None
        shared = np.add.reduce(is_shared.view(np.uint8), axis=0, dtype=np.uint8)
        shared *= self._seconds[:size] >= now - self._ttl
        near = np.flatnonzero(shared != 0)
        if len(near) > MOST_NEIGHBOURS:
            near = self._closest(near, shared)
        return self._weigh(wanted, near)

    def add(self, request: Sketch, log_tokens: float, now: float) -> None:
        """Remember a finished request."""
        if self._capacity < 1:
            return
        if self._count == len(self._lengths) < self._capacity:
            self._grow()
        place = self._count % self._capacity
        self._bands[:, place] = request.view(np.uint32)
        self._filled[place] = np.count_nonzero(request)
        self._lengths[place] = log_tokens
        self._seconds[place] = now
        self._count += 1

    def state(self) -> State:
        """For a snapshot."""
        size = len(self)
        return {
            "count": np.array([self._count], np.int64),
            "bands": self._bands[:, :size].copy(),
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
        bands = take(state, "bands", np.uint32, _BANDS, size)
        lengths = take(state, "lengths", np.float32, size)
        seconds = take(state, "seconds", np.float64, size)
        self._bands, self._lengths, self._seconds = bands, lengths, seconds
        cells = np.ascontiguousarray(bands.T).view(np.uint8).reshape(size, CELLS)
        self._filled = np.count_nonzero(cells, axis=1)
        self._count = count

    def _closest(self, near: Places, shared: npt.NDArray[np.uint8]) -> Places:
        """Of ascending places those that share most bands, and of equals the latest."""
        # The next place to be written holds the oldest of a full ring, the one before the latest.
        oldest = near.searchsorted(self._count % self._capacity)
        in_time = np.concatenate((near[oldest:], near[:oldest]))
        return in_time[np.argsort(shared[in_time], kind="stable")[-MOST_NEIGHBOURS:]]

    def _weigh(self, wanted: Sketch, near: Places) -> Retrieved | None:
        cells = np.ascontiguousarray(self._bands[:, near].T).view(np.uint8)
        # Nothing stored equals a cell that is empty here.
        equal = cells == np.where(wanted == _EMPTY, _NEVER_CELL, wanted)
        same = np.add.reduce(equal.view(np.uint8), axis=1, dtype=np.uint8)
        # Cells that neither request fills say nothing; one that only one fills is a difference.
        filled = self._filled[near] + int(np.count_nonzero(wanted))
        likeness = 2.0 * same / filled
        weight = ((likeness - _FLOOR) / (1.0 - _FLOOR)) ** 2
        weight *= likeness >= LEAST_SIMILARITY
        total_weight = float(np.add.reduce(weight))
        if not total_weight:
            return None
        return Retrieved(float(weight @ self._lengths[near]) / total_weight, total_weight)

    def _grow(self) -> None:
        size = min(max(64, 2 * len(self._lengths)), self._capacity)
        more = size - len(self._lengths)
        fresh = np.zeros((_BANDS, more), np.uint32)
        self._bands = np.ascontiguousarray(np.concatenate((self._bands, fresh), axis=1))
        self._filled = np.concatenate((self._filled, np.zeros(more, np.int64)))
        self._lengths = np.concatenate((self._lengths, np.zeros(more, np.float32)))
        self._seconds = np.concatenate((self._seconds, np.zeros(more)))


_FLOOR = 0.6
"""Similarity that weighs nothing."""
