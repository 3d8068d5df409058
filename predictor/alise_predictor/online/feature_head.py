"""Which words and facts mean longer or shorter answers here: a ridge regression kept up to date.

Solved in the dual by coordinate ascent (Hsieh et al., "A dual coordinate descent method for
large-scale linear SVM", 2008) over a bounded window of answers: the weights are always
``sum of alpha_i * x_i`` over the window, so that an answer which leaves the window takes its whole
contribution with it. Bounding alpha is Huber's loss, and bounds what one answer can do.
"""

from collections import deque
from collections.abc import Mapping
from itertools import islice

import numpy as np
import numpy.typing as npt

from alise_predictor.online.sparse import (
    BUCKETS,
    FACT_BUCKETS,
    FACT_VALUE,
    MOST_FACTS,
    MOST_FEATURES,
    SparseRequest,
)
from alise_predictor.online.standard import Standardiser
from alise_predictor.online.state import Array, State, StateError, nested, take, within

WINDOW = 1_500
"""Answers learned from; more are not worth their memory and would follow drift later."""

RIDGE = 0.5
MOST_RESIDUAL = 1.0
"""Beyond this (log units) a residual counts as this."""

REPLAYS = 8
"""Answers of the window whose coefficient is brought up to date with each new one."""

LEAST_STEP = 1e-3
"""A coefficient that would change by less stays as it is; most do once they have settled."""

Dense = npt.NDArray[np.float32]
Weights = npt.NDArray[np.float32]
Line = tuple[float, float]
"""Offset and slope of the calibration whose residual is learned."""


class _Answer:
    """One answer in the window."""

    __slots__ = ("alpha", "base", "norm", "numbers", "observed", "request", "standard")

    def __init__(
        self, request: SparseRequest, numbers: Dense, base: float, observed: float
    ) -> None:
        self.request = request
        self.numbers = numbers
        self.base = base
        self.observed = observed
        self.alpha = 0.0
        self.standard = numbers
        self.norm = 1.0

    def use(self, standard: Dense, norm: float) -> None:
        """Take the dense features on a new scale; ``norm`` is the square of the whole vector's."""
        self.standard = standard
        self.norm = norm


