"""The pictures of a comparison: rows over load, the parameters' front, latency over rate."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import LogFormatter

from alise_bench.compare.goals import ratios
from alise_bench.compare.results import FRONT, MAIN, Results, RowResult, Search
from alise_bench.compare.tables import Pick, over_seeds, part
from alise_bench.load.distribution import percentile

_SHORT = part("ttft_s", "p95", "short_half")
_MEAN = part("ttlt_s", "mean")
_LONG = part("ttlt_s", "p99", "longest_decile")
_PANELS: tuple[tuple[Pick, str], ...] = (
    (_SHORT, "short half: TTFT p95, s"),
    (_MEAN, "TTLT mean, s"),
    (_LONG, "longest decile: TTLT p99, s"),
)
_COLOURS = {
    "direct-rr": "#c9d1d9",
    "direct-least": "#9aa5b1",
    "fcfs": "#c2410c",
    "default": "#0b6e4f",
    "oracle": "#1d4ed8",
    "shuffled": "#a16207",
    "learned": "#7c3aed",
}
_FAMILIES = {"boost": "#0b6e4f", "cost": "#7c3aed", "sjf": "#a16207"}
_UNSEEN = "guard"
"""Rows with this in their name lie on the default where its guard has nothing to do."""
_REFERENCE = "fcfs"


def draw(results: Results, folder: Path, name: str) -> list[Path]:
    """Write the pictures that the results have figures for.

    Returns: The files, in the order of the document.
    """
    loads = [row for row in results.rows if row.cell in {MAIN, ""} and row.rho is not None]
    front = [row for row in results.rows if row.cell == FRONT]
    wanted: list[tuple[str, Callable[[], Picture]]] = []
    if loads:
        wanted.append(("load", lambda: _draw_loads(loads)))
    if front:
        wanted.append(("front", lambda: _draw_front(front)))
    if results.searches:
        wanted.append(("rates", lambda: _draw_rates(results.searches)))
    files = []
    # Text stays text, and ids do not change from run to run: small files, readable differences.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "alise", "font.size": 9}):
        for kind, make in wanted:
            file = folder / f"{name}-{kind}.svg"
            make().savefig(file, format="svg", metadata={"Date": None})
            files.append(file)
    return files


def _draw_loads(rows: Sequence[RowResult]) -> Picture:
    loads = sorted({row.rho for row in rows if row.rho is not None})
    picture = Picture(figsize=(10.2, 3.2), layout="constrained")
    for axis, (pick, title) in zip(picture.subplots(1, len(_PANELS)), _PANELS, strict=True):
        if len(loads) > 1:
            _lines(axis, rows, pick)
        else:
            _bars(axis, rows, pick)
        axis.set_title(title, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    if len(loads) > 1:
        picture.axes[0].legend(fontsize=7, frameon=False)
    return picture


def _log_scale(axis: Axes) -> None:
    axis.set_yscale("log")
    # Plain numbers: powers of ten say little where the range is less than one of them.
    axis.yaxis.set_major_formatter(LogFormatter())
    axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))


def _lines(axis: Axes, rows: Sequence[RowResult], pick: Pick) -> None:
    for name, colour in _COLOURS.items():
        points = []
        for rho in sorted({row.rho for row in rows if row.name == name and row.rho is not None}):
            value = over_seeds([row for row in rows if (row.name, row.rho) == (name, rho)], pick)
            if value is not None:
                points.append((rho, value.median, value.low, value.high))
        if points:
            loads, middles, lows, highs = zip(*points, strict=True)
            axis.plot(loads, middles, color=colour, marker="o", markersize=3, label=name)
            axis.fill_between(loads, lows, highs, color=colour, alpha=0.15, linewidth=0)
    _log_scale(axis)
    axis.set_xlabel("offered rate / capacity")


def _bars(axis: Axes, rows: Sequence[RowResult], pick: Pick) -> None:
    names = list(dict.fromkeys(row.name for row in rows))[::-1]
    for place, name in enumerate(names):
        value = over_seeds([row for row in rows if row.name == name], pick)
        if value is not None:
            axis.barh(place, value.median, color=_COLOURS.get(name, "#9aa5b1"), height=0.65)
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(axis="y", length=0)


def _draw_front(rows: Sequence[RowResult]) -> Picture:
    picture = Picture(figsize=(10.2, 4.4), layout="constrained")
    pairs = ((_SHORT, "short half: TTFT p95 / fcfs"), (_MEAN, "TTLT mean / fcfs"))
    for axis, (pick, title) in zip(picture.subplots(1, 2), pairs, strict=True):
        for name in dict.fromkeys(row.name for row in rows):
            if _UNSEEN not in name or name.startswith("cost"):
                _front_point(axis, rows, name, pick)
        axis.set_xlabel(title)
        axis.set_ylabel("longest decile: TTLT p99 / fcfs")
        axis.spines[["top", "right"]].set_visible(False)
    return picture


def _front_point(axis: Axes, rows: Sequence[RowResult], name: str, pick: Pick) -> None:
    across, up = ratios(rows, name, _REFERENCE, pick), ratios(rows, name, _REFERENCE, _LONG)
    if not across or not up:
        return
    place = percentile(sorted(across), 0.5), percentile(sorted(up), 0.5)
    marked = name == "default"
    family = next((key for key in _FAMILIES if name.startswith(key)), "")
    colour = _FAMILIES.get(family, _COLOURS.get(name, "#9aa5b1"))
    axis.scatter(*place, color=colour, marker="*" if marked else "o", s=140 if marked else 18)
    axis.annotate(
        name,
        place,
        textcoords="offset points",
        xytext=(4, 3),
        fontsize=8 if marked else 5.5,
        fontweight="bold" if marked else "normal",
        color=colour,
    )


def _draw_rates(searches: Sequence[Search]) -> Picture:
    workloads = list(dict.fromkeys(item.workload for item in searches))
    picture = Picture(figsize=(5.1 * len(workloads), 3.2), layout="constrained")
    panels = picture.subplots(1, len(workloads), squeeze=False)[0]
    for axis, workload in zip(panels, workloads, strict=True):
        for item in searches:
            if item.workload == workload and item.seed == searches[0].seed:
                rates = [tried.rate for tried in item.tried]
                latencies = [tried.normalized_latency_s_per_token for tried in item.tried]
                colour = _COLOURS.get(item.row, "#9aa5b1")
                axis.plot(rates, latencies, color=colour, marker="o", markersize=3, label=item.row)
        axis.axhline(searches[0].normalized_bound_s_per_token, color="#333333", linewidth=0.8)
        _log_scale(axis)
        axis.set_title(f"{workload}: mean normalized latency, s/token", fontsize=9)
        axis.set_xlabel("requests/s, one pod")
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize=7, frameon=False)
    return picture
