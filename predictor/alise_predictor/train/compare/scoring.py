"""A candidate's predictions on the drawn rows, and its figures."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alise_core.prediction import LEVELS
from alise_predictor.evaluation.groups import Grouped, Rows, grouped
from alise_predictor.evaluation.metrics import calibration_curve
from alise_predictor.train.candidates.base import MEDIAN, Fitted, Floats, Quantiles
from alise_predictor.train.compare.rows import GroupRows, used_prompts


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a candidate says about some prompts.

    Attributes:
        prompts: Sorted indices in the corpus, ``(n,)``.
        log_quantiles: ``(n, levels)``.
        score: What the candidate orders by, ``(n,)``.
    """

    prompts: npt.NDArray[np.int64]
    log_quantiles: Quantiles
    score: Floats

    def rows(self, prompts: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """Where some of the prompts are."""
        return np.searchsorted(self.prompts, prompts)


@dataclass(frozen=True, slots=True)
class Scored:
    """Figures of one candidate on one part of a regime's test.

    Attributes:
        grouped: Per group, per data set, macro and pooled.
        curve: Promised and observed shares, mean over data sets.
    """

    grouped: Grouped
    curve: list[tuple[float, float]]


def predict(fitted: Fitted, groups: list[GroupRows]) -> Predictions:
    """Ask a candidate once about every prompt."""
    prompts = used_prompts(groups)
    quantiles = fitted.log_quantiles(prompts)
    score = quantiles[:, MEDIAN] if fitted.score is None else fitted.score(prompts)
    return Predictions(prompts, quantiles, np.asarray(score, np.float64))


def score(
    predictions: Predictions,
    groups: list[GroupRows],
    offsets: Mapping[tuple[str, str], float] | None,
    span: tuple[float, float],
) -> Scored:
    """Figures within groups.

    Args:
        predictions: Of all prompts of ``groups``.
        groups: The rows.
        offsets: Known offset of each (data set, model); ``None`` takes each group's from its
            calibration rows.
        span: Lengths that are ever predicted, ``log(1 + tokens)``; as in serving, offsets do not
            lead out of it.
    """
    quantiles: list[Floats] = []
    curves: dict[str, list[list[float]]] = {}
    for group in groups:
        offset = _offset(predictions, group, offsets)
        shifted = predictions.log_quantiles[predictions.rows(group.prompts)] + offset
        quantiles.append(np.clip(shifted, *span))
        curve = calibration_curve(group.tokens, quantiles[-1])
        curves.setdefault(group.source, []).append([share or 0.0 for _, share in curve])
    rows = Rows(
        tokens=np.concatenate([group.tokens for group in groups]),
        sources=[group.source for group in groups for _ in group.prompts],
        models=[group.model for group in groups for _ in group.prompts],
        log_quantiles=np.concatenate(quantiles),
        score=np.concatenate([predictions.score[predictions.rows(g.prompts)] for g in groups]),
    )
    shares = np.mean([np.mean(curve, axis=0) for curve in curves.values()], axis=0)
    found = grouped(rows, smallest=1)
    return Scored(found, list(zip(LEVELS, shares.tolist(), strict=True)))


def _offset(
    predictions: Predictions,
    group: GroupRows,
    offsets: Mapping[tuple[str, str], float] | None,
) -> float:
    if offsets is not None:
        return offsets.get((group.source, group.model), 0.0)
    if not len(group.calibration):
        return 0.0
    medians = predictions.log_quantiles[predictions.rows(group.calibration), MEDIAN]
    return float(np.median(np.log1p(group.calibration_tokens) - medians))
