"""Everything that is published about scheduling: which runs, and their distribution on processes.

A job is a value that any process can run; a process runs its jobs one after the other and keeps
what it has read and asked of the predictor.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from multiprocessing import get_context
from pathlib import Path

from alise_bench.compare.figures import figures_of
from alise_bench.compare.front import front_rows
from alise_bench.compare.guesses import Opinions
from alise_bench.compare.offer import Library, Source
from alise_bench.compare.results import (
    ALONE,
    FLOOD,
    FLOODED,
    FRONT,
    LEARNED,
    MAIN,
    OVERLOAD,
    RowResult,
    Search,
    row_result,
)
from alise_bench.compare.rows import ROWS
from alise_bench.compare.run import Point, Say, compare_workload
from alise_bench.compare.simulated import SimulatedEngine
from alise_bench.compare.throughput import Bounds, Hunt, search
from alise_bench.processes import end_with_parent
from alise_bench.sim.step_model import PROFILES
from alise_bench.workloads.prompts import TenantShare, WorkloadName
from alise_bench.workloads.recorded import ArrivalKind

QUIET, FLOODER = "quiet", "flooder"
FLOOD_RATIO = 10
"""Requests of the flooding tenant for each one of the other."""
_QUIET_RHO = 0.2
"""The quiet tenant's load: well below half, which is its share. The flooder's is 2.0."""

_FRONT_SEEDS = 1
"""Twenty rows."""
_OVERLOAD_SEEDS = 2
_OVERLOAD_REQUESTS = 5
"""Times those of the main cell, which lasts for two minutes."""
_SEARCH_SECONDS = {
    WorkloadName.ALPACA: 40.0,
    WorkloadName.CHAT: 100.0,
    WorkloadName.SHAREGPT: 500.0,
    WorkloadName.SAMPLE: 60.0,
}
"""Some hundred requests at least: a pod serves less than one of ShareGPT's a second."""
_SEARCH_SEEDS = 2
_STUDY_SHARE = 0.25
"""Of a searched workload's prompts: left to be learned from."""
_TRIALS = 12
"""Of a search, about."""
_VARIANT_SHARE = 2 / 3
"""Of the main cell's requests: variants are run once, to see whether anything is different."""

_BRIEF = ("direct-least", "fcfs", "default", "oracle", "shuffled")
_OVERLOADED = (
    "direct-least",
    "fcfs",
    "cost",
    "cost, no guard",
    "cost, half-life 60 s",
    "default",
    "boost, gamma share 4",
    "oracle",
)
"""What is fast on the whole, and what it does to the last ones when more comes than can be done for
a long time."""
_LIGHT = ("direct-rr", "direct-least", "fcfs", "default", "oracle")


class Kind(StrEnum):
    """What a job is."""

    ROWS = "rows"
    SEARCH = "search"
    FLOOD = "flood"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One thing to run.

    Attributes:
        kind: What.
        cell: Its name in the results.
        source: Requests.
        seed: Of everything that is drawn.
        rows: Names.
        rhos: Loads.
        profile: Of the pods.
        pods: How many.
        bounds: Of searches.
    """

    kind: Kind = Kind.ROWS
    cell: str
    source: Source
    seed: int
    rows: tuple[str, ...]
    rhos: tuple[float, ...] = (1.1,)
    profile: str = "a100-13b"
    pods: int = 4
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def effort(self) -> float:
        """About how long it takes, in requests simulated."""
        if self.kind is Kind.SEARCH:
            return _TRIALS * self.source.requests * len(self.rows)
        return self.source.requests * len(self.rows) * len(self.rhos)


@dataclass(slots=True)
class Found:
    """What jobs bring."""

    rows: list[RowResult] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)
    cells: dict[str, dict[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a suite is made of.

    Attributes:
        data: Folder of the data sets; ``None`` for the sample.
        ranks: Rank file, see ``load_workload``.
        seeds: Draws of what goals are judged by.
        requests: Of each run.
        search_seconds: Of the searches' arrivals; ``None`` for what suits each workload.
        tier1: Whether the gateway's predictor asks its encoder.
    """

    data: Path | None
    ranks: Path | None = None
    seeds: int = 3
    requests: int = 6_000
    search_seconds: float | None = None
    tier1: bool = True


