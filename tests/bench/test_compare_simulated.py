"""Comparisons on simulated pods: nothing is lost, and what knows more is no worse."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from alise_bench.compare.engine import fit_context
from alise_bench.compare.guesses import Opinions
from alise_bench.compare.results import RowResult
from alise_bench.compare.rows import ROWS
from alise_bench.compare.run import Point, run_rows
from alise_bench.compare.served import ServedRequest
from alise_bench.compare.simulated import SimulatedEngine, production_rate
from alise_bench.sim.step_model import A100_13B
from alise_bench.workloads.traces import TraceRow
from alise_core.outcome import Outcome

SMALL = replace(A100_13B, num_blocks=101)
"""1,600 KV tokens: a handful of requests fills it."""


def trace(count: int, gap_s: float = 0.05) -> list[TraceRow]:
    generator = random.Random(2)  # noqa: S311
    return [
        TraceRow(
            arrival_s=number * gap_s,
            output_tokens=generator.choice((5, 10, 300)),
            prompt_tokens=generator.randint(1, 100),
            prompt=f"Request {number}",
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def engine() -> SimulatedEngine:
    return SimulatedEngine(SMALL, 2, Opinions((), tier1=False))


@pytest.mark.slow
def test_every_request_ends_once_with_all_its_tokens_in_every_row(engine: SimulatedEngine) -> None:
    requests = trace(40)
    for row in ROWS.values():
        served = engine.run(row, requests, seed=1)
        assert [item.number for item in served] == list(range(40)), row.name
        assert {item.outcome for item in served} == {Outcome.COMPLETED}, row.name
        assert [item.output_tokens for item in served] == [item.output_tokens for item in requests]
        assert all(map(in_order, served)), row.name


def in_order(item: ServedRequest) -> bool:
    marks = [item.arrival, item.dispatched, item.first_token, item.last_token]
    times = [mark for mark in marks if mark is not None]
    return len(times) == len(marks) and times == sorted(times)


@pytest.mark.parametrize("name", ["default", "shuffled", "direct-least"])
def test_the_same_seed_gives_the_same_run(engine: SimulatedEngine, name: str) -> None:
    requests = trace(30)
    assert engine.run(ROWS[name], requests, seed=3) == engine.run(ROWS[name], requests, seed=3)


def test_another_seed_shuffles_otherwise(engine: SimulatedEngine) -> None:
    requests = trace(60, gap_s=0.0)
    runs = [engine.run(ROWS["noise60"], requests, seed=seed) for seed in (1, 2)]
    assert runs[0] != runs[1]


@pytest.mark.slow
def test_true_lengths_are_no_worse_than_those_of_other_requests(engine: SimulatedEngine) -> None:
    rows = [ROWS["shuffled"], ROWS["oracle"], ROWS["fcfs"]]
    shuffled, oracle, fcfs = run_rows(engine, rows, trace(120), Point(1.0, 1), lambda _: None)
    assert mean(oracle) < min(mean(shuffled), mean(fcfs))
    assert oracle.gap_captured == 1.0


def mean(row: RowResult) -> float:
    assert row.ttlt_s is not None
    return row.ttlt_s.mean


@pytest.mark.slow
def test_the_capacity_is_what_two_pods_reach_and_one_does_not(engine: SimulatedEngine) -> None:
    requests = trace(120)
    one = SimulatedEngine(SMALL, 1, Opinions((), tier1=False)).capacity(requests)
    assert engine.capacity(requests) == pytest.approx(2 * one, rel=0.25)


def test_the_production_rate_is_of_the_steady_part() -> None:
    """One after the other, ten tokens in two seconds each; the last one took for ever."""
    served = [
        ServedRequest(number, 0.0, 0.0, 2.0 * number, 2.0 * number + 2, 10) for number in range(20)
    ]
    assert production_rate(served) == pytest.approx(0.5)
    served[-1].last_token = 1_000.0
    assert production_rate(served) == pytest.approx(0.5)


def test_the_production_rate_of_what_runs_at_once_is_that_of_all_of_it() -> None:
    served = [ServedRequest(number, 0.0, 0.0, 1.0, 5.0, 10) for number in range(4)]
    assert production_rate(served) == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("prompt", "output", "fitted"),
    [(60, 40, (60, 40)), (90, 40, (60, 40)), (60, 90, (50, 50)), (10, 200, (10, 90))],
)
def test_what_does_not_fit_the_context_is_cut(
    prompt: int, output: int, fitted: Sequence[int]
) -> None:
    item = TraceRow(arrival_s=0, output_tokens=output, prompt_tokens=prompt, prompt="x")
    (found,), cut = fit_context([item], 100)
    assert (found.prompt_tokens, found.output_tokens) == tuple(fitted)
    assert cut == (tuple(fitted) != (prompt, output))


def test_alone_is_what_an_idle_engine_takes(engine: SimulatedEngine) -> None:
    (request,) = trace(1)
    (served,) = engine.run(ROWS["direct-rr"], [request], seed=1)
    assert served.last_token == pytest.approx(engine.alone_seconds(request), rel=0.02)
