"""Quantile regression on the length of the prompt alone (Koenker and Bassett 1978)."""

from math import log1p

import numpy as np
from sklearn.linear_model import QuantileRegressor

from alise_core.prediction import LEVELS
from alise_predictor.request import PredictionRequest
from alise_predictor.train.candidates.base import (
    Context,
    Fitted,
    Floats,
    Prompts,
    Quantiles,
    flat_answers,
)
from alise_predictor.train.examples import Examples

_ANSWERS = 4
_MOST_ROWS = 6_000
"""The linear programs grow faster than the answer's precision."""


class PromptLength:
    """``log(1 + bytes)`` of the request's text in, quantiles out."""

    name = "prompt_length"
    summary = "quantile regression on the log of the prompt's bytes"

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """One linear program for each level."""
        lines = _lines(examples, context)

        def of(lengths: Floats) -> Quantiles:
            raw = lines[:, 0] + lengths[:, None] * lines[:, 1]
            return np.clip(np.sort(raw, axis=1), *context.span).astype(np.float32)

        def log_quantiles(prompts: Prompts) -> Quantiles:
            return of(_lengths([context.prompts.request(prompt) for prompt in prompts.tolist()]))

        return Fitted(
            log_quantiles,
            size_bytes=lines.size * 4,
            predict_one=lambda request: of(_lengths([request])),
        )


def _lines(examples: Examples, context: Context) -> Floats:
    """Intercept and slope of each level, ``(levels, 2)``."""
    random = np.random.default_rng(context.seed)
    rows, targets = flat_answers(examples, _ANSWERS, context.seed)
    if len(rows) > _MOST_ROWS:
        chosen = random.choice(len(rows), _MOST_ROWS, replace=False)
        rows, targets = rows[chosen], targets[chosen]
    counts = np.bincount(rows, minlength=len(examples))
    weights = examples.weight[rows] / counts[rows]
    requests = [context.prompts.request(prompt) for prompt in examples.prompts[rows].tolist()]
    inputs = _lengths(requests)[:, None]
    lines = []
    for level in LEVELS:
        model = QuantileRegressor(quantile=level, alpha=0.0, solver="highs")
        model.fit(inputs, targets, sample_weight=weights)
        lines.append((float(model.intercept_), float(model.coef_[0])))
    return np.array(lines)


def _lengths(requests: list[PredictionRequest]) -> Floats:
    return np.array([log1p(max(one.prompt_bytes, len(one.prompt))) for one in requests])
