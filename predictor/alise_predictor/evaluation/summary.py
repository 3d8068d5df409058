"""What a replay comes to: a few figures for everybody, and the details for who asks.

Order is judged within models: over rows of several models a predictor that only knows which model
answers already looks good. Kendall's tau, Spearman's rho and pairwise accuracy are therefore means
over the file's models, weighted by rows, as far as a model has ``SMALLEST_GROUP`` rows; where none
has, they are those of all rows together. All other figures are over all rows.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np

from alise_predictor.evaluation.groups import Grouped, Rows, grouped
from alise_predictor.evaluation.metrics import Figures, calibration_curve, mean_of
from alise_predictor.evaluation.ranking import Floats
from alise_predictor.evaluation.replay import Replayed

Json = dict[str, object]

BLOCK = 500
"""Requests per step of the curve of adaptation."""
SMALLEST_BLOCK = 100
"""Of the last, incomplete block; below, its tau is mostly noise (standard error above 0.07)."""

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Latency:
    """Microseconds of one prediction; ``None`` without predictions."""

    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Block:
    """A run of consecutive requests.

    Attributes:
        first: Number of its first request in the file, from 1.
        last: Number of its last.
        static: Figures of the model alone.
        served: Figures of what the gateway would have used.
        latency: Of the predictions in it.
    """

    first: int
    last: int
    static: Figures
    served: Figures
    latency: Latency


def whole(replayed: Replayed) -> Block:
    """The whole replay as one block."""
    return _block(replayed, slice(0, len(replayed.tokens)))


def blocks(replayed: Replayed) -> list[Block]:
    """One block per ``BLOCK`` requests; a short rest counts from ``SMALLEST_BLOCK`` on."""
    count = len(replayed.tokens)
    bounds = [slice(begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK)]
    return [
        _block(replayed, bound) for bound in bounds if bound.stop - bound.start >= SMALLEST_BLOCK
    ]


def document(replayed: Replayed) -> Json:
    """The figures that ``--json`` prints; those and no others."""
    result = _record(whole(replayed))
    if replayed.learned is not None:
        result["blocks"] = [_record(block) for block in blocks(replayed)]
    return result


def details(replayed: Replayed) -> Json:
    """Everything else there is to know: models, pooled figures, calibration, the gain."""
    served = _grouped(replayed, replayed.served, slice(None))
    result: Json = {
        "summary": document(replayed),
        "pooled": _plain(served.pooled),
        "models": [{"model": group.model, **_plain(group.figures)} for group in served.groups],
        "left_out": {"models": served.left_out_groups, "rows": served.left_out_rows},
        "calibration": _calibration(replayed, replayed.served),
        "failed_predictions": replayed.failed,
    }
    if replayed.learned is not None:
        result["static"] = {
            "pooled": _plain(_grouped(replayed, replayed.static, slice(None)).pooled),
            "within_models": _plain(whole(replayed).static),
            "calibration": _calibration(replayed, replayed.static),
        }
        result["blocks"] = [
            {
                "first": block.first,
                "last": block.last,
                "static": _plain(block.static),
                "learning": _plain(block.served),
            }
            for block in blocks(replayed)
        ]
    return result


def _block(replayed: Replayed, rows: slice) -> Block:
    return Block(
        first=rows.start + 1,
        last=rows.stop,
        static=_within_models(_grouped(replayed, replayed.static, rows)),
        served=_within_models(_grouped(replayed, replayed.served, rows)),
        latency=_latency(replayed.seconds[rows]),
    )


def _grouped(replayed: Replayed, quantiles: Floats, rows: slice) -> Grouped:
    models = replayed.models[rows]
    return grouped(Rows(replayed.tokens[rows], [""] * len(models), models, quantiles[rows]))


def _within_models(found: Grouped) -> Figures:
    if not found.groups:
        return found.pooled
    order = mean_of([group.figures for group in found.groups], by_rows=True)
    return replace(
        found.pooled,
        tau_b=order.tau_b,
        spearman=order.spearman,
        pairwise_accuracy=order.pairwise_accuracy,
        pairwise_accuracy_2x=order.pairwise_accuracy_2x,
    )


def _latency(seconds: Floats) -> Latency:
    if not len(seconds):
        return Latency(None, None)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e6
    return Latency(round(float(p50), 1), round(float(p99), 1))


def _record(block: Block) -> Json:
    figures = _plain(block.served)
    names = (
        *("n", "tau_b", "spearman", "pairwise_accuracy", "mae"),
        *("coverage_p50", "coverage_p90", "pinball"),
    )
    return {**{name: figures[name] for name in names}, "latency_us": asdict(block.latency)}


def _plain(figures: Figures) -> Json:
    return {
        name: round(value, _DIGITS) if isinstance(value, float) else value
        for name, value in asdict(figures).items()
    }


def _calibration(replayed: Replayed, quantiles: Floats) -> list[Json]:
    return [
        {"level": level, "observed": None if observed is None else round(observed, _DIGITS)}
        for level, observed in calibration_curve(replayed.tokens, quantiles)
    ]
