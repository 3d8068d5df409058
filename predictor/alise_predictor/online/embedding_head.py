"""What an encoder's view of a request says about the answer's length here: ridge regression.

Kept as sufficient statistics with forgetting, ``A = sum x x'`` and ``b = sum x t``; the solution
follows by a few steps of conjugate gradients from where it stood, because one answer hardly moves
it. A fresh factorisation with every answer would cost a hundred times as much.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from alise_predictor.online.state import Array, State, StateError, take
from alise_predictor.prediction import Embedding

KEEP = 1.0 - 1.0 / 2_000
RIDGE = 1.0
MOST_RESIDUAL = 1.0
STEPS = 2
MOST_SQUARE = 1.1
"""Square of an embedding's length, which is 1 but for rounding."""

MOST_SIZE = 1_024
"""Embeddings longer than this are not learned from: the statistics are the square of it."""

Matrix = npt.NDArray[np.float32]


class EmbeddingHead:
    """Residual of the calibrated base, predicted from an embedding of length at most 1."""

    __slots__ = ("_gram", "_moment", "_weights")

    def __init__(self) -> None:
        self._gram: Matrix | None = None
        self._moment: Embedding = np.zeros(0, np.float32)
        self._weights: Embedding = np.zeros(0, np.float32)

    @property
    def size_bytes(self) -> int:
        """Estimate of the memory held."""
        return 0 if self._gram is None else self._gram.nbytes

    def predict(self, embedding: Embedding | None) -> float:
        """Residual in log units; 0 before anything was learned."""
        if embedding is None or self._gram is None or len(embedding) != len(self._weights):
            return 0.0
        return float(self._weights @ embedding) if _is_usable(embedding) else 0.0

    def update(self, embedding: Embedding, residual: float) -> None:
        """Learn one answer.

        Args:
            embedding: Shape ``(d,)``; another ``d`` than before starts anew.
            residual: What was observed less the calibrated base, log units.
        """
        if not _is_usable(embedding):
            return
        if self._gram is None or len(embedding) != len(self._weights):
            self._gram = np.zeros((len(embedding), len(embedding)), np.float32)
            self._moment = np.zeros(len(embedding), np.float32)
            self._weights = np.zeros(len(embedding), np.float32)
        target = min(max(residual, -MOST_RESIDUAL), MOST_RESIDUAL)
        self._gram *= np.float32(KEEP)
        self._gram += np.outer(embedding, embedding)
        self._moment *= np.float32(KEEP)
        self._moment += np.float32(target) * embedding
        self._solve(self._gram)

    def state(self) -> State:
        """For a snapshot."""
        if self._gram is None:
            return {}
        return {
            "gram": self._gram.copy(),
            "moment": self._moment.copy(),
            "weights": self._weights.copy(),
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        if not state:
            return
        gram = take(state, "gram", np.float32, None, None)
        if len(gram) != gram.shape[1] or not 0 < len(gram) <= MOST_SIZE:
            raise StateError(f"gram is {gram.shape}")
        self._moment = take(state, "moment", np.float32, len(gram))
        self._weights = take(state, "weights", np.float32, len(gram))
        self._gram = gram

    def _solve(self, gram: Matrix) -> None:
        weights = self._weights
        left = self._moment - gram @ weights - np.float32(RIDGE) * weights
        direction, size = left.copy(), float(left @ left)
        for _ in range(STEPS):
            if size < _SOLVED:
                return
            image = gram @ direction + np.float32(RIDGE) * direction
            step = np.float32(size / float(direction @ image))
            weights += step * direction
            left -= step * image
            size, before = float(left @ left), size
            direction = left + np.float32(size / before) * direction


def _is_usable(embedding: Embedding) -> bool:
    # What an encoder gone wrong says would stay in the sums for ever. The first comparison also
    # keeps the product from overflowing, and is false for NaN.
    if not 0 < len(embedding) <= MOST_SIZE or not float(np.abs(embedding).max()) <= MOST_SQUARE:
        return False
    return float(embedding @ embedding) <= MOST_SQUARE


_SOLVED = 1e-10