def jobs_of(plan: Plan) -> list[Job]:
    """All jobs, in the order of their results."""
    base = Source(data=plan.data, ranks=plan.ranks, requests=plan.requests)
    seeds = range(1, plan.seeds + 1)
    jobs = [
        job
        for seed in seeds
        for job in (
            Job(cell=MAIN, source=base, seed=seed, rows=_LIGHT, rhos=(0.3, 0.5, 0.8)),
            Job(cell=MAIN, source=base, seed=seed, rows=tuple(ROWS), rhos=(1.0, 1.1, 1.3)),
        )
    ]
    jobs += [_flood(base, seed) for seed in seeds]
    jobs += [
        Job(cell=FRONT, source=base, seed=seed, rows=("fcfs", "default", "oracle", *front_rows()))
        for seed in seeds[:_FRONT_SEEDS]
    ]
    long = replace(base, requests=_OVERLOAD_REQUESTS * base.requests)
    jobs += [
        Job(cell=OVERLOAD, source=long, seed=seed, rows=_OVERLOADED, rhos=(1.3,))
        for seed in seeds[:_OVERLOAD_SEEDS]
    ]
    few = seeds[:_SEARCH_SEEDS]
    jobs += [_search(base, name, seed, plan) for name in _searched(plan) for seed in few]
    return [*jobs, *_variants(base)]


def run_suite_jobs(jobs: Sequence[Job], processes: int, *, tier1: bool, say: Say) -> Found:
    """Run jobs, distributed on processes by their effort.

    Raises:
        ConfigError: The data directory is missing or not as documented.
    """
    batches: list[list[int]] = [[] for _ in range(processes)]
    efforts = [0.0] * processes
    for number in sorted(range(len(jobs)), key=lambda number: -jobs[number].effort):
        least = efforts.index(min(efforts))
        batches[least].append(number)
        efforts[least] += jobs[number].effort
    results: dict[int, Found] = {}
    if processes == 1:
        results = run_batch(jobs, range(len(jobs)), tier1, say)
    else:
        # Spawned: a fork would copy the threads' locks of ONNX Runtime, without its threads.
        spawn = get_context("spawn")
        with ProcessPoolExecutor(processes, spawn, end_with_parent) as pool:
            waiting = [pool.submit(run_batch, jobs, batch, tier1, say) for batch in batches]
            for future in waiting:
                results |= future.result()
    return _together([results[number] for number in range(len(jobs))])


def run_batch(
    jobs: Sequence[Job], numbers: Sequence[int], tier1: bool, say: Say
) -> dict[int, Found]:
    """Run some of the jobs in this process.

    Returns: By number.
    """
    library, opinions = Library(), Opinions((), tier1=tier1)
    found = {}
    for place, number in enumerate(sorted(numbers), start=1):
        job = jobs[number]
        say(f"[{place}/{len(numbers)}] {job.cell}, seed {job.seed}")
        engine = SimulatedEngine(PROFILES[job.profile], job.pods, opinions)
        found[number] = _RUN[job.kind](job, engine, library, say)
    return found


def _rows(job: Job, engine: SimulatedEngine, library: Library, say: Say) -> Found:
    known = ROWS | front_rows()
    rows = [known[name] for name in job.rows]
    points = [Point(rho, job.seed, job.cell) for rho in job.rhos]
    outcome = compare_workload(engine, rows, library, job.source, points, say)
    return Found(rows=outcome.rows, cells={job.cell: {**engine.facts(), **outcome.conditions}})


def _flooded(job: Job, engine: SimulatedEngine, library: Library, say: Say) -> Found:
    """The quiet tenant's requests with and without the other's, at the same times."""
    row = ROWS[job.rows[0]]
    waiting = library.waiting(job.source, job.seed, engine.context_tokens)
    rate = job.rhos[0] * engine.capacity(waiting)
    offer = library.offer(job.source, rate, job.seed, engine.context_tokens)
    quiet = [item for item in offer.trace if item.tenant == QUIET]
    results = []
    for name, trace, rho in ((ALONE, quiet, _QUIET_RHO), (FLOODED, offer.trace, job.rhos[0])):
        served = engine.run(row, trace, job.seed)
        figures = figures_of(
            name,
            [item for item in served if item.tenant == QUIET],
            lambda number, trace=trace: engine.alone_seconds(trace[number]),  # type: ignore[misc]
        )
        results.append(row_result(figures, rho=rho, seed=job.seed, cell=job.cell))
        say(f"  {name}: {figures.all.count} requests of the quiet tenant")
    return Found(rows=results, cells={job.cell: {**engine.facts(), **offer.facts}})


