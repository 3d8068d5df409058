"""The distribution of all training lengths, whatever is asked: what every other has to beat."""

from collections.abc import Sequence

import numpy as np

from alise_core.prediction import LEVELS
from alise_predictor.train.candidates.base import (
    Context,
    Fitted,
    Prompts,
    Quantiles,
    flat_answers,
    weighted_quantiles,
)
from alise_predictor.train.examples import Examples

_ANSWERS = 8


class Constant:
    """No features at all."""

    name = "constant"
    summary = "the distribution of all training lengths"

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """Weighted quantiles of the training answers."""
        rows, lengths = flat_answers(examples, _ANSWERS, context.seed)
        counts = np.bincount(rows, minlength=len(examples))
        weights = examples.weight[rows] / counts[rows]
        quantiles = np.clip(weighted_quantiles(lengths, weights), *context.span)

        def log_quantiles(prompts: Prompts) -> Quantiles:
            return np.tile(quantiles, (len(prompts), 1)).astype(np.float32)

        return Fitted(log_quantiles, size_bytes=4 * len(LEVELS), predict_one=_of(quantiles))


def _of(quantiles: Sequence[float] | np.ndarray) -> "_Answer":
    return _Answer(tuple(float(value) for value in quantiles))


class _Answer:
    def __init__(self, values: tuple[float, ...]) -> None:
        self._values = values

    def __call__(self, _request: object) -> tuple[float, ...]:
        return self._values
