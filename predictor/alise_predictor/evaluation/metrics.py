"""Figures of one set of predictions: order, error in tokens, and whether uncertainty is honest.

Predictions are quantiles of ``log(1 + tokens)`` at ``alise_core.prediction.LEVELS``. A figure that
is not defined is ``None``, never a number that stands for something else.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from alise_core.prediction import LEVELS
from alise_predictor.evaluation.ranking import (
    Floats,
    kendall_tau_b,
    pairwise_accuracy,
    pairwise_accuracy_2x,
    spearman,
)

PINBALL_LEVELS: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Levels whose losses are averaged: the outermost two of ``LEVELS`` would mostly measure noise."""

_MEDIAN, _P10, _P90 = LEVELS.index(0.5), LEVELS.index(0.1), LEVELS.index(0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All figures of one set of rows, or the mean of several such sets.

    Attributes:
        n: Rows.
        tau_b: Kendall's tau-b between score and true length.
        spearman: Rank correlation.
        pairwise_accuracy: Share of pairs of different lengths in the right order.
        pairwise_accuracy_2x: The same over pairs that differ by at least a factor of two.
        mae: Mean absolute error of the median, in tokens.
        within_50: Share of medians at most 50 tokens off.
        within_100: Share of medians at most 100 tokens off.
        pinball: Mean quantile loss of ``log(1 + tokens)`` over ``PINBALL_LEVELS``.
        coverage_p50: Share of true lengths at or below the predicted median; 0.5 is honest.
        coverage_p90: The same for the predicted 90th percentile.
        cov80: Share of true lengths inside the predicted 10th to 90th percentiles.
    """

    n: int
    tau_b: float | None = None
    spearman: float | None = None
    pairwise_accuracy: float | None = None
    pairwise_accuracy_2x: float | None = None
    mae: float | None = None
    within_50: float | None = None
    within_100: float | None = None
    pinball: float | None = None
    coverage_p50: float | None = None
    coverage_p90: float | None = None
    cov80: float | None = None


FIGURES: tuple[str, ...] = tuple(field.name for field in fields(Figures) if field.name != "n")
"""Names of the figures, ``n`` left out."""


def figures(
    tokens: npt.ArrayLike,
    log_quantiles: npt.ArrayLike | None = None,
    score: npt.ArrayLike | None = None,
) -> Figures:
    """All figures of one set of rows.

    Args:
        tokens: True output tokens, shape ``(n,)``.
        log_quantiles: Predicted ``log(1 + tokens)``, shape ``(n, len(LEVELS))``; without them
            (a predictor that only ranks) the errors and coverages are ``None``.
        score: What rows are ordered by, shape ``(n,)``; the predicted median unless given.

    Raises:
        ValueError: Shapes do not fit, or there is neither a prediction nor a score.
    """
    truth = np.asarray(tokens, np.float64)
    quantiles = None if log_quantiles is None else _quantiles(truth, log_quantiles)
    if score is None:
        if quantiles is None:
            raise ValueError("figures need log_quantiles, a score, or both")
        score = quantiles[:, _MEDIAN]
    order = {
        "tau_b": kendall_tau_b(truth, score),
        "spearman": spearman(truth, score),
        "pairwise_accuracy": pairwise_accuracy(truth, score),
        "pairwise_accuracy_2x": pairwise_accuracy_2x(truth, score),
    }
    sizes = {} if quantiles is None or not len(truth) else _sizes(truth, quantiles)
    return Figures(n=len(truth), **order, **sizes)


def mean_of(parts: list[Figures], *, by_rows: bool = False) -> Figures:
    """Mean of each figure over the parts in which it is defined.

    Args:
        parts: Figures of disjoint sets of rows.
        by_rows: Weigh a part by its rows; otherwise each part counts the same.
    """
    means: dict[str, float | None] = {}
    for name in FIGURES:
        found = [(getattr(part, name), part.n if by_rows else 1) for part in parts]
        found = [(value, weight) for value, weight in found if value is not None]
        weights = sum(weight for _, weight in found)
        means[name] = sum(value * weight for value, weight in found) / weights if weights else None
    return Figures(n=sum(part.n for part in parts), **means)


def pinball(truth_log: npt.ArrayLike, predicted_log: npt.ArrayLike, level: float) -> float | None:
    """Mean quantile loss at one level; both sides in ``log(1 + tokens)``, shape ``(n,)``."""
    error = np.asarray(truth_log, np.float64) - np.asarray(predicted_log, np.float64)
    if not len(error):
        return None
    return float(np.maximum(level * error, (level - 1.0) * error).mean())


def calibration_curve(
    tokens: npt.ArrayLike, log_quantiles: npt.ArrayLike
) -> list[tuple[float, float | None]]:
    """Per level of ``LEVELS`` the share of true lengths at or below the predicted quantile.

    Args:
        tokens: True output tokens, shape ``(n,)``.
        log_quantiles: Predicted ``log(1 + tokens)``, shape ``(n, len(LEVELS))``.

    Returns:
        ``(level, observed share)`` in the order of ``LEVELS``; honest predictions have both equal.
    """
    truth = np.asarray(tokens, np.float64)
    quantiles = _quantiles(truth, log_quantiles)
    if not len(truth):
        return [(level, None) for level in LEVELS]
    shares = (np.log1p(truth)[:, None] <= quantiles).mean(axis=0)
    return [(level, float(share)) for level, share in zip(LEVELS, shares, strict=True)]


def _sizes(truth: Floats, quantiles: Floats) -> dict[str, float]:
    truth_log = np.log1p(truth)
    errors = np.abs(np.expm1(quantiles[:, _MEDIAN]) - truth)
    losses = (
        pinball(truth_log, quantiles[:, LEVELS.index(level)], level) for level in PINBALL_LEVELS
    )
    low, high = quantiles[:, _P10], quantiles[:, _P90]
    return {
        "mae": float(errors.mean()),
        "within_50": float((errors <= 50.0).mean()),  # noqa: PLR2004  the figure's name
        "within_100": float((errors <= 100.0).mean()),  # noqa: PLR2004  the figure's name
        "pinball": sum(loss or 0.0 for loss in losses) / len(PINBALL_LEVELS),
        "coverage_p50": float((truth_log <= quantiles[:, _MEDIAN]).mean()),
        "coverage_p90": float((truth_log <= high).mean()),
        "cov80": float(((low <= truth_log) & (truth_log <= high)).mean()),
    }


def _quantiles(truth: Floats, log_quantiles: npt.ArrayLike) -> Floats:
    quantiles = np.asarray(log_quantiles, np.float64)
    if quantiles.shape != (len(truth), len(LEVELS)):
        raise ValueError(
            f"log_quantiles must have shape {(len(truth), len(LEVELS))}, not {quantiles.shape}"
        )
    return quantiles
