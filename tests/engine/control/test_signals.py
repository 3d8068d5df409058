import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest
import uvloop

from alise_vllm.control.signals import before_terminating


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_both_hear_of_it_and_we_do_first(new_loop: object) -> None:
    heard: list[str] = []

    async def serve() -> None:
        told = asyncio.Event()
        loop = asyncio.get_running_loop()

        def theirs() -> None:
            heard.append("theirs")
            told.set()

        loop.add_signal_handler(signal.SIGTERM, theirs)
        assert before_terminating(lambda: heard.append("ours"))
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await told.wait()

    with asyncio.Runner(loop_factory=new_loop) as runner:  # type: ignore[arg-type]
        runner.run(serve())

    assert heard == ["ours", "theirs"]


@pytest.mark.parametrize("beneath", [signal.SIG_DFL, signal.SIG_IGN])
def test_where_nobody_waits_for_it_nothing_changes(beneath: signal.Handlers) -> None:
    signal.signal(signal.SIGTERM, beneath)

    assert not before_terminating(lambda: None)
    assert signal.getsignal(signal.SIGTERM) is beneath


def test_another_thread_has_no_say() -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    said = []
    thread = threading.Thread(target=lambda: said.append(before_terminating(lambda: None)))
    thread.start()
    thread.join()

    assert said == [False]
