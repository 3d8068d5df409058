"""Verdicts on what schedules inside an engine, on results made up so that each is known."""

import msgspec
import pytest

from alise_bench.compare.engine_goals import judge_engine
from alise_bench.compare.figures import Latencies, Stats, figures_of
from alise_bench.compare.results import RowResult, row_result
from alise_bench.overhead.goals import Verdict


def latencies(mean: float, p95: float) -> Latencies:
    every = Stats(mean, mean, p95, p95)
    return Latencies(1, every, every, every, every, None)


def row(name: str, short_p95: float, long_mean: float, tokens: float, seed: int = 1) -> RowResult:
    """Every other figure is misleading on purpose."""
    made = row_result(figures_of(name, [], lambda _: None), rho=1.0, seed=seed)
    return msgspec.structs.replace(
        made,
        up_to_mean=latencies(0.0, short_p95),
        above_mean=latencies(long_mean, 1e9),
        tokens_per_s=tokens,
    )


def test_goals_are_of_short_answers_tails_long_answers_means_and_throughput() -> None:
    rows = [row("vllm-fcfs", 10, 20, 100), row("default", 3, 25, 98), row("gateway", 4, 23, 96)]
    verdicts = {goal.text: goal.verdict.value for goal in judge_engine(rows)}
    assert verdicts == {
        "short answers' p95 TTLT at rho 1, default by vllm-fcfs": "pass",
        "long answers' mean TTLT at rho 1, default by vllm-fcfs": "fail",
        "tokens/s at rho 1, default by vllm-fcfs": "pass",
        "short answers' p95 TTLT at rho 1, gateway by vllm-fcfs": "fail",
        "long answers' mean TTLT at rho 1, gateway by vllm-fcfs": "pass",
        "tokens/s at rho 1, gateway by vllm-fcfs": "fail",
    }


def test_the_median_of_ratios_within_a_seed_decides() -> None:
    rows = [
        made
        for seed, stock, ours in ((1, 10, 1), (2, 2, 1), (3, 10, 3))
        for made in (row("vllm-fcfs", stock, 1, 1, seed), row("default", ours, 1, 1, seed))
    ]
    short = judge_engine(rows)[0]
    assert short.measured is not None
    assert (short.measured.low, short.measured.median, short.measured.high) == (0.1, 0.3, 0.5)
    assert short.verdict is Verdict.PASS


def test_a_miss_says_what_true_lengths_reach() -> None:
    rows = [row("vllm-fcfs", 10, 1, 1), row("default", 4, 1, 1), row("oracle", 1, 1, 1)]
    assert judge_engine(rows)[0].reason == "with the true lengths 0.100"


@pytest.mark.parametrize("names", [("vllm-fcfs",), ("mlfq", "oracle")])
def test_rows_that_nothing_is_promised_of_are_not_judged(names: tuple[str, ...]) -> None:
    assert judge_engine([row(name, 1, 1, 1) for name in names]) == []


def test_without_stock_nothing_can_be_said() -> None:
    assert {goal.verdict for goal in judge_engine([row("default", 1, 1, 1)])} == {Verdict.OPEN}
