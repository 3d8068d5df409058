"""What a row came to: values, made of its requests' marks and its pool's moments. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from alise_bench.load.distribution import percentile
from alise_bench.tuner.control import Changed, Moment
from alise_bench.tuner.day import Asked
from alise_bench.tuner.world import Marks
from alise_operator.tuning.settings import Knob, PoolSettings, Value

HOUR = 3_600.0
FULL_RATIO = 0.97
"""Usage from which a moment counts as pressure when requests wait, too."""
APART_SECONDS = 60.0
"""Pressure that is gone for less is the same episode."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One row at one load.

    Attributes:
        row: Its name.
        load: KV need of the busiest window by the pool's exact KV; ``None`` for a trace of its
            own.
        requests: All of them were answered.
        preemptions: That engines made.
        ttft_p50_s: Time to first token; requests that began anew count from their arrival.
        ttlt_p50_s: Time to last token.
        episodes: Times of pressure: memory full and requests waiting, or requests preempted.
        pressure_minutes: How long they lasted together.
        changes: Settings that were changed.
        most_changes_per_hour: In any hour.
        oscillations: Settings that came back within the stabilisation window.
        begun_anew: Requests whose pod was restarted before they were done.
        exact_ratio: Requests whose KV stayed exact on the device.
        rungs: Share of the day by the dearest setting that was not at its base.
        restored_tokens: That preempted requests found in the host tier.
        cpu_seconds: That the simulation took.
    """

    row: str
    load: float | None
    requests: int
    preemptions: int
    ttft_p50_s: float
    ttft_p99_s: float
    ttlt_p50_s: float
    ttlt_p99_s: float
    episodes: int
    pressure_minutes: float
    changes: int
    most_changes_per_hour: int
    oscillations: int
    begun_anew: int
    exact_ratio: float
    rungs: dict[str, float]
    restored_tokens: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """What a row left behind."""

    asked: Sequence[Asked]
    marks: Sequence[Marks]
    moments: Sequence[Moment]
    changes: Sequence[Changed]
    settings: Sequence[tuple[float, PoolSettings]]
    preemptions: int
    restored_tokens: int
    cpu_seconds: float


def figures_of(row: str, load: float | None, run: Run, stabilization_seconds: float) -> Figures:
    """All figures of a run."""
    firsts, lasts = [], []
    for item, marks in zip(run.asked, run.marks, strict=True):
        if marks.first_token is None or marks.last_token is None:
            raise AssertionError("a world runs until everything is answered")
        firsts.append(marks.first_token - item.at)
        lasts.append(marks.last_token - item.at)
    firsts.sort()
    lasts.sort()
    episodes, seconds = pressure_of(run.moments)
    times = [change.at for change in run.changes]
    count = len(run.asked)
    return Figures(
        row=row,
        load=load,
        requests=count,
        preemptions=run.preemptions,
        ttft_p50_s=percentile(firsts, 0.5),
        ttft_p99_s=percentile(firsts, 0.99),
        ttlt_p50_s=percentile(lasts, 0.5),
        ttlt_p99_s=percentile(lasts, 0.99),
        episodes=episodes,
        pressure_minutes=seconds / 60,
        changes=len(times),
        most_changes_per_hour=max(
            (sum(1 for one in times if at - HOUR < one <= at) for at in times), default=0
        ),
        oscillations=oscillations(run.settings, stabilization_seconds),
        begun_anew=sum(marks.cut > 0 for marks in run.marks),
        exact_ratio=sum(marks.exact for marks in run.marks) / count,
        rungs=_rungs(run.moments),
        restored_tokens=run.restored_tokens,
        cpu_seconds=run.cpu_seconds,
    )


def pressure_of(moments: Sequence[Moment]) -> tuple[int, float]:
    """Episodes of pressure, and their seconds together."""
    episodes, seconds, last = 0, 0.0, None
    for before, moment in pairwise(moments):
        full = moment.usage >= FULL_RATIO and moment.waiting > 0
        if not full and moment.preemptions == before.preemptions:
            continue
        if last is None or moment.at - last > APART_SECONDS:
            episodes += 1
        seconds += moment.at - before.at
        last = moment.at
    return episodes, seconds


def oscillations(settings: Sequence[tuple[float, PoolSettings]], window: float) -> int:
    """Values that were left and were back within the window."""
    found = 0
    for knob in Knob:
        seen: list[tuple[float, Value]] = []
        for at, desired in settings:
            value = desired.value(knob)
            if not seen or seen[-1][1] != value:
                seen.append((at, value))
        for (_, one), (left, _), (back, again) in zip(seen, seen[1:], seen[2:], strict=False):
            found += one == again and back - left < window
    return found


def _rungs(moments: Sequence[Moment]) -> dict[str, float]:
    counts: dict[str, int] = {}
    for moment in moments:
        counts[moment.rung] = counts.get(moment.rung, 0) + 1
    return {name: count / len(moments) for name, count in sorted(counts.items())}
