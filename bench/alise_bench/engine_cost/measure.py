"""Times the order's part of an engine's steps, one by one."""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from alise_bench.engine_cost.scene import Scene, Shape
from alise_bench.load.distribution import percentile

_ABORT_EVERY, _SORT_EVERY = 8, 64
_MICRO = 1e-3
"""Microseconds in a nanosecond."""


class Kind(StrEnum):
    """What is timed."""

    STEP = "step"
    """A step is scheduled, with all slots taken."""
    ARRIVE = "arrive"
    """A request comes and waits."""
    ABORT = "abort"
    """A waiting request's client leaves."""
    SORT = "sort"
    """For comparison: everybody who waits is scored and sorted, as no step does here."""


class Row(msgspec.Struct, frozen=True):
    """One kind in one repeat; CPU time in microseconds.

    Attributes:
        worst_us: The longest one, the collector's pauses included.
        preempted: Requests that gave way in all steps together.
    """

    policy: str
    waiting: int
    running: int
    tight: bool
    kind: Kind
    repeat: int
    events: int
    mean_us: float
    p50_us: float
    p99_us: float
    worst_us: float
    preempted: int


def measure(shape: Shape, steps: int, repeat: int, nanoseconds: Callable[[], int]) -> list[Row]:
    """Let an engine work through steps while as many requests wait all the time.

    Args:
        shape: What it has to do.
        steps: How many of them.
        repeat: Which, and the seed of everything that is drawn.
        nanoseconds: The clock, for example the CPU time of this thread.
    """
    scene = Scene(shape, repeat)
    taken: dict[Kind, list[int]] = {kind: [] for kind in Kind}

    def time(kind: Kind, act: Callable[[], object]) -> None:
        begin = nanoseconds()
        act()
        taken[kind].append(nanoseconds() - begin)

    for number in range(steps):
        time(Kind.STEP, scene.step)
        scene.run()
        if number % _ABORT_EVERY == 0:
            leaving = scene.pick()
            time(Kind.ABORT, lambda leaving=leaving: scene.leave(leaving))  # type: ignore[misc]
        if number % _SORT_EVERY == 0:
            time(Kind.SORT, scene.sort)
        while not scene.full:
            coming = scene.draw()
            time(Kind.ARRIVE, lambda coming=coming: scene.arrive(coming))  # type: ignore[misc]
    return [
        _row(shape, kind, repeat, values, scene.preempted)
        for kind, values in taken.items()
        if values
    ]


def _row(shape: Shape, kind: Kind, repeat: int, taken: list[int], preempted: int) -> Row:
    ordered = sorted(value * _MICRO for value in taken)
    return Row(
        policy=str(shape.policy),
        waiting=shape.waiting,
        running=shape.running,
        tight=shape.tight,
        kind=kind,
        repeat=repeat,
        events=len(ordered),
        mean_us=sum(ordered) / len(ordered),
        p50_us=percentile(ordered, 0.5),
        p99_us=percentile(ordered, 0.99),
        worst_us=ordered[-1],
        preempted=preempted,
    )
