"""The last answers a feature head learns from, stored by column: a key holds thousands."""

from array import array
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from alise_predictor.online.sparse import (
    BUCKETS,
    FACT_BUCKETS,
    MOST_FACTS,
    MOST_FEATURES,
    Buckets,
    SparseRequest,
)
from alise_predictor.online.standard import Standardiser
from alise_predictor.online.state import Array, State, StateError, take

WINDOW = 2_000
"""Answers learned from; more are not worth their memory and would follow drift later."""

_FIRST_ROWS = 64
_ANSWER_BYTES = 320
"""Of an answer's Python objects beside its buckets and numbers."""

Dense = npt.NDArray[np.float32]


class AnswerWindow:
    """A ring of answers; an answer is named by its place.

    Args:
        numbers: How many dense features an answer's request has.

    Attributes:
        alpha: Coefficient of each answer.
        base: What the base predicted, ``log(1 + tokens)``.
        observed: What came, ``log(1 + tokens)``.
        norm: Square of the length of the request's whole vector.
        requests: Hashed features.
        standard: Dense features on the scale in use, one row an answer.
    """

    __slots__ = (
        "_next", "_raw", "_stored", "alpha", "base", "norm", "observed", "requests", "standard",
    )  # fmt: skip

    def __init__(self, numbers: int) -> None:
        self.alpha = array("d")
        self.base = array("d")
        self.observed = array("d")
        self.norm = array("d")
        self.requests: list[SparseRequest] = []
        self.standard = np.zeros((0, numbers), np.float32)
        self._raw = np.zeros((0, numbers), np.float32)
        self._next = 0
        self._stored = 0

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def size_bytes(self) -> int:
        """Estimate of the memory held."""
        return 2 * self._raw.nbytes + 2 * self._stored + len(self) * _ANSWER_BYTES

    @property
    def oldest(self) -> int | None:
        """Place that the next answer takes from another one; ``None`` while there is room."""
        return self._next if len(self) == WINDOW else None

    def add(
        self, request: SparseRequest, numbers: Dense, standard: Dense, base: float, observed: float
    ) -> int:
        """Store an answer with coefficient 0; gives its place."""
        place = self._next
        if place == len(self):
            if place == len(self._raw):
                self._grow()
            self.requests.append(request)
            for column in (self.alpha, self.base, self.observed, self.norm):
                column.append(0.0)
        else:
            self._stored -= len(self.requests[place].buckets)
            self.requests[place] = request
        self._stored += len(request.buckets)
        self._raw[place], self.standard[place] = numbers, standard
        self.alpha[place], self.base[place], self.observed[place] = 0.0, base, observed
        self.norm[place] = request.norm + float(standard @ standard)
        self._next = (place + 1) % WINDOW
        return place

    def rescale(self, by: Standardiser) -> Dense:
        """Put all on a new scale; gives the dense weights that follow from the coefficients."""
        size = len(self)
        scaled = self.standard[:size]
        scaled[:] = by.apply(self._raw[:size])
        squares = np.einsum("ij,ij->i", scaled, scaled).tolist()
        own = (request.norm for request in self.requests)
        self.norm = array("d", (a + b for a, b in zip(own, squares, strict=True)))
        return np.asarray(np.array(self.alpha, np.float32) @ scaled, np.float32)

    def state(self) -> State:
        """For a snapshot."""
        size = len(self)
        facts = [(*r.facts, *[-1] * (MOST_FACTS - len(r.facts))) for r in self.requests]
        buckets = [request.buckets for request in self.requests]
        return {
            "next": np.array([self._next], np.int64),
            "sizes": np.array([len(row) for row in buckets], np.int64),
            "buckets": np.concatenate([np.zeros(0, np.uint16), *buckets]),
            "facts": np.array(facts, np.int64).reshape(size, MOST_FACTS),
            "numbers": self._raw[:size].copy(),
            "answers": np.array((self.alpha, self.base, self.observed)),
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot; ``rescale`` has to follow.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        sizes = take(state, "sizes", np.int64, None)
        count = len(sizes)
        start = int(take(state, "next", np.int64, 1)[0])
        if count > WINDOW or (
            start != count % WINDOW if count < WINDOW else not 0 <= start < count
        ):
            raise StateError(f"{count} answers, next is {start}")
        buckets, facts = _checked(state, sizes)
        width = self._raw.shape[1]
        self._raw = take(state, "numbers", np.float32, count, width)
        self.standard = np.zeros((count, width), np.float32)
        answers = take(state, "answers", np.float64, 3, count)
        self.alpha, self.base, self.observed = (array("d", row.tolist()) for row in answers)
        parts = np.split(buckets, np.cumsum(sizes)[:-1])
        self.requests = [
            # Copies, because a view would keep all of the snapshot's buckets.
            SparseRequest.of(part.copy(), tuple(fact for fact in own if fact >= 0))
            for part, own in zip(parts, facts, strict=True)
        ]
        self._next, self._stored = start, len(buckets)

    def _grow(self) -> None:
        more = min(max(_FIRST_ROWS, len(self._raw)), WINDOW - len(self._raw))
        fresh = np.zeros((more, self._raw.shape[1]), np.float32)
        self._raw = np.concatenate((self._raw, fresh))
        self.standard = np.concatenate((self.standard, fresh))


def _checked(
    state: Mapping[str, Array], sizes: npt.NDArray[np.int64]
) -> tuple[Buckets, list[list[int]]]:
    if not len(sizes) or sizes.min() < 1 or sizes.max() > MOST_FEATURES:
        raise StateError("sizes out of range")
    buckets = take(state, "buckets", np.uint16, int(sizes.sum()))
    facts = take(state, "facts", np.int64, len(sizes), MOST_FACTS)
    if int(buckets.max()) >= BUCKETS or int(facts.max()) >= FACT_BUCKETS:
        raise StateError("buckets out of range")
    return buckets, facts.tolist()
