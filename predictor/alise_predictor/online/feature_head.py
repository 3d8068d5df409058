"""Which words and facts mean longer or shorter answers here: a ridge regression kept up to date.

Solved in the dual by coordinate ascent (Hsieh et al., "A dual coordinate descent method for
large-scale linear SVM", 2008) over a bounded window of answers: the weights are always
``sum of alpha_i * x_i`` over the window, so that an answer which leaves the window takes its whole
contribution with it. Bounding alpha is Huber's loss, and bounds what one answer can do.
"""

from array import array
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from alise_predictor.online.answer_window import AnswerWindow, Dense
from alise_predictor.online.sparse import BUCKETS, FACT_BUCKETS, FACT_VALUE, SparseRequest
from alise_predictor.online.standard import Standardiser
from alise_predictor.online.state import Array, State, nested, take, within

RIDGE = 0.5
MOST_RESIDUAL = 1.0
"""Beyond this (log units) a residual counts as this."""

REPLAYS = 16
"""Answers of the window whose coefficient is brought up to date with each new one."""

LEAST_STEP = 1e-3
"""A coefficient that would change by less stays as it is; most do once they have settled."""

Weights = npt.NDArray[np.float32]
Line = tuple[float, float]
"""Offset and slope of the calibration whose residual is learned."""


class FeatureHead:
    """Residual of the calibrated base, predicted from hashed n-grams and numbers.

    One answer's own term changes any prediction by at most ``MOST_RESIDUAL / RIDGE`` times the
    similarity of the two requests.

    Args:
        numbers: How many dense features a request has.
    """

    __slots__ = ("_answers", "_dense", "_facts", "_next", "_scale", "_weights")

    def __init__(self, numbers: int) -> None:
        self._weights: Weights | None = None
        self._dense: Dense = np.zeros(numbers, np.float32)
        self._facts = array("d")
        self._scale = Standardiser(numbers)
        self._answers = AnswerWindow(numbers)
        self._next = 0

    @property
    def size_bytes(self) -> int:
        """Estimate of the memory held."""
        if self._weights is None:
            return 0
        return self._weights.nbytes + 8 * FACT_BUCKETS + self._answers.size_bytes

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
            self._facts = array("d", bytes(8 * FACT_BUCKETS))
        weights, answers = self._weights, self._answers
        oldest = answers.oldest
        if oldest is not None:
            self._add(weights, oldest, -answers.alpha[oldest])
            answers.alpha[oldest] = 0.0
        if self._scale.update(numbers):
            self._dense = answers.rescale(self._scale)
        place = answers.add(request, numbers, self._scale.apply(numbers), base, observed)
        self._ascend(weights, place, line)
        size = len(answers)
        for _ in range(min(REPLAYS, size - 1)):
            self._next = (self._next + 1) % size
            self._ascend(weights, self._next, line)

    def state(self) -> State:
        """For a snapshot."""
        if self._weights is None:
            return {}
        found: State = {
            "weights": self._weights.copy(),
            "facts": np.array(self._facts),
            "dense": self._dense.copy(),
            "next": np.array([self._next], np.int64),
        }
        found |= nested("scale", self._scale.state())
        return found | nested("answers", self._answers.state())

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        if not state:
            return
        self._scale.load(within("scale", state))
        self._answers.load(within("answers", state))
        self._answers.rescale(self._scale)
        facts = take(state, "facts", np.float64, FACT_BUCKETS)
        self._facts = array("d", facts.tolist())
        self._dense = take(state, "dense", np.float32, len(self._dense))
        self._next = int(take(state, "next", np.int64, 1)[0]) % len(self._answers)
        self._weights = take(state, "weights", np.float32, BUCKETS)

    def _said(self, weights: Weights, request: SparseRequest, standard: Dense) -> float:
        said = float(np.add.reduce(weights[request.buckets])) * request.value
        for fact in request.facts:
            said += self._facts[fact] * FACT_VALUE
        return said + float(self._dense @ standard)

    def _ascend(self, weights: Weights, place: int, line: Line) -> None:
        """Solve for one answer's coefficient with all others held."""
        answers = self._answers
        said = self._said(weights, answers.requests[place], answers.standard[place])
        residual = answers.observed[place] - line[0] - line[1] * answers.base[place] - said
        before = answers.alpha[place]
        alpha = before + (residual - RIDGE * before) / (answers.norm[place] + RIDGE)
        alpha = min(max(alpha, -_MOST_ALPHA), _MOST_ALPHA)
        if abs(alpha - before) >= LEAST_STEP:
            self._add(weights, place, alpha - before)
            answers.alpha[place] = alpha

    def _add(self, weights: Weights, place: int, amount: float) -> None:
        request = self._answers.requests[place]
        # Buckets of a request are distinct: indexed addition reaches each once.
        weights[request.buckets] += amount * request.value
        self._dense += np.float32(amount) * self._answers.standard[place]
        for fact in request.facts:
            self._facts[fact] += amount * FACT_VALUE


_MOST_ALPHA = MOST_RESIDUAL / RIDGE
