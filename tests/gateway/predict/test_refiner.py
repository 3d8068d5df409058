"""Tier 1 for those who wait: bounded, newest first, and never for nobody."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from alise_core.prediction import LengthDistribution, PredictionSource
from alise_gateway.domain.prediction import Refinement
from fakes.gateway import eventually
from fakes.length_model import PredictionBench, asked, tenant


@pytest.fixture
async def bench() -> AsyncIterator[PredictionBench]:
    bench = PredictionBench(has_tier1=True, refine_backlog=2)
    yield bench
    bench.model.gate.set()
    await bench.predictor.close()


class Waiting:
    """A request that waits."""

    def __init__(self, bench: PredictionBench, content: str = "hello") -> None:
        self.pending = bench.predictor.begin(asked(content), "m", tenant())
        self.told: list[LengthDistribution] = []

    def refine(self) -> "Waiting":
        self.pending.refine(self.told.append)
        return self


async def test_who_waits_is_told_something_better(bench: PredictionBench) -> None:
    waiting = Waiting(bench).refine()
    await eventually(lambda: waiting.told)
    (better,) = waiting.told
    assert better.quantile(0.5) == pytest.approx(500)
    assert waiting.pending.prediction.source is PredictionSource.TIER1
    assert waiting.pending.prediction.distribution is better
    assert bench.meter.refinements == [Refinement.DONE]
    waiting.refine()
    assert len(bench.model.refined) == 1, "it is as good as it gets"


async def test_nobody_waits_and_nothing_runs(bench: PredictionBench) -> None:
    before = threading.active_count()
    Waiting(bench).pending.settle()
    assert threading.active_count() == before
    assert bench.meter.refinements == []


async def test_who_is_dispatched_before_is_not_told(bench: PredictionBench) -> None:
    bench.model.gate.clear()
    running, queued = Waiting(bench, "a").refine(), Waiting(bench, "b").refine()
    assert bench.predictor.refiner.pending == 1
    queued.pending.settle()
    running.pending.settle()
    assert bench.meter.refinements == [Refinement.CANCELLED] * 2
    bench.model.gate.set()
    await eventually(lambda: bench.model.refined)
    await bench.predictor.close()
    assert [request.prompt for request in bench.model.refined] == [b"a"]
    assert running.told == queued.told == []
    running.refine()
    assert bench.predictor.refiner.pending == 0


async def test_newer_ones_come_first_and_crowd_out_the_oldest(bench: PredictionBench) -> None:
    bench.model.gate.clear()
    first, *others = [Waiting(bench, name).refine() for name in "abcd"]
    assert bench.meter.refinements == [Refinement.CROWDED_OUT]
    bench.model.gate.set()
    await eventually(lambda: others[1].told)
    assert [request.prompt for request in bench.model.refined] == [b"a", b"d", b"c"]
    assert first.told
    assert not others[0].told


async def test_what_comes_late_is_not_told(bench: PredictionBench) -> None:
    bench.model.gate.clear()
    waiting = [Waiting(bench, name).refine() for name in "ab"]
    bench.clock.advance(10)
    bench.model.gate.set()
    await eventually(lambda: len(bench.meter.refinements) == 2)
    assert bench.meter.refinements == [Refinement.LATE] * 2
    assert [one.told for one in waiting] == [[], []]
    assert len(bench.model.refined) == 1


async def test_a_tier_1_that_fails_leaves_the_first_prediction(bench: PredictionBench) -> None:
    waiting = Waiting(bench)
    bench.model.error = RuntimeError("broken")
    waiting.refine()
    await eventually(lambda: bench.meter.refinements)
    assert bench.meter.refinements == [Refinement.FAILED]
    assert waiting.told == []
    assert waiting.pending.prediction.median == pytest.approx(50)
    bench.model.error = None
    assert Waiting(bench).refine()
    await eventually(lambda: len(bench.meter.refinements) == 2)
    assert bench.meter.refinements[1] is Refinement.DONE


async def test_the_same_prompt_is_refined_once(bench: PredictionBench) -> None:
    first = Waiting(bench, "again").refine()
    await eventually(lambda: first.told)
    second = Waiting(bench, "again").refine()
    assert second.told == first.told
    assert bench.meter.refinements == [Refinement.DONE, Refinement.REMEMBERED]
    Waiting(bench, "other").refine()
    await eventually(lambda: len(bench.model.refined) == 2)


async def test_what_is_remembered_is_bounded_and_without_text() -> None:
    bench = PredictionBench(has_tier1=True, refine_cache_entries=2)
    for index in range(4):
        waiting = Waiting(bench, f"prompt {index}").refine()
        await eventually(lambda waiting=waiting: waiting.told)  # type: ignore[misc]
    assert len(bench.predictor._cache) == 2
    assert "prompt" not in repr(bench.predictor._cache._found)
    await bench.predictor.close()


async def test_without_tier_1_nothing_is_refined() -> None:
    bench = PredictionBench()
    waiting = Waiting(bench).refine()
    await asyncio.sleep(0)
    assert bench.meter.refinements == []
    assert waiting.told == []


async def test_closing_ends_threads_and_forgets_who_waits(bench: PredictionBench) -> None:
    bench.model.gate.clear()
    waiting = [Waiting(bench, name).refine() for name in "ab"]
    closing = asyncio.ensure_future(bench.predictor.close())
    await asyncio.sleep(0)
    bench.model.gate.set()
    await closing
    assert not any(thread.name.startswith("refine") for thread in threading.enumerate())
    assert [one.told for one in waiting][1] == []
