"""Many random traces, one after the other or in processes of their own, and what they came to."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from alise_bench.tuner.rules import broken, came_back, returns
from alise_bench.tuner.traces import TICK_SECONDS, random_trace
from alise_operator.tuning.memory import ColdChange
from alise_operator.tuning.plan import Verdict, Why

NO_PATIENCE = {"stabilizationSeconds": 20, "cooldownSeconds": 1, "maxChangesPerHour": 60}
"""A pace that lets settings swing: the same lives under it show whether they invite to it."""
CONTROL_EVERY = 10
"""One trace in so many is lived once more without patience."""
_CHUNK = 20
_MOST_TOLD = 50


@dataclass(frozen=True, slots=True)
class TraceFigures:
    """One trace.

    Attributes:
        seed: Its own.
        looks: At the pool.
        changes: By knob and direction.
        endings: Of changes that restart pods: how many were rolled out, and back.
        returns: Settings that were left and came back, whenever.
        nearest: The shortest of those times by the stabilisation window; ``None`` without any.
        broken: A line for every rule that was.
        counts: Faults that happened, by name.
        swings: Settings that came back within the window without patience; ``None`` where that was
            not tried.
    """

    seed: int
    looks: int
    changes: dict[str, int]
    endings: dict[str, int]
    returns: int
    nearest: float | None
    broken: list[str]
    counts: dict[str, int]
    swings: int | None


@dataclass
class Totals:
    """Of many traces; see ``TraceFigures``.

    Attributes:
        traces: How many.
        changing: Of them with a change.
        returning: Of them with a setting that came back.
        with_fault: Of them, by fault.
        control_traces: That were tried without patience.
        control_swinging: Of them with a setting that came back within the window.
    """

    traces: int = 0
    looks: int = 0
    changing: int = 0
    returning: int = 0
    nearest: float | None = None
    control_traces: int = 0
    control_swinging: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    with_fault: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[int, str]] = field(default_factory=list)
    broken_count: int = 0

    @property
    def hours(self) -> float:
        """Of simulated life."""
        return self.looks * TICK_SECONDS / 3_600

    def add(self, one: TraceFigures) -> None:
        """One trace more."""
        self.traces += 1
        self.looks += one.looks
        self.changing += bool(one.changes)
        self.returning += one.returns > 0
        if one.nearest is not None:
            self.nearest = min(one.nearest, self.nearest or one.nearest)
        self.changes.update(one.changes)
        self.endings.update(one.endings)
        self.faults.update(one.counts)
        self.with_fault.update(name for name, count in one.counts.items() if count)
        self.broken_count += len(one.broken)
        room = _MOST_TOLD - len(self.broken)
        self.broken += [(one.seed, line) for line in one.broken[:room]]
        if one.swings is not None:
            self.control_traces += 1
            self.control_swinging += one.swings > 0


def live(seed: int) -> TraceFigures:
    """One trace, and every tenth once more without patience."""
    trace = random_trace(seed).run()
    window = trace.spec.pace.stabilization_seconds
    there = [one.away_seconds / window for one in returns(trace.looks)]
    swings = None
    if seed % CONTROL_EVERY == 0:
        hasty = random_trace(seed, **NO_PATIENCE).run()
        swings = len(list(came_back(hasty.looks, window)))
    changes: Counter[str] = Counter()
    endings: Counter[str] = Counter()
    under_way: ColdChange | None = None
    for look in trace.looks:
        plan = look.plan
        if plan.step is not None and plan.verdict is Verdict.CHANGE:
            changes[f"{plan.step.knob} {plan.step.direction}"] += 1
        if plan.why in {Why.ROLLED_OUT, Why.ROLLED_BACK} and under_way is not None:
            endings[f"{under_way.knob} {plan.why}"] += 1
        under_way = plan.memory.cold
    return TraceFigures(
        seed=seed,
        looks=len(trace.looks),
        changes=dict(changes),
        endings=dict(endings),
        returns=len(there),
        nearest=min(there, default=None),
        broken=broken(trace),
        counts=dict(trace.counts),
        swings=swings,
    )


def live_all(seeds: range, jobs: int, tell: Callable[[Totals], None]) -> Totals:
    """All of them.

    Args:
        seeds: Of the traces.
        jobs: Processes.
        tell: Is told how it stands after every trace.
    """
    totals = Totals()
    for one in _lives(seeds, jobs):
        totals.add(one)
        tell(totals)
    return totals


def _lives(seeds: Iterable[int], jobs: int) -> Iterator[TraceFigures]:
    if jobs == 1:
        yield from map(live, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(live, seeds, chunksize=_CHUNK)
