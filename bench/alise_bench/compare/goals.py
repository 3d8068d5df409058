"""What scheduling has to reach, and whether a suite's results show it. Pure.

Ratios are taken within one seed, on the same requests; each verdict rests on the median over seeds.
What was not run is *open*. Where a goal is missed, the same figure with the true lengths says
whether better predictions would reach it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from alise_bench.compare.figures import Stats
from alise_bench.compare.results import (
    ALONE,
    FLOOD,
    FLOODED,
    LEARNED,
    MAIN,
    OVERLOAD,
    Judged,
    Results,
    RowResult,
    Search,
)
from alise_bench.compare.tables import Pick, part, plain
from alise_bench.load.distribution import Spread, spread
from alise_bench.overhead.goals import Verdict
from alise_bench.overhead.tables import number

SUBJECT, TRUTH = "default", "oracle"
_PERCENTILES = ("p50", "p95", "p99")
_LATENCIES = ("ttft_s", "ttlt_s", "tpot_s", "normalized_latency_s_per_token")
_CLOSE = 1e-3
"""Loads and bounds are equal within this."""


@dataclass(frozen=True, slots=True)
class _Ratio:
    """A figure of the default by another row's, at one load of a cell."""

    figure: str
    pick: Pick
    versus: str
    rho: float
    limit: float
    cell: str = MAIN

    @property
    def text(self) -> str:
        """What is judged."""
        where = "" if self.cell == MAIN else f" in {self.cell}"
        return f"{self.figure} at rho {self.rho:g}{where}, by {self.versus}'s"


_SHORT = part("ttft_s", "p95", "short_half")
_MEAN = part("ttlt_s", "mean")
_P99 = part("ttlt_s", "p99")
_LONG = part("ttlt_s", "p99", "longest_decile")
_BASES = ("fcfs", "direct-least")
_SHORT_TEXT, _MEAN_TEXT = "short half's p95 TTFT", "mean TTLT"
_LONG_TEXT, _P99_TEXT = "longest decile's p99 TTLT", "p99 TTLT"

_RATIOS = (
    *(_Ratio(_SHORT_TEXT, _SHORT, base, rho, 0.2) for rho in (1.0, 1.1) for base in _BASES),
    *(_Ratio(_MEAN_TEXT, _MEAN, base, 1.1, 0.8) for base in _BASES),
    *(_Ratio(_MEAN_TEXT, _MEAN, base, 1.3, 0.5) for base in _BASES),
    *(_Ratio(_MEAN_TEXT, _MEAN, base, 1.3, 0.5, OVERLOAD) for base in _BASES),
    *(_Ratio(_LONG_TEXT, _LONG, base, 1.0, 1.25) for base in _BASES),
    *(_Ratio(_LONG_TEXT, _LONG, base, 1.1, 1.6) for base in _BASES),
    *(_Ratio(_MEAN_TEXT, _MEAN, "shuffled", rho, 1.0) for rho in (1.0, 1.1)),
    *(_Ratio(_P99_TEXT, _P99, "shuffled", rho, 1.0) for rho in (1.0, 1.1)),
)
_CAPTURED = 0.6
_UNSATURATED_RHO, _UNSATURATED = 0.5, 1.02
_TOKENS = 0.98
_FLOOD = 1.3
_RATES = (("alpaca", 1.8), ("chat", 2.1), ("sharegpt", 2.1))


def judge(results: Results) -> list[Judged]:
    """All goals, in a fixed order."""
    main = [row for row in results.rows if row.cell == MAIN]
    return [
        *(_judge_ratio(results.rows, goal) for goal in _RATIOS),
        *(_judge_gap(main, rho) for rho in (1.0, 1.1)),
        *(_judge_unsaturated(main, base) for base in ("direct-least", "direct-rr")),
        *(_judge_tokens(main, base) for base in ("direct-least", "direct-rr")),
        _judge_flood([row for row in results.rows if row.cell == FLOOD]),
        *_judge_rates(results.searches),
    ]


def ratios(rows: Sequence[RowResult], name: str, versus: str, pick: Pick) -> list[float]:
    """A figure of one row by another row's, of every run that has both."""
    return [
        mine / theirs
        for one, other in _pairs(rows, name, versus)
        if (mine := pick(one)) is not None and (theirs := pick(other))
    ]


def _pairs(
    rows: Sequence[RowResult], name: str, versus: str
) -> Iterator[tuple[RowResult, RowResult]]:
    others = {(row.seed, row.rho): row for row in rows if row.name == versus}
    for row in rows:
        other = others.get((row.seed, row.rho))
        if row.name == name and other is not None:
            yield row, other


def _at(rows: Sequence[RowResult], rho: float) -> list[RowResult]:
    return [row for row in rows if row.rho is not None and abs(row.rho - rho) < _CLOSE]


def _judge_ratio(rows: Sequence[RowResult], goal: _Ratio) -> Judged:
    here = _at([row for row in rows if row.cell == goal.cell], goal.rho)
    measured = spread(ratios(here, SUBJECT, goal.versus, goal.pick))
    truth = spread(ratios(here, TRUTH, goal.versus, goal.pick))
    return _at_most(goal.text, goal.limit, measured, _with_truth(truth, goal.limit))