def _searched_rows(job: Job, engine: SimulatedEngine, library: Library, say: Say) -> Found:
    waiting = library.waiting(job.source, job.seed, engine.context_tokens)
    capacity = engine.capacity(waiting)
    study = library.study(job.source, job.seed, engine.context_tokens)
    learned = replace(ROWS["default"], name=LEARNED, history=tuple(study))
    rows = {**ROWS, LEARNED: learned}
    hunts = [Hunt(job.source, rows[name], job.seed, capacity, job.bounds) for name in job.rows]
    facts = {
        **engine.facts(),
        "capacity_per_second": {str(job.seed): capacity},
        "learned_from": len(study),
    }
    searches = [search(engine, library, hunt, say) for hunt in hunts]
    return Found(searches=searches, cells={job.cell: facts})


_RUN: dict[Kind, Callable[[Job, SimulatedEngine, Library, Say], Found]] = {
    Kind.ROWS: _rows,
    Kind.SEARCH: _searched_rows,
    Kind.FLOOD: _flooded,
}


def _flood(base: Source, seed: int) -> Job:
    tenants = (TenantShare(name=QUIET, share=1), TenantShare(name=FLOODER, share=FLOOD_RATIO))
    return Job(
        kind=Kind.FLOOD,
        cell=FLOOD,
        source=replace(base, tenants=tenants),
        seed=seed,
        rows=("default",),
        rhos=(_QUIET_RHO * (1 + FLOOD_RATIO),),
    )


def _searched(plan: Plan) -> tuple[WorkloadName, ...]:
    if plan.data is None:
        return (WorkloadName.SAMPLE,)
    return (WorkloadName.ALPACA, WorkloadName.CHAT, WorkloadName.SHAREGPT)


def _search(base: Source, name: WorkloadName, seed: int, plan: Plan) -> Job:
    """One pod and Poisson arrivals, as in the papers, whose predictors have seen the workload."""
    return Job(
        kind=Kind.SEARCH,
        cell=f"equal latency, {name}",
        source=replace(
            base,
            workload=name,
            arrivals=ArrivalKind.POISSON,
            requests=2_000,
            study_share=_STUDY_SHARE,
        ),
        seed=seed,
        rows=("direct-least", "default", LEARNED, "oracle"),
        pods=1,
        bounds=Bounds(duration_s=plan.search_seconds or _SEARCH_SECONDS[name]),
    )


def _variants(base: Source) -> list[Job]:
    """One seed each: whether what holds for the main cell holds for other loads and pools."""
    if base.data is None:
        return []
    base = replace(base, requests=max(1, round(base.requests * _VARIANT_SHARE)))
    workloads = (WorkloadName.ALPACA, WorkloadName.CHAT, WorkloadName.CODE, WorkloadName.EXAM)
    kinds = (
        ArrivalKind.POISSON,
        ArrivalKind.ON_OFF,
        ArrivalKind.BURSTGPT,
        ArrivalKind.AZURE_CODE,
        ArrivalKind.MOONCAKE,
        ArrivalKind.SERVEGEN,
    )
    jobs = [
        Job(cell=f"workload {name}", source=replace(base, workload=name), seed=1, rows=_BRIEF)
        for name in workloads
    ]
    jobs += [
        Job(cell=f"arrivals {kind}", source=replace(base, arrivals=kind), seed=1, rows=_BRIEF)
        for kind in kinds
    ]
    jobs += [
        Job(
            cell=f"{pods} pods",
            source=replace(base, requests=max(1, base.requests * pods // 4)),
            seed=1,
            rows=_BRIEF,
            pods=pods,
        )
        for pods in (1, 16)
    ]
    return [*jobs, Job(cell="profile a100", source=base, seed=1, rows=_BRIEF, profile="a100")]


def _together(parts: Sequence[Found]) -> Found:
    found = Found()
    for part in parts:
        found.rows += part.rows
        found.searches += part.searches
        for cell, facts in part.cells.items():
            found.cells[cell] = _merged(found.cells.get(cell, {}), facts)
    return found


def _merged(first: dict[str, object], second: dict[str, object]) -> dict[str, object]:
    """Facts of one cell out of several jobs: what each seed has of its own is kept."""
    merged = {**second, **first}
    for name in ("capacity_per_second",):
        values = [part.get(name) for part in (first, second)]
        merged[name] = {
            key: item for value in values if isinstance(value, dict) for key, item in value.items()
        }
    for name in ("rho", "seeds"):
        lists = [part.get(name) for part in (first, second)]
        merged[name] = sorted(
            {item for value in lists if isinstance(value, list) for item in value}
        )
    return merged
