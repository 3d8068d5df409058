"""The engine's loop on a clock that jumps: exact times without waiting."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from alise_bench.sim.engine import Admission, Engine, Gain, OutputStream, QueueFull
from alise_bench.sim.scheduler import SchedulerConfig
from alise_bench.sim.sequence import FinishReason, SequenceRequest
from alise_core.units import Seconds
from fakes.clock import FakeClock
from fakes.engine import FAST

PROFILE = replace(FAST, overhead_seconds=1.0)


class JumpingPacer:
    """Lets no time pass but moves the clock."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock

    async def sleep_until(self, deadline: Seconds) -> None:
        self.clock.advance(max(0.0, deadline - self.clock.now()))
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def stepping(
    max_num_seqs: int = 4, admission: Admission | None = None
) -> AsyncIterator[tuple[Engine, FakeClock]]:
    clock = FakeClock(now=0.0)
    config = replace(SchedulerConfig.for_profile(PROFILE), max_num_seqs=max_num_seqs)
    engine = Engine("m", PROFILE, config, clock, admission or Admission(), JumpingPacer(clock))
    loop = asyncio.create_task(engine.run())
    try:
        yield engine, clock
    finally:
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop
    engine.scheduler.check()


def request(name: str, output: int) -> SequenceRequest:
    return SequenceRequest(name, (1, 2, 3), output)


async def finish(stream: OutputStream) -> list[Gain]:
    gains: list[Gain] = []
    while sum(gain.finish is not None for gain in gains) < len(stream.sequences):
        gains += await stream.take()
    return gains


async def test_every_step_takes_what_the_profile_says() -> None:
    async with stepping() as (engine, clock):
        stream = engine.submit([request("a", 5)])
        gains = await finish(stream)
        assert [gain.start for gain in gains] == [0, 1, 2, 3, 4]
        assert gains[-1].finish is FinishReason.LENGTH
        sequence = stream.sequences[0]
        assert (sequence.first_token, sequence.last_token) == (1.0, 5.0)
        clock.advance(100.0)
        later = engine.submit([request("b", 1)])
        await finish(later)
        assert later.sequences[0].last_token == 106.0, "idle time is not made up for"


async def test_a_slowed_engine_takes_longer_until_it_is_sped_up() -> None:
    async with stepping() as (engine, clock):
        engine.slow_down(3.0)
        await finish(engine.submit([request("a", 2)]))
        assert clock.now() == 6.0
        engine.speed_up(3.0)
        await finish(engine.submit([request("b", 2)]))
        assert clock.now() == 8.0


async def test_a_slow_reader_finds_its_tokens_merged() -> None:
    async with stepping() as (engine, _):
        stream = engine.submit([request("a", 4), request("b", 2)])
        await finish(engine.submit([request("later", 6)]))
        assert [(gain.choice, gain.start, gain.count) for gain in await stream.take()] == [
            (0, 0, 4),
            (1, 0, 2),
        ]


async def test_an_abort_frees_the_place_for_the_next() -> None:
    async with stepping(max_num_seqs=1) as (engine, _):
        first = engine.submit([request("a", 1000)])
        second = engine.submit([request("b", 1)])
        await first.take()
        engine.abort(first)
        engine.abort(first)
        assert await finish(second)
        assert not engine.scheduler.sequences


@pytest.mark.parametrize(
    ("admission", "reason"),
    [
        (Admission(max_num_queued_reqs=2), "max_num_queued_reqs"),
        (Admission(max_num_queued_tokens=6), "max_num_queued_tokens"),
    ],
)
async def test_limits_count_what_vllm_counts(admission: Admission, reason: str) -> None:
    async with stepping(max_num_seqs=1, admission=admission) as (engine, _):
        streams = [engine.submit([request(name, 2)]) for name in "ab"]
        with pytest.raises(QueueFull) as refused:
            engine.submit([request("c", 1)])
        assert refused.value.reason == reason
        await finish(streams[0])
        engine.submit([request("d", 1)])
