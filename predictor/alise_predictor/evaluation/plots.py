"""Pictures of evaluations: calibration, order by source, adaptation, and what order costs.

Only who draws imports this module: matplotlib belongs to the extras ``train`` and ``bench``. Every
function takes plain data and a file; the same data give the same bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter, PercentFormatter

_OURS, _THEIRS, _LINE = "#0b6e4f", "#9aa5b1", "#333333"
_GRID = "#e5e8eb"
_COLOURS = (_OURS, "#d98e04", "#4c6ef5", _THEIRS, "#a33b3b", "#7048a8", "#222222")
"""Told apart in grey and by most colour-blind readers; the first is the shipped predictor's."""
_MARKS = "osD^vp"
"""One fewer than colours, so that the pairs repeat late."""
_SMALL = 8
_LEAST_US, _LEAST_BYTES = 0.1, 1_000.0
"""What costs less is drawn here: a logarithmic axis has no place for nothing."""


@dataclass(frozen=True, slots=True)
class SourceTaus:
    """Kendall's tau-b on one source.

    Attributes:
        source: Name of the data set or workload.
        is_known: Sources of this kind were in training (in distribution).
        taus: Predictor to tau; ``None`` where it is not defined.
    """

    source: str
    is_known: bool
    taus: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class AdaptationPoint:
    """What learning in place has gained over a block of requests.

    Attributes:
        requests: Finished requests at the end of the block.
        tau_gain: Tau of the learned minus that of the static predictions.
        mae_change: Mean absolute error of the learned ones, relative to the static; -0.2 is 20 %
            better.
    """

    requests: int
    tau_gain: float | None
    mae_change: float | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One predictor in a comparison.

    Attributes:
        name: For the label.
        tau: Macro-averaged tau-b.
        latency_us: Median time of one prediction, microseconds.
        size_bytes: Of its files.
        is_shipped: It is, or is part of, the shipped bundle.
    """

    name: str
    tau: float
    latency_us: float
    size_bytes: float
    is_shipped: bool = False


def calibration(curves: Mapping[str, Sequence[tuple[float, float | None]]], file: Path) -> None:
    """Observed against promised shares; honest predictions lie on the diagonal.

    Args:
        curves: Predictor or data set to ``metrics.calibration_curve``.
        file: ``.svg`` or ``.png``.
    """

    def draw(picture: Picture) -> None:
        axis = picture.subplots()
        axis.plot([0, 1], [0, 1], color=_LINE, linewidth=0.9, linestyle=":", label="honest")
        for (label, curve), colour, mark in zip(curves.items(), _cycle(), _marks(), strict=False):
            points = [(level, share) for level, share in curve if share is not None]
            axis.plot(
                [level for level, _ in points],
                [share for _, share in points],
                color=colour,
                marker=mark,
                markersize=4,
                linewidth=1.4,
                label=label,
                clip_on=False,
            )
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axis.set_xlabel("promised: predicted quantile")
        axis.set_ylabel("observed: share of answers at or below it")
        for values in (axis.xaxis, axis.yaxis):
            values.set_major_formatter(PercentFormatter(1.0))
        _open_frame(axis)
        axis.legend(loc="upper left", frameon=False, fontsize=_SMALL)

    _picture(file, (4.4, 4.2), draw)


def tau_by_source(sources: Sequence[SourceTaus], file: Path) -> None:
    """Grouped bars, in-distribution sources above the others, each part from best to worst.

    Args:
        sources: At least one; all name the same predictors, the most important first.
        file: ``.svg`` or ``.png``.
    """
    names = list(sources[0].taus)
    # Drawn from below: what comes last is at the top.
    rows = sorted(sources, key=lambda item: (item.is_known, _or_zero(item.taus[names[0]])))

    def draw(picture: Picture) -> None:
        axis = picture.subplots()
        thickness = 0.8 / len(names)
        positions = _positions(rows)
        for index, (name, colour) in enumerate(zip(names, _cycle(), strict=False)):
            offset = (len(names) - 1) / 2 - index
            axis.barh(
                [position + offset * thickness for position in positions],
                [_or_zero(row.taus[name]) for row in rows],
                height=thickness * 0.9,
                color=colour,
                label=name,
            )
        axis.axvline(0, color=_LINE, linewidth=0.8)
        axis.grid(axis="x", color=_GRID, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.set_yticks(positions, [row.source for row in rows])
        axis.tick_params(axis="y", length=0)
        axis.set_ylim(positions[0] - 0.7, positions[-1] + 0.9)
        axis.set_xlabel("Kendall's tau-b within models")
        _open_frame(axis)
        axis.spines["left"].set_visible(False)
        _name_parts(axis, rows, positions)
        picture.legend(loc="outside upper center", frameon=False, ncols=min(len(names), 4))

    _picture(file, (6.4, 1.2 + len(rows) * (0.14 + 0.09 * len(names))), draw)


def adaptation(curves: Mapping[str, Sequence[AdaptationPoint]], file: Path) -> None:
    """What learning gains as requests finish: order on the left, error on the right.

    Args:
        curves: Workload to its blocks in order.
        file: ``.svg`` or ``.png``.
    """

    def draw(picture: Picture) -> None:
        left, right = picture.subplots(1, 2)
        _gain_panel(left, curves, lambda point: point.tau_gain, "gain in Kendall's tau-b")
        _gain_panel(
            right, curves, lambda point: point.mae_change, "change of the mean absolute error"
        )
        right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        handles, labels = left.get_legend_handles_labels()
        picture.legend(
            handles,
            labels,
            loc="outside lower center",
            frameon=False,
            ncols=min(len(labels), 4),
            fontsize=_SMALL,
        )

    _picture(file, (7.6, 3.4 + 0.16 * (len(curves) // 4)), draw)


def cost(candidates: Sequence[Candidate], file: Path) -> None:
    """Order against time per prediction and against size of the files.

    Args:
        candidates: At least one.
        file: ``.svg`` or ``.png``.
    """
    ranked = sorted(candidates, key=lambda item: -item.tau)

    def draw(picture: Picture) -> None:
        left, right = picture.subplots(1, 2, sharey=True)
        _scatter(left, ranked, lambda item: max(item.latency_us, _LEAST_US), _duration)
        _scatter(right, ranked, lambda item: max(item.size_bytes, _LEAST_BYTES), _size)
        left.set_xlabel("one prediction, median")
        right.set_xlabel("size of the files")
        left.set_ylabel("Kendall's tau-b, macro average")
        # In the order of the points from above, so that no name has to lie on the plot.
        legend = picture.legend(
            *left.get_legend_handles_labels(), loc="outside right upper", frameon=False
        )
        for text, item in zip(legend.get_texts(), ranked, strict=True):
            text.set_fontweight("bold" if item.is_shipped else "normal")

    _picture(file, (9.2, 3.4), draw)


def _picture(file: Path, inches: tuple[float, float], draw: Callable[[Picture], None]) -> None:
    # Text stays text, and ids do not change from run to run: small files, readable differences.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "alise", "font.size": 9}):
        picture = Picture(figsize=inches, layout="constrained")
        draw(picture)
        kind = file.suffix.removeprefix(".")
        metadata = {"Date": None} if kind == "svg" else None
        picture.savefig(file, format=kind, metadata=metadata, dpi=150)


def _gain_panel(
    axis: Axes,
    curves: Mapping[str, Sequence[AdaptationPoint]],
    value: Callable[[AdaptationPoint], float | None],
    title: str,
) -> None:
    axis.axhline(0, color=_LINE, linewidth=0.8)
    at: dict[int, list[float]] = {}
    for (label, points), colour, mark in zip(curves.items(), _cycle(1), _marks(), strict=False):
        known = [(point.requests, gain) for point in points if (gain := value(point)) is not None]
        for requests, gain in known:
            at.setdefault(requests, []).append(gain)
        axis.plot(
            [requests for requests, _ in known],
            [gain for _, gain in known],
            color=colour,
            marker=mark,
            markersize=3,
            linewidth=0.9,
            alpha=0.8,
            label=label,
        )
    _mean_line(axis, at, len(curves))
    axis.set_xlabel("requests finished")
    axis.set_xlim(left=0)
    axis.set_title(title, fontsize=9)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: f"{amount:,.0f}"))
    _open_frame(axis)


def _mean_line(axis: Axes, at: Mapping[int, Sequence[float]], curves: int) -> None:
    """Mean over workloads, only where all are present: otherwise it jumps as they end."""
    whole = sorted(requests for requests, gains in at.items() if len(gains) == curves)
    if curves > 1 and whole:
        means = [fmean(at[requests]) for requests in whole]
        axis.plot(whole, means, color=_OURS, linewidth=2.6, label="mean of all", zorder=3)


def _scatter(
    axis: Axes,
    ranked: Sequence[Candidate],
    place: Callable[[Candidate], float],
    unit: Callable[[float], str],
) -> None:
    for item, colour, mark in zip(ranked, _cycle(), _marks(), strict=False):
        axis.plot(
            place(item),
            item.tau,
            linestyle="none",
            marker=mark,
            markersize=9 if item.is_shipped else 7,
            color=colour,
            markeredgecolor="black" if item.is_shipped else "white",
            label=f"{item.name}: {item.tau:.3f}",
        )
    axis.set_xscale("log")
    axis.margins(x=0.08, y=0.08)
    axis.minorticks_off()
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: unit(value)))
    axis.grid(color=_GRID, linewidth=0.6)
    axis.set_axisbelow(True)
    _open_frame(axis)


def _positions(rows: Sequence[SourceTaus]) -> list[float]:
    """Where each row stands; one row's room between the two parts."""
    first_known = sum(not row.is_known for row in rows)
    gap = 0.8 if 0 < first_known < len(rows) else 0.0
    return [index + (gap if index >= first_known else 0.0) for index in range(len(rows))]


def _name_parts(axis: Axes, rows: Sequence[SourceTaus], positions: Sequence[float]) -> None:
    for is_known, text in ((True, "in distribution"), (False, "absent from training")):
        part = [
            place for row, place in zip(rows, positions, strict=True) if row.is_known == is_known
        ]
        if part:
            place = part[-1] + 0.62
            axis.text(
                0.995,
                place,
                text,
                transform=axis.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=_SMALL,
                style="italic",
            )


def _open_frame(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)


def _cycle(first: int = 0) -> list[str]:
    """Colours for as many things as anyone can tell apart, and then again."""
    return list(_COLOURS[first:]) * 10


def _marks() -> list[str]:
    return list(_MARKS) * 10


def _or_zero(value: float | None) -> float:
    return 0.0 if value is None else value


def _duration(microseconds: float) -> str:
    for unit, factor in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= factor:
            return f"{microseconds / factor:g} {unit}"
    return f"{microseconds:g} µs"


def _size(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:g} {unit}"
    return f"{count:g} B"
