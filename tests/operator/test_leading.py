import asyncio

import pytest

from alise_operator.leading import WhileLeading


class Work:
    """Counts when it begins and ends."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def test_work_begins_and_ends_with_leadership() -> None:
    work = Work()
    duty = WhileLeading(work)
    running = asyncio.ensure_future(duty.run())
    for times in (1, 2):
        duty.on_change(True)
        await work.began.wait()
        assert duty.leads
        assert work.times == times

        work.began.clear()
        duty.on_change(False)
        await work.ended.wait()
        work.ended.clear()
        assert not duty.leads
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_ending_ends_the_work() -> None:
    work = Work()
    duty = WhileLeading(work)
    running = asyncio.ensure_future(duty.run())
    duty.on_change(True)
    await work.began.wait()

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert work.ended.is_set()


async def test_work_that_crashes_is_not_passed_over() -> None:
    async def crash() -> None:
        raise ZeroDivisionError

    duty = WhileLeading(crash)
    duty.on_change(True)

    with pytest.raises(RuntimeError) as caught:
        await duty.run()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