def _judge_gap(main: Sequence[RowResult], rho: float) -> Judged:
    pick = plain("later_half_gap_captured")
    values = [pick(row) for row in _at(main, rho) if row.name == SUBJECT]
    measured = spread(value for value in values if value is not None)
    text = f"of the gap in mean TTLT from shuffled to true lengths at rho {rho:g}, second half"
    return _at_least(text, _CAPTURED, measured, "what separates predictions from true lengths")


def _judge_unsaturated(main: Sequence[RowResult], base: str) -> Judged:
    text = f"worst percentile of any latency up to rho {_UNSATURATED_RHO:g}, by {base}'s"
    here = [row for row in main if row.rho is not None and row.rho <= _UNSATURATED_RHO + _CLOSE]
    worst: dict[int, tuple[float, str]] = {}
    for mine, other in _pairs(here, SUBJECT, base):
        found = max(_percentile_ratios(mine, other), default=(0.0, ""))
        worst[mine.seed] = max(worst.get(mine.seed, (0.0, "")), found)
    names = sorted({name for _, name in worst.values()})
    measured = spread(value for value, _ in worst.values())
    return _at_most(text, _UNSATURATED, measured, f"largest in {', '.join(names)}")


def _percentile_ratios(mine: RowResult, other: RowResult) -> Iterator[tuple[float, str]]:
    for latency in _LATENCIES:
        one: Stats | None = getattr(mine, latency)
        two: Stats | None = getattr(other, latency)
        for name in _PERCENTILES if one and two else ():
            theirs = getattr(two, name)
            if theirs:
                yield getattr(one, name) / theirs, f"{latency} {name} at rho {mine.rho:.3g}"


def _judge_tokens(main: Sequence[RowResult], base: str) -> Judged:
    worst: dict[int, float] = {}
    for mine, other in _pairs(main, SUBJECT, base):
        if other.tokens_per_s:
            found = mine.tokens_per_s / other.tokens_per_s
            worst[mine.seed] = min(worst.get(mine.seed, found), found)
    text = f"tokens/s at the worst load, by {base}'s"
    reason = "a trace ends with its last answer: a long one that starts later ends later"
    return _at_least(text, _TOKENS, spread(worst.values()), reason)


def _judge_flood(rows: Sequence[RowResult]) -> Judged:
    measured, inside = (
        spread(_by_value_alone(rows, part(name, "p95"))) for name in ("ttft_s", "engine_ttft_s")
    )
    text = "p95 TTFT of a tenant beside one that floods, by its value alone"
    share = "-" if inside is None else number(inside.median)
    reason = f"alone it meets idle engines, beside the other one full ones: inside them {share}"
    return _at_most(text, _FLOOD, measured, reason)


def _by_value_alone(rows: Sequence[RowResult], pick: Pick) -> Iterator[float]:
    alone = {row.seed: pick(row) for row in rows if row.name == ALONE}
    for row in rows:
        mine, before = pick(row), alone.get(row.seed)
        if row.name == FLOODED and mine is not None and before:
            yield mine / before


def _judge_rates(searches: Sequence[Search]) -> Iterator[Judged]:
    measures: tuple[tuple[str, Callable[[Search], float]], ...] = (
        ("mean normalized latency", lambda search: search.rate_at_normalized),
        ("p99 TTFT", lambda search: search.rate_at_ttft),
    )
    for workload, limit in _RATES:
        here = [search for search in searches if search.workload == workload]
        for text, rate in measures:
            truth = _rate_ratio(here, TRUTH, rate)
            for name, how in ((SUBJECT, ""), (LEARNED, ", having learned")):
                measured = _rate_ratio(here, name, rate)
                line = f"rate at equal {text}, {workload}{how}, by direct-least's"
                yield _at_least(line, limit, measured, _with_truth(truth, limit, floor=True))


def _rate_ratio(
    searches: Sequence[Search], name: str, rate: Callable[[Search], float]
) -> Spread | None:
    direct = {item.seed: rate(item) for item in searches if item.row == "direct-least"}
    return spread(
        rate(item) / direct[item.seed]
        for item in searches
        if item.row == name and direct.get(item.seed)
    )


def _with_truth(truth: Spread | None, limit: float, *, floor: bool = False) -> str:
    if truth is None:
        return ""
    reached = truth.median >= limit if floor else truth.median <= limit
    value = number(truth.median)
    if reached:
        return f"with the true lengths {value}: better predictions would reach it"
    return f"with the true lengths {value}: better predictions alone would not reach it"


def _at_most(text: str, limit: float, measured: Spread | None, reason: str) -> Judged:
    passed = measured is not None and measured.median <= limit
    return judged(text, f"<= {limit:g}", measured, passed, reason)


def _at_least(text: str, limit: float, measured: Spread | None, reason: str) -> Judged:
    passed = measured is not None and measured.median >= limit
    return judged(text, f">= {limit:g}", measured, passed, reason)


def judged(text: str, bound: str, measured: Spread | None, passed: bool, reason: str) -> Judged:
    """A verdict; the reason is told of a miss only."""
    if measured is None:
        return Judged(text, bound, None, Verdict.OPEN, "not run")
    verdict = Verdict.PASS if passed else Verdict.FAIL
    return Judged(text, bound, measured, verdict, "" if passed else reason)
