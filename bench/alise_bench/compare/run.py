"""Runs of a comparison: every row on one and the same offer, seed by seed and load by load."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from alise_bench.compare.engine import Engine
from alise_bench.compare.figures import figures_of
from alise_bench.compare.offer import (
    Library,
    Offer,
    Source,
    own_rate,
    scaled,
)
from alise_bench.compare.results import RowResult, row_result, with_gap
from alise_bench.compare.rows import Knowledge, Row
from alise_bench.workloads.traces import TraceRow

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Point:
    """Where a run stands.

    Attributes:
        rho: Offered rate by capacity; ``None`` where there is no rate.
        seed: Of everything that is drawn.
        cell: For suites: which of its runs this is.
    """

    rho: float | None
    seed: int
    cell: str = ""


def run_rows(
    engine: Engine, rows: Sequence[Row], trace: Sequence[TraceRow], point: Point, say: Say
) -> list[RowResult]:
    """Serve a trace once for each row.

    Which row is first differs from seed to seed: a real engine that warms up or slows down favours
    none. Results come in the order of ``rows``.
    """
    first = point.seed % len(rows)
    done: dict[str, RowResult] = {}
    for row in [*rows[first:], *rows[:first]]:
        served = engine.run(row, trace, point.seed)
        figures = figures_of(row.name, served, lambda number: engine.alone_seconds(trace[number]))
        done[row.name] = row_result(figures, rho=point.rho, seed=point.seed, cell=point.cell)
        say(_line(done[row.name]))
    return with_gap([done[row.name] for row in rows])


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of all runs of a comparison.

    Attributes:
        conditions: What was offered, and how fast.
        rows: Run by run.
    """

    conditions: dict[str, object]
    rows: list[RowResult]


def compare_workload(
    engine: Engine,
    rows: Sequence[Row],
    library: Library,
    source: Source,
    points: Sequence[Point],
    say: Say,
) -> Outcomes:
    """All rows on a named workload; each point is a seed and a load.

    Raises:
        ConfigError: The data directory is missing or not as documented.
    """
    capacities: dict[int, float] = {}
    found: list[RowResult] = []
    studies: dict[int, tuple[TraceRow, ...]] = {}
    offers: dict[str, object] = {}
    for point in points:
        seed, rho = point.seed, point.rho or 1.0
        if seed not in capacities:
            waiting = library.waiting(source, seed, engine.context_tokens)
            capacities[seed] = engine.capacity(waiting)
            say(f"seed {seed}: capacity {capacities[seed]:.2f} requests/s")
            studies[seed] = tuple(library.study(source, seed, engine.context_tokens))
        offer = library.offer(source, rho * capacities[seed], seed, engine.context_tokens)
        offers = offers or offer.facts
        say(f"seed {seed}, rho {rho:g}: {len(offer.trace)} requests")
        taught = [_taught(row, studies[seed]) for row in rows]
        found += run_rows(engine, taught, offer.trace, replace(point, rho=rho), say)
    conditions = {
        **offers,
        **({"learned_from": max(map(len, studies.values()))} if source.study_share else {}),
        "capacity_per_second": {str(seed): value for seed, value in capacities.items()},
        "rho": sorted({point.rho or 1.0 for point in points}),
        "seeds": sorted(capacities),
    }
    return Outcomes(conditions, found)


def compare_recorded(
    engine: Engine,
    rows: Sequence[Row],
    offer: Offer,
    points: Sequence[Point],
    factor: float | None,
    say: Say,
) -> Outcomes:
    """All rows on somebody's trace.

    Args:
        engine: What serves.
        rows: How.
        offer: The trace at its own rate; one without a rate (all at one moment) stays as it is.
        points: Seeds and loads.
        factor: Times the trace's own rate, instead of the points' loads.
        say: Takes lines of progress.
    """
    own = own_rate(offer.trace)
    capacity = engine.capacity(offer.trace)
    say(f"{len(offer.trace)} requests, capacity {capacity:.2f} requests/s")
    found: list[RowResult] = []
    factors: list[float] = []
    for point in points:
        scale = 1.0
        if own is not None:
            scale = factor or (point.rho or 1.0) * capacity / own
        factors.append(scale)
        say(f"seed {point.seed}, rate scale {scale:.4g}")
        trace = scaled(offer.trace, scale)
        rate = own_rate(trace)
        rho = None if rate is None else rate / capacity
        found += run_rows(engine, rows, trace, replace(point, rho=rho), say)
    conditions = {
        **offer.facts,
        "capacity_per_second": capacity,
        "rate_scale": sorted(set(factors)),
        "seeds": sorted({point.seed for point in points}),
    }
    return Outcomes(conditions, found)


def _taught(row: Row, study: tuple[TraceRow, ...]) -> Row:
    return replace(row, history=study) if row.knowledge is Knowledge.PREDICTED else row


def _line(row: RowResult) -> str:
    if row.ttlt_s is None or row.ttft_s is None:
        return f"  {row.name}: nothing completed, {row.outcomes}"
    return (
        f"  {row.name}: ttft p95 {row.ttft_s.p95:.2f} s, ttlt mean {row.ttlt_s.mean:.2f} s, "
        f"{row.tokens_per_s:.0f} tokens/s"
    )
