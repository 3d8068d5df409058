"""The search for the highest rate within a bound."""

import pytest

from alise_bench.compare.guesses import Opinions
from alise_bench.compare.offer import Library, Source
from alise_bench.compare.results import Tried
from alise_bench.compare.rows import ROWS
from alise_bench.compare.simulated import SimulatedEngine
from alise_bench.compare.throughput import STEP, Bounds, Hunt, Trials, search
from alise_bench.sim.step_model import CPU
from alise_bench.workloads.prompts import WorkloadName
from alise_bench.workloads.recorded import ArrivalKind


def trials(tried: list[float]) -> Trials:
    def run(rate: float) -> Tried:
        tried.append(rate)
        return Tried(rate, rate / 10, 1, rate, rate)

    return Trials(run, 10.0)


@pytest.mark.parametrize("limit", [1.5, 7.0, 10.0, 12.3, 40.0])
def test_the_highest_rate_within_a_bound_is_found_on_the_grid(limit: float) -> None:
    tried: list[float] = []
    found = trials(tried).highest(lambda item: item.ttft_p99_s <= limit)
    assert limit / STEP < found <= limit
    assert len(tried) == len(set(tried)) <= 14


def test_two_bounds_share_their_trials() -> None:
    tried: list[float] = []
    both = trials(tried)
    both.highest(lambda item: item.ttft_p99_s <= 12.0)
    before = len(tried)
    both.highest(lambda item: item.ttft_p99_s <= 12.0)
    assert len(tried) == before


def test_a_bound_that_never_holds_has_no_rate() -> None:
    assert trials([]).highest(lambda _: False) == 0.0


def test_a_bound_that_always_holds_ends_at_the_highest_rate() -> None:
    found = trials([]).highest(lambda _: True)
    assert found == pytest.approx(100.0, rel=0.02)


@pytest.mark.slow
def test_a_search_on_simulated_pods_keeps_both_bounds() -> None:
    engine = SimulatedEngine(CPU, 1, Opinions((), tier1=False))
    source = Source(workload=WorkloadName.SAMPLE, arrivals=ArrivalKind.POISSON, requests=100)
    capacity = engine.capacity(Library().waiting(source, 1, engine.context_tokens))
    bounds = Bounds(duration_s=5.0, normalized_s_per_token=0.05, ttft_p99_s=2.0)
    hunt = Hunt(source, ROWS["direct-least"], 1, capacity, bounds)
    found = search(engine, Library(), hunt, lambda _: None)
    by_rate = {item.rate: item for item in found.tried}
    assert by_rate[found.rate_at_normalized].normalized_latency_s_per_token <= 0.05
    assert by_rate[found.rate_at_ttft].ttft_p99_s <= 2.0
    assert [item.rate for item in found.tried] == sorted(by_rate)