class FeatureHead:
    """Residual of the calibrated base, predicted from hashed n-grams and numbers.

    One answer's own term changes any prediction by at most ``MOST_RESIDUAL / RIDGE`` times the
    similarity of the two requests.

    Args:
        numbers: How many dense features a request has.
    """

    __slots__ = (
        "_answers", "_dense", "_facts", "_next", "_numbers", "_scale", "_stored", "_weights",
    )  # fmt: skip

    def __init__(self, numbers: int) -> None:
        self._numbers = numbers
        self._weights: Weights | None = None
        self._dense: Dense = np.zeros(numbers, np.float32)
        self._facts = [0.0] * FACT_BUCKETS
        self._scale = Standardiser(numbers)
        self._answers: deque[_Answer] = deque()
        self._next = 0
        self._stored = 0

    @property
    def size_bytes(self) -> int:
        """Estimate of the memory held."""
        if self._weights is None:
            return 0
        return (
            self._weights.nbytes
            + 32 * FACT_BUCKETS
            + 2 * self._stored
            + len(self._answers) * _ANSWER_BYTES
        )

    def predict(self, request: SparseRequest, numbers: Dense) -> float:
        """Residual in log units; 0 before anything was learned."""
        if self._weights is None:
            return 0.0
        return self._said(self._weights, request, self._scale.apply(numbers))

    def update(
        self, request: SparseRequest, numbers: Dense, base: float, observed: float, line: Line
    ) -> None:
        """Learn one answer and bring some earlier ones up to date.

        Args:
            request: Hashed features.
            numbers: Dense features, shape ``(numbers,)``.
            base: The base's prediction, ``log(1 + tokens)``.
            observed: The answer, ``log(1 + tokens)``.
            line: Offset and slope of the calibration whose residual is learned.
        """
        if self._weights is None:
            self._weights = np.zeros(BUCKETS, np.float32)
        weights, answers = self._weights, self._answers
        if len(answers) == WINDOW:
            oldest = answers.popleft()
            self._stored -= len(oldest.request.buckets)
            self._add(weights, oldest, -oldest.alpha)
        if self._scale.update(numbers):
            self._dense = self._rescale()
        answer = _Answer(request, numbers, base, observed)
        standard = self._scale.apply(numbers)
        answer.use(standard, request.norm + float(standard @ standard))
        answers.append(answer)
        self._stored += len(request.buckets)
        self._ascend(weights, answer, line)
        for earlier in self._to_replay():
            self._ascend(weights, earlier, line)

    def state(self) -> State:
        """For a snapshot."""
        if self._weights is None:
            return {}
        answers = self._answers
        found: State = {
            "weights": self._weights.copy(),
            "dense": self._dense.copy(),
            "next": np.array([self._next], np.int64),
            "sizes": np.array([len(a.request.buckets) for a in answers], np.int64),
            "buckets": np.concatenate([a.request.buckets for a in answers]),
            "facts": _padded([a.request.facts for a in answers]),
            "fact_weights": np.array(self._facts),
            "numbers": np.stack([a.numbers for a in answers]),
            "answers": np.array([(a.base, a.observed, a.alpha) for a in answers]),
        }
        return found | nested("scale", self._scale.state())

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        if not state:
            return
        sizes = take(state, "sizes", np.int64, None)
        count = len(sizes)
        if not 0 < count <= WINDOW or sizes.min() < 1 or sizes.max() > MOST_FEATURES:
            raise StateError("sizes out of range")
        buckets = take(state, "buckets", np.uint16, int(sizes.sum()))
        if int(buckets.max()) >= BUCKETS:
            raise StateError("buckets out of range")
        numbers = take(state, "numbers", np.float32, count, self._numbers)
        answers = take(state, "answers", np.float64, count, 3)
        self._weights = take(state, "weights", np.float32, BUCKETS)
        self._dense = take(state, "dense", np.float32, self._numbers)
        self._next = int(take(state, "next", np.int64, 1)[0]) % count
        self._scale.load(within("scale", state))
        self._stored = len(buckets)
        facts = take(state, "facts", np.int64, count, MOST_FACTS)
        if int(facts.max()) >= FACT_BUCKETS:
            raise StateError("facts out of range")
        self._facts = take(state, "fact_weights", np.float64, FACT_BUCKETS).tolist()
        parts = np.split(buckets, np.cumsum(sizes)[:-1])
        for part, own, row, (base, observed, alpha) in zip(
            parts, facts.tolist(), numbers, answers, strict=True
        ):
            request = SparseRequest.of(part, tuple(fact for fact in own if fact >= 0))
            answer = _Answer(request, row, float(base), float(observed))
            answer.alpha = float(alpha)
            self._answers.append(answer)
        self._rescale()

    def _to_replay(self) -> list[_Answer]:
        """The next few of the window, round and round."""
        earlier = len(self._answers) - 1
        count = min(REPLAYS, earlier)
        start = self._next if self._next + count <= earlier else 0
        self._next = start + count
        return list(islice(self._answers, start, start + count))

    def _rescale(self) -> Dense:
        """Put the window on the scale in use; gives the dense weights that follow from it."""
        if not self._answers:
            return np.zeros(self._numbers, np.float32)
        scaled = self._scale.apply(np.stack([answer.numbers for answer in self._answers]))
        squares = np.einsum("ij,ij->i", scaled, scaled).tolist()
        for answer, row, square in zip(self._answers, scaled, squares, strict=True):
            answer.use(row, answer.request.norm + square)
        alphas = np.array([answer.alpha for answer in self._answers], np.float32)
        return np.asarray(alphas @ scaled, np.float32)

    def _said(self, weights: Weights, request: SparseRequest, standard: Dense) -> float:
        said = float(weights[request.buckets].sum()) * request.value
        for fact in request.facts:
            said += self._facts[fact] * FACT_VALUE
        return said + float(self._dense @ standard)

    def _ascend(self, weights: Weights, answer: _Answer, line: Line) -> None:
        """Solve for one answer's coefficient with all others held."""
        said = self._said(weights, answer.request, answer.standard)
        residual = answer.observed - line[0] - line[1] * answer.base - said
        step = (residual - RIDGE * answer.alpha) / (answer.norm + RIDGE)
        alpha = min(max(answer.alpha + step, -_MOST_ALPHA), _MOST_ALPHA)
        if abs(alpha - answer.alpha) >= LEAST_STEP:
            self._add(weights, answer, alpha - answer.alpha)
            answer.alpha = alpha

    def _add(self, weights: Weights, answer: _Answer, amount: float) -> None:
        # Buckets of a request are distinct: indexed addition reaches each once.
        weights[answer.request.buckets] += amount * answer.request.value
        self._dense += np.float32(amount) * answer.standard
        for fact in answer.request.facts:
            self._facts[fact] += amount * FACT_VALUE


def _padded(rows: list[tuple[int, ...]]) -> Array:
    return np.array([(*row, *[-1] * (MOST_FACTS - len(row))) for row in rows], np.int64)


_MOST_ALPHA = MOST_RESIDUAL / RIDGE
_ANSWER_BYTES = 700
"""Of an answer's Python objects beside its buckets."""
