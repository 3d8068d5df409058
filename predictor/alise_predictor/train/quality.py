"""How good a bundle is, measured through the code that serves it."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from alise_predictor.evaluation.metrics import Figures
from alise_predictor.prediction import RawPrediction
from alise_predictor.serving import LengthPredictor
from alise_predictor.train.compare.options import Limits
from alise_predictor.train.compare.regimes import IN, OUT, Regime
from alise_predictor.train.compare.rows import GroupRows, draw_rows, used_prompts
from alise_predictor.train.compare.scoring import Predictions, score
from alise_predictor.train.dataset.corpus import Corpus

Metrics = dict[str, dict[str, float]]

_SHOWN = ("tau_b", "spearman", "pairwise_accuracy", "mae", "pinball", "coverage_p90", "cov80")


def bundle_metrics(
    predictor: LengthPredictor,
    corpus: Corpus,
    regime: Regime,
    offsets: Mapping[tuple[str, str], float],
    say: Callable[[str], None],
) -> Metrics:
    """Figures of both tiers, in and out of distribution.

    Macro means over data sets of means over models; in distribution with the models' offsets of
    the training, out of distribution with offsets from 50 rows that are not scored.

    Args:
        predictor: The opened bundle.
        corpus: Prompts and answers.
        regime: What trained, and what tests.
        offsets: Of each (data set, model) in training.
        say: Told about progress.

    Returns: ``{"tier0.in": {"tau_b": ...}, "tier0.in.flask": {...}, ...}``.
    """
    metrics: Metrics = {}
    span = predictor.manifest.log_range
    for part in (IN, OUT):
        mask = regime.tests.get(part)
        if mask is None or not mask.any():
            continue
        groups = draw_rows(corpus, mask, Limits(), calibrate=part == OUT, seed=0)
        if not groups:
            continue
        for tier, predictions in _predict(predictor, corpus, groups):
            scored = score(predictions, groups, offsets if part == IN else None, span).grouped
            name = f"{tier}.{part}"
            metrics[name] = _figures(scored.macro) | {"pooled_tau_b": scored.pooled.tau_b or 0.0}
            for source, figures in scored.by_source.items():
                metrics[f"{name}.{source}"] = _figures(figures)
            say(f"{name}: tau-b {metrics[name]['tau_b']:.3f}")
    return metrics


def _predict(
    predictor: LengthPredictor, corpus: Corpus, groups: list[GroupRows]
) -> list[tuple[str, Predictions]]:
    prompts = used_prompts(groups)
    requests = [corpus.prompts[index].request for index in prompts]
    first = [predictor.predict(request) for request in requests]
    found = [("tier0", _predictions(prompts, first))]
    if predictor.has_tier1:
        second = [
            predictor.refine(request, one) for request, one in zip(requests, first, strict=True)
        ]
        found.append(("tier1", _predictions(prompts, second)))
    return found


def _predictions(prompts: npt.NDArray[np.int64], raw: list[RawPrediction]) -> Predictions:
    quantiles = np.array([one.log_quantiles for one in raw], np.float32)
    median = quantiles[:, quantiles.shape[1] // 2].astype(np.float64)
    return Predictions(prompts, quantiles, median)


def _figures(figures: Figures) -> dict[str, float]:
    values = {name: getattr(figures, name) for name in _SHOWN}
    return {name: round(value, 4) for name, value in values.items() if value is not None}
