"""What predictions may cost, and whether a result file shows that they do not cost more. Pure.

Latencies are judged by the wall clock, throughput and tier 1 by CPU time, because they are stated
for one core. Each verdict rests on the median over rounds; what was not measured is *open*.
"""

from dataclasses import dataclass

from alise_bench.load.distribution import Spread, spread
from alise_bench.overhead.goals import Verdict
from alise_bench.predictor.results import Call, ClockKind, Results, Row

_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal with what was measured.

    Attributes:
        text: What is judged, with its unit.
        bound: ``<= 0.1`` or ``>= 8,000``.
        measured: Over rounds; ``None`` where it was not.
        verdict: By the median.
    """

    text: str
    bound: str
    measured: Spread | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Goal:
    text: str
    call: Call
    subject: str
    clock: ClockKind
    field: str
    limit: float
    unit: float = 1e3
    """What the field is divided by."""
    is_floor: bool = False


_GOALS = (
    _Goal("tier 0, 1 KiB, p50, ms", Call.TIER0, "1 KiB", ClockKind.WALL, "p50_us", 0.1),
    _Goal("tier 0, 1 KiB, p99, ms", Call.TIER0, "1 KiB", ClockKind.WALL, "p99_us", 0.5),
    _Goal("tier 0, 64 KiB, p99, ms", Call.TIER0, "64 KiB", ClockKind.WALL, "p99_us", 2.0),
    _Goal(
        "tier 0, 1 KiB, predictions per second of one core",
        Call.TIER0,
        "1 KiB",
        ClockKind.CPU,
        "per_second",
        8_000,
        1.0,
        is_floor=True,
    ),
    _Goal(
        "tier 1, 128 pieces, p50, ms of one core",
        Call.TIER1,
        "128 pieces",
        ClockKind.CPU,
        "p50_us",
        10.0,
    ),
)
_TIER0_MB, _BOTH_MB = 60.0, 200.0


def figure(
    results: Results, call: Call, subject: str, clock: ClockKind, field: str, unit: float = 1.0
) -> Spread | None:
    """One field of the rows of a kind over rounds, divided by ``unit``."""
    return spread(
        getattr(row, field) / unit for row in results.rows if _is(row, call, subject, clock)
    )


def judge(results: Results) -> list[Judged]:
    """All goals, in a fixed order."""
    judged = [_judge(results, goal) for goal in _GOALS]
    first, second = results.memory.tier0, results.memory.tier1
    both = None if first is None or second is None else first + second
    judged.append(_judge_memory("RSS added by tier 0, MB", first, _TIER0_MB))
    judged.append(_judge_memory("RSS added by both tiers, MB", both, _BOTH_MB))
    return judged


def _judge(results: Results, goal: _Goal) -> Judged:
    measured = figure(results, goal.call, goal.subject, goal.clock, goal.field, goal.unit)
    bound = f">= {goal.limit:,g}" if goal.is_floor else f"<= {goal.limit:g}"
    if measured is None:
        return Judged(goal.text, bound, None, Verdict.OPEN)
    reached = measured.median >= goal.limit if goal.is_floor else measured.median <= goal.limit
    return Judged(goal.text, bound, measured, Verdict.PASS if reached else Verdict.FAIL)


def _judge_memory(text: str, amount: int | None, limit: float) -> Judged:
    if amount is None:
        return Judged(text, f"<= {limit:g}", None, Verdict.OPEN)
    value = amount / _MEGABYTE
    verdict = Verdict.PASS if value <= limit else Verdict.FAIL
    return Judged(text, f"<= {limit:g}", Spread(value, value, value, 1), verdict)


def _is(row: Row, call: Call, subject: str, clock: ClockKind) -> bool:
    return (row.call, row.subject, row.clock) == (call, subject, clock)
