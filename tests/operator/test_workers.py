"""Workers work off a queue, wait for what is due, and survive what fails."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from alise_core.errors import AliseError
from alise_operator.work_queue import Backoff, WorkQueue
from alise_operator.workers import Pace, Workers, WorkResult, wait_for
from fakes.clock import FakeClock

Work = Callable[[str], Awaitable[float | None]]


class Shop:
    """Workers whose waiting ends at once, by moving the clock."""

    def __init__(self, work: Work, tasks: int = 1) -> None:
        self.clock = FakeClock(now=0)
        self.observed: list[tuple[str, WorkResult]] = []
        self.waits: list[float | None] = []
        self.most_waits = 50
        self.workers = Workers(
            "reconcile",
            WorkQueue[str](lambda: 1.0, Backoff(1, 60)),
            work,
            Pace(self.clock, self._wait, tasks),
            lambda key, result, seconds: self.observed.append((key, result)),
        )

    async def _wait(self, event: asyncio.Event, seconds: float | None) -> None:
        self.waits.append(seconds)
        if seconds is None or len(self.waits) > self.most_waits:
            await event.wait()
        else:
            self.clock.advance(seconds)
            await asyncio.sleep(0)


async def run_until(workers: Workers[str], enough: asyncio.Event) -> None:
    running = asyncio.ensure_future(workers.run())
    await enough.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_key_is_worked_on_and_comes_back_when_it_wants_to() -> None:
    enough = asyncio.Event()
    times: list[float] = []

    async def work(key: str) -> float | None:
        times.append(shop.clock.now())
        if len(times) == 4:
            enough.set()
        return 300

    shop = Shop(work)
    shop.workers.add("pool")
    await run_until(shop.workers, enough)

    assert times[:4] == [0, 300, 600, 900]
    assert shop.observed[0] == ("pool", WorkResult.DONE)


async def test_nothing_to_do_is_waited_out_without_a_timer() -> None:
    done = asyncio.Event()

    async def work(key: str) -> None:
        done.set()

    shop = Shop(work)
    shop.workers.add("pool")
    await run_until(shop.workers, done)

    assert shop.waits == [] or set(shop.waits) == {None}
    assert len(shop.workers.queue) == 0


async def test_failures_are_tried_again_later_and_later() -> None:
    enough = asyncio.Event()
    times: list[float] = []

    async def work(key: str) -> None:
        times.append(shop.clock.now())
        if len(times) == 4:
            enough.set()
            return
        raise AliseError("the API server is away")

    shop = Shop(work)
    shop.workers.add("pool")
    with capture_logs() as lines:
        await run_until(shop.workers, enough)

    assert times == [0, 1, 3, 7]
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("reconcile_failed", "warning"),
        ("reconcile_failed", "debug"),
        ("reconcile_failed", "debug"),
    ]
    assert [result for _, result in shop.observed[:3]] == [WorkResult.FAILED] * 3


async def test_a_bug_in_one_key_does_not_stop_the_others() -> None:
    enough, worked = asyncio.Event(), []

    async def work(key: str) -> None:
        worked.append(key)
        if key == "bad":
            raise ZeroDivisionError
        enough.set()

    shop = Shop(work)
    shop.workers.add("bad")
    shop.workers.add("good")
    with capture_logs() as lines:
        await run_until(shop.workers, enough)

    assert worked[:2] == ["bad", "good"]
    assert lines[0]["event"] == "reconcile_crashed"
    assert shop.observed[0] == ("bad", WorkResult.CRASHED)


async def test_no_key_is_worked_on_twice_at_once() -> None:
    enough, at_once, most = asyncio.Event(), 0, 0
    rounds = 0

    async def work(key: str) -> None:
        nonlocal at_once, most, rounds
        at_once += 1
        most = max(most, at_once)
        shop.workers.add(key)  # changes while it is worked on
        await asyncio.sleep(0)
        at_once -= 1
        rounds += 1
        if rounds == 20:
            enough.set()

    shop = Shop(work, tasks=4)
    shop.workers.add("pool")
    await run_until(shop.workers, enough)

    assert most == 1


async def test_different_keys_are_worked_on_at_once() -> None:
    all_there = asyncio.Barrier(3)
    enough = asyncio.Event()

    async def work(key: str) -> None:
        await all_there.wait()  # would never pass if one were waited for
        enough.set()

    shop = Shop(work, tasks=3)
    for key in "abc":
        shop.workers.add(key)
    await run_until(shop.workers, enough)

    assert len(shop.workers.queue) == 0


async def test_what_waits_is_forgotten_when_the_work_ends() -> None:
    done = asyncio.Event()

    async def work(key: str) -> float:
        done.set()
        return 5_000

    shop = Shop(work)
    shop.most_waits = 0
    shop.workers.add("pool")
    await run_until(shop.workers, done)

    assert len(shop.workers.queue) == 0


@pytest.mark.parametrize("seconds", [0.0, 0.001])
async def test_waiting_ends_by_itself(seconds: float) -> None:
    await wait_for(asyncio.Event(), seconds)


async def test_waiting_ends_with_the_event() -> None:
    event = asyncio.Event()
    event.set()

    await wait_for(event, None)
