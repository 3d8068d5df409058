"""Verdicts on a suite's results, made up so that each is known."""

from collections.abc import Mapping

import msgspec
import pytest

from alise_bench.compare.figures import Stats, figures_of
from alise_bench.compare.goals import judge
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
    row_result,
)
from alise_bench.overhead.goals import Verdict


def stats(value: float) -> Stats:
    return Stats(value, value, value, value)


def row(name: str, rho: float, value: float, *, seed: int = 1, cell: str = MAIN) -> RowResult:
    """A row whose latencies are all the same and whose tokens/s are 100."""
    empty = row_result(figures_of(name, [], lambda _: 1.0), rho=rho, seed=seed, cell=cell)
    every = stats(value)
    part = msgspec.structs.replace
    latencies = {
        "ttft_s": every,
        "ttlt_s": every,
        "tpot_s": every,
        "normalized_latency_s_per_token": every,
    }
    group = type(empty.short_half)(count=1, slowdown=None, **latencies)
    return part(empty, **latencies, short_half=group, longest_decile=group, tokens_per_s=100.0)


def search(workload: str, name: str, rate: float) -> Search:
    return Search(
        workload=workload,
        row=name,
        seed=1,
        duration_s=60.0,
        normalized_bound_s_per_token=0.2,
        ttft_p99_bound_s=5.0,
        rate_at_normalized=rate,
        rate_at_ttft=rate / 2,
        tried=[],
    )


def judged(*rows: RowResult, searches: tuple[Search, ...] = ()) -> Mapping[str, Judged]:
    return {goal.text: goal for goal in judge(Results({}, list(rows), list(searches)))}


def test_what_was_not_run_is_open() -> None:
    assert {goal.verdict for goal in judged().values()} == {Verdict.OPEN}


@pytest.mark.parametrize(("value", "verdict"), [(2.0, Verdict.PASS), (2.1, Verdict.FAIL)])
def test_a_ratio_is_held_to_its_limit(value: float, verdict: Verdict) -> None:
    goals = judged(row("default", 1.1, value), row("fcfs", 1.1, 10.0))
    found = goals["short half's p95 TTFT at rho 1.1, by fcfs's"]
    assert found.verdict is verdict
    assert found.measured is not None
    assert found.measured.median == pytest.approx(value / 10)


def test_the_median_over_seeds_decides_and_ratios_are_within_a_seed() -> None:
    rows = [
        item
        for seed, default, fcfs in ((1, 1.0, 10.0), (2, 2.0, 8.0), (3, 5.0, 10.0))
        for item in (row("default", 1.1, default, seed=seed), row("fcfs", 1.1, fcfs, seed=seed))
    ]
    found = judged(*rows)["short half's p95 TTFT at rho 1.1, by fcfs's"]
    assert found.measured is not None
    assert (found.measured.low, found.measured.median, found.measured.high) == (0.1, 0.25, 0.5)
    assert found.verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("truth", "says"),
    [(1.0, "with the true lengths 0.100: better"), (3.0, "0.300: better predictions alone")],
)
def test_a_miss_says_whether_predictions_would_help(truth: float, says: str) -> None:
    goals = judged(row("default", 1.1, 9.0), row("fcfs", 1.1, 10.0), row("oracle", 1.1, truth))
    assert says in goals["short half's p95 TTFT at rho 1.1, by fcfs's"].reason


def test_the_worst_percentile_without_load_is_named() -> None:
    goals = judged(row("default", 0.5, 1.1), row("direct-rr", 0.5, 1.0))
    found = goals["worst percentile of any latency up to rho 0.5, by direct-rr's"]
    assert found.verdict is Verdict.FAIL
    assert found.measured is not None
    assert found.measured.median == pytest.approx(1.1)
    assert "at rho 0.5" in found.reason


def test_tokens_are_held_to_a_floor_at_the_worst_load() -> None:
    slow = msgspec.structs.replace(row("default", 1.3, 1.0), tokens_per_s=97.0)
    rows = [row("default", 0.5, 1.0), slow, row("direct-rr", 0.5, 1.0), row("direct-rr", 1.3, 1.0)]
    found = judged(*rows)["tokens/s at the worst load, by direct-rr's"]
    assert found.measured is not None
    assert found.measured.median == pytest.approx(0.97)
    assert found.verdict is Verdict.FAIL


def test_the_flood_is_judged_by_the_same_tenant_alone() -> None:
    rows = [row(ALONE, 0.2, 1.0, cell=FLOOD), row(FLOODED, 2.2, 1.2, cell=FLOOD)]
    found = judged(*rows)["p95 TTFT of a tenant beside one that floods, by its value alone"]
    assert found.measured is not None
    assert found.measured.median == pytest.approx(1.2)
    assert found.verdict is Verdict.PASS


def test_an_overload_is_judged_by_itself() -> None:
    rows = [row("default", 1.3, 4.0, cell=OVERLOAD), row("fcfs", 1.3, 10.0, cell=OVERLOAD)]
    goals = judged(*rows)
    assert goals["mean TTLT at rho 1.3 in ten minutes of overload, by fcfs's"].verdict == "pass"
    assert goals["mean TTLT at rho 1.3, by fcfs's"].verdict is Verdict.OPEN


def test_a_missed_flood_says_what_the_engines_did() -> None:
    inside = msgspec.structs.replace
    rows = [
        inside(row(ALONE, 0.2, 1.0, cell=FLOOD), engine_ttft_s=stats(0.5)),
        inside(row(FLOODED, 2.2, 3.0, cell=FLOOD), engine_ttft_s=stats(1.0)),
    ]
    found = judged(*rows)["p95 TTFT of a tenant beside one that floods, by its value alone"]
    assert found.verdict is Verdict.FAIL
    assert found.reason.endswith("inside them 2.00")


def test_rates_are_judged_with_a_predictor_that_has_learned_too() -> None:
    searches = tuple(
        search("chat", name, rate)
        for name, rate in (("direct-least", 10.0), ("default", 11.0), (LEARNED, 22.0))
    )
    goals = judged(searches=searches)
    text = "rate at equal mean normalized latency, chat"
    assert goals[f"{text}, by direct-least's"].verdict is Verdict.FAIL
    assert goals[f"{text}, having learned, by direct-least's"].verdict is Verdict.PASS


def test_rates_are_compared_with_direct_dispatch() -> None:
    searches = (
        search("alpaca", "direct-least", 10.0),
        search("alpaca", "default", 18.0),
        search("sharegpt", "direct-least", 10.0),
        search("sharegpt", "default", 18.0),
    )
    goals = judged(searches=searches)
    assert goals["rate at equal p99 TTFT, alpaca, by direct-least's"].verdict is Verdict.PASS
    sharegpt = goals["rate at equal mean normalized latency, sharegpt, by direct-least's"]
    assert sharegpt.verdict is Verdict.FAIL
    assert sharegpt.bound == ">= 2.1"
