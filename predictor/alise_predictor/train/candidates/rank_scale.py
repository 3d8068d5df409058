"""From a score that only orders to quantiles: a line, and the spread that is left."""

from dataclasses import dataclass

import numpy as np

from alise_predictor.train.candidates.base import (
    Floats,
    Quantiles,
    flat_answers,
    weighted_quantiles,
)
from alise_predictor.train.examples import Examples

_ANSWERS = 4


@dataclass(frozen=True, slots=True)
class RankScale:
    """``quantile = intercept + slope * score + residual quantile``."""

    slope: float
    intercept: float
    residuals: Floats
    span: tuple[float, float]

    def log_quantiles(self, scores: Floats) -> Quantiles:
        """Quantiles of each score, ``(n, levels)``."""
        centre = self.intercept + self.slope * scores
        return np.clip(centre[:, None] + self.residuals, *self.span).astype(np.float32)


def fit_scale(
    scores: Floats, held_out: Examples, span: tuple[float, float], seed: int
) -> RankScale:
    """Least squares of held-out answers on their scores.

    Args:
        scores: Of each held-out example.
        held_out: Examples the score was not trained on.
        span: Range of training lengths.
        seed: Of the draw of answers.
    """
    rows, targets = flat_answers(held_out, _ANSWERS, seed)
    weights = (held_out.weight / np.bincount(rows, minlength=len(held_out)))[rows]
    inputs = scores[rows]
    centre = np.average(inputs, weights=weights)
    middle = np.average(targets, weights=weights)
    spread = np.average((inputs - centre) ** 2, weights=weights)
    shared = np.average((inputs - centre) * (targets - middle), weights=weights)
    # A score that runs against the lengths says nothing about them: never turned around.
    slope = max(0.0, float(shared / spread)) if spread > 0 else 0.0
    intercept = float(middle - slope * centre)
    residuals = weighted_quantiles(targets - intercept - slope * inputs, weights)
    return RankScale(slope, intercept, residuals, span)
