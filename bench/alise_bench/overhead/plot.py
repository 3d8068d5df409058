"""The picture of one measurement: CPU per request and per 1,000 streams, server by server."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from alise_bench.load.distribution import Spread
from alise_bench.overhead.figures import Figure, figure
from alise_bench.overhead.goals import SUBJECT
from alise_bench.overhead.results import Results
from alise_bench.overhead.tables import number

_PANELS = (
    ("c64_1k", Figure.CPU_US, "1 KiB request\nCPU µs"),
    ("c64_64k", Figure.CPU_US, "64 KiB request\nCPU µs"),
    ("s256", Figure.CPU_S_PER_1000, "256 streams at 5 ms\nCPU s per 1,000 streams"),
)
_INSIDE: dict[str, Any] = {"va": "center", "ha": "right", "fontsize": 8, "color": "white"}
_CUT_AT = 5
"""A bar of more than this many times the median server's is cut."""
_OURS, _THEIRS = "#0b6e4f", "#9aa5b1"


def draw(results: Results, file: Path) -> None:
    """Write an SVG with one panel per kind of work; the same figures give the same file."""
    # Text stays text, and ids do not change from run to run: small files, readable differences.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "alise", "font.size": 9}):
        panels = [panel for panel in _PANELS if _bars(results, *panel[:2])]
        picture = Picture(figsize=(3.4 * max(len(panels), 1), 2.9), layout="constrained")
        axes = picture.subplots(1, max(len(panels), 1), squeeze=False)[0]
        for axis, (scenario, kind, title) in zip(axes, panels, strict=False):
            _panel(axis, _bars(results, scenario, kind), title)
        picture.savefig(file, format="svg", metadata={"Date": None})


def _bars(results: Results, scenario: str, kind: Figure) -> list[tuple[str, Spread]]:
    """Servers with a figure, the cheapest last, so that it is drawn at the top."""
    found = []
    for target in results.targets:
        value = figure(results, target.name, scenario, kind)
        if value is not None:
            found.append((target.name, value))
    return sorted(found, key=lambda item: -item[1].median)


def _panel(axis: Axes, bars: Sequence[tuple[str, Spread]], title: str) -> None:
    limit = _axis_limit([value for _, value in bars])
    for position, (name, value) in enumerate(bars):
        length = min(value.median, limit)
        colour = _OURS if name.startswith(SUBJECT) else _THEIRS
        axis.barh(position, length, color=colour, height=0.65)
        if value.median > limit:
            axis.text(limit * 0.97, position, f"{number(value.median)} \u2192", **_INSIDE)
            continue
        error = [[value.median - value.low], [value.high - value.median]]
        axis.errorbar(length, position, xerr=error, ecolor="#333333", capsize=2, fmt="none")
        axis.text(
            value.high + limit * 0.02, position, number(value.median), va="center", fontsize=8
        )
    axis.set_xlim(0, limit * 1.15)
    axis.set_yticks(range(len(bars)), [name for name, _ in bars])
    axis.set_title(title, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _axis_limit(values: Sequence[Spread]) -> float:
    """Where the axis ends: one server may cost a hundred times the others, and is cut there."""
    usual = sorted(value.median for value in values)[len(values) // 2]
    return 1.05 * max(value.high for value in values if value.median <= _CUT_AT * usual)
