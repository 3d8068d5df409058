"""The picture of a day: what was needed, what was done about it, and what was preempted."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from alise_bench.tuner.control import Moment
from alise_bench.tuner.rows import BASELINE, ORACLE, TUNER

_COLOURS = {BASELINE: "#c2410c", TUNER: "#0b6e4f", ORACLE: "#1d4ed8"}
_BINS = 288
"""Five minutes of a day each."""
_RUNGS = ("base", "active_requests", "eviction", "level", "tier_bytes", "dtype", "replicas")
_NAMES = ("base", "request cap", "eviction", "tier level", "tier size", "KV dtype", "replicas")


def draw(days: Mapping[str, Sequence[Moment]], file: Path, high: float, low: float) -> None:
    """Write the picture.

    Args:
        days: Moments by row; rows without a colour are left out.
        file: To be written, SVG.
        high: Mark of pressure.
        low: The other one.
    """
    shown = {name: list(days[name]) for name in _COLOURS if name in days}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "alise", "font.size": 9}):
        picture = Picture(figsize=(10.2, 7.2), layout="constrained")
        usage, rung, lost = picture.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": [2, 1.3, 1.3]}
        )
        for name, moments in shown.items():
            hours, values = _usage(moments)
            usage.plot(hours, values, color=_COLOURS[name], linewidth=1, label=name)
            hours, counts = _preempted(moments)
            lost.plot(hours, counts, color=_COLOURS[name], linewidth=1)
            if name != BASELINE:
                places = [float(_RUNGS.index(moment.rung)) for moment in moments]
                times = [moment.at / 3_600 for moment in moments]
                rung.step(times, places, color=_COLOURS[name], linewidth=1, where="post")
        for mark in (high, low):
            usage.axhline(mark, color="#333333", linewidth=0.6, linestyle=":")
        usage.set_title("KV cache usage, mean of the serving pods", fontsize=9, loc="left")
        usage.legend(fontsize=8, frameon=False, ncols=3, loc="lower right")
        rung.set_title("dearest setting off its base", fontsize=9, loc="left")
        rung.set_yticks(range(len(_RUNGS)), _NAMES, fontsize=7)
        lost.set_title("preemptions in five minutes", fontsize=9, loc="left")
        lost.set_yscale("symlog", linthresh=10)
        lost.set_ylim(bottom=0)
        lost.set_xlabel("hour of the day")
        for axis in (usage, rung, lost):
            axis.spines[["top", "right"]].set_visible(False)
        picture.savefig(file, format="svg", metadata={"Date": None})


def _usage(moments: Sequence[Moment]) -> tuple[list[float], list[float]]:
    size = max(1, len(moments) // _BINS)
    hours, means = [], []
    for begin in range(0, len(moments), size):
        part = moments[begin : begin + size]
        hours.append(part[0].at / 3_600)
        means.append(sum(moment.usage for moment in part) / len(part))
    return hours, means


def _preempted(moments: Sequence[Moment]) -> tuple[list[float], list[float]]:
    size = max(1, len(moments) // _BINS)
    edges = list(moments[::size])
    hours = [one.at / 3_600 for one, _ in pairwise(edges)]
    return hours, [float(after.preemptions - one.preemptions) for one, after in pairwise(edges)]
