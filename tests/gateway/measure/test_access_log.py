import asyncio
import fcntl
import gc
import json
import os
import weakref
from collections.abc import Callable, Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.units import Seconds
from alise_core.wire.openai import Endpoint
from alise_gateway.measure.access_log import AccessLog
from fakes.clock import FakeClock
from fakes.record import TRACE_ID, a_record, a_refusal

_PIPE_BYTES = 4096 * 16


class FakeTimer:
    def __init__(self, delay: float, callback: Callable[[], object]) -> None:
        self.delay = delay
        self.run = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """Only timers; they run when a test says so."""

    def __init__(self) -> None:
        self.timers: list[FakeTimer] = []

    def call_later(self, delay: float, callback: Callable[[], object], /) -> FakeTimer:
        self.timers.append(FakeTimer(delay, callback))
        return self.timers[-1]

    def run_timers(self) -> None:
        due, self.timers = self.timers, []
        for timer in due:
            if not timer.cancelled:
                timer.run()


class TickingClock(FakeClock):
    """Every reading takes 0.6 s, so that waits with a bound end."""

    def now(self) -> Seconds:
        reading = super().now()
        self._now = reading + 0.6
        return reading


class Harness:
    """A log over any stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self.loop = FakeLoop()
        self.dropped = 0
        self.log = AccessLog(stream, TickingClock(), self.loop, self._drop)

    def _drop(self, lines: int) -> None:
        self.dropped += lines


@pytest.fixture
def memory() -> BytesIO:
    return BytesIO()


@pytest.fixture
def pipe() -> Iterator[tuple[int, BinaryIO]]:
    """A pipe of 64 KiB: (descriptor to read, stream to write)."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    os.set_blocking(reader, False)
    with os.fdopen(writer, "wb", buffering=0) as stream:
        yield reader, stream
    os.close(reader)


def lines_in(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_a_line_tells_the_whole_request(memory: BytesIO) -> None:
    harness = Harness(memory)
    harness.log.write(a_record())
    harness.log.close()
    assert lines_in(memory.getvalue()) == [
        {
            "timestamp": "2025-06-15T15:06:44Z",
            "level": "info",
            "event": "request",
            "request_id": "req-1",
            "tenant": "team-a",
            "model": "org/model",
            "endpoint": "chat_completions",
            "outcome": "completed",
            "status": 200,
            "stream": True,
            "backend": "10.0.0.1:8000",
            "service_class": "default",
            "attempts": 1,
            "enqueued_s": 0.25,
            "dispatched_s": 0.5,
            "first_token_s": 1.0,
            "last_token_s": 3.0,
            "finished_s": 3.5,
            "prompt_tokens": 512,
            "output_tokens": 5,
            "cached_tokens": 256,
            "output_capped": False,
            "predicted_p50": 7.0,
            "predicted_p90": 40.2,
            "predicted_mean": 12.5,
            "prediction_source": "tier0",
            "request_bytes": 2048,
            "response_bytes": 4096,
            "trace_id": TRACE_ID,
        }
    ]


def test_what_never_happened_is_null(memory: BytesIO) -> None:
    harness = Harness(memory)
    harness.log.write(a_refusal(endpoint=None, traceparent=None))
    harness.log.close()
    (line,) = lines_in(memory.getvalue())
    unknown = {key for key, value in line.items() if value is None}
    marks = {"enqueued_s", "dispatched_s", "first_token_s", "last_token_s"}
    tokens = {"prompt_tokens", "output_tokens", "cached_tokens"}
    predicted = {"predicted_p50", "predicted_p90", "predicted_mean", "prediction_source"}
    assert unknown == marks | tokens | predicted | {
        "backend",
        "service_class",
        "endpoint",
        "trace_id",
    }


@given(st.text(st.characters(exclude_categories=[])), st.text(st.characters(exclude_categories=[])))
def test_client_text_never_breaks_a_line(model: str, request_id: str) -> None:
    stream = BytesIO()
    harness = Harness(stream)
    harness.log.write(a_record(model=model * 50, request_id=request_id * 50, tenant='"\x00\n' * 99))
    harness.log.close()
    data = stream.getvalue()
    assert data.count(b"\n") == 1
    assert len(data) <= 4096
    datetime.fromisoformat(lines_in(data)[0]["timestamp"])


def test_one_timer_writes_what_has_gathered(memory: BytesIO) -> None:
    harness = Harness(memory)
    for _ in range(3):
        harness.log.write(a_record())
    assert memory.getvalue() == b""
    assert [timer.delay for timer in harness.loop.timers] == [0.1]
    harness.loop.run_timers()
    assert len(lines_in(memory.getvalue())) == 3
    assert harness.loop.timers == []  # nothing to write, nothing to wake up for


def test_a_full_buffer_does_not_wait_for_the_timer(memory: BytesIO) -> None:
    harness = Harness(memory)
    while not memory.getvalue():
        harness.log.write(a_record())
    assert 64 * 1024 <= len(memory.getvalue()) < 66 * 1024


def test_a_stuck_pipe_costs_lines_and_not_time(pipe: tuple[int, BinaryIO]) -> None:
    reader, stream = pipe
    harness = Harness(stream)
    for _ in range(4_000):  # far beyond pipe and buffer; a blocking write would hang here
        harness.log.write(a_record())
    assert harness.dropped > 0
    in_pipe = os.read(reader, 1 << 20)
    written = lines_in(in_pipe)  # every line in the pipe is whole
    assert len(written) + harness.dropped < 4_000
    while harness.loop.timers:  # the reader is back: the rest follows by itself
        harness.loop.run_timers()
        try:
            written += lines_in(os.read(reader, 1 << 20))
        except BlockingIOError:
            continue
    assert len(written) + harness.dropped == 4_000


def test_closing_on_a_stuck_pipe_ends_and_counts(pipe: tuple[int, BinaryIO]) -> None:
    reader, stream = pipe
    harness = Harness(stream)
    for _ in range(1_000):
        harness.log.write(a_record())
    harness.log.close()
    assert len(lines_in(os.read(reader, 1 << 20))) + harness.dropped == 1_000
    assert harness.dropped > 0


def test_a_reader_that_went_away_costs_only_lines() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as stream:
        harness = Harness(stream)
        harness.log.write(a_record())
        harness.loop.run_timers()
        assert harness.dropped == 1
        harness.log.write(a_record())
        harness.log.close()
        assert harness.dropped == 2


def test_a_full_nonblocking_pipe_keeps_the_lines(pipe: tuple[int, BinaryIO]) -> None:
    reader, stream = pipe
    os.set_blocking(stream.fileno(), False)
    harness = Harness(stream)
    for _ in range(500):
        harness.log.write(a_record(endpoint=Endpoint.COMPLETIONS))
    harness.loop.run_timers()
    assert harness.dropped == 0
    assert os.read(reader, 1 << 20).endswith(b"\n")


async def test_lines_reach_a_file_by_themselves(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("wb") as stream:
        loop = asyncio.get_running_loop()
        log = AccessLog(stream, FakeClock(), loop, lambda lines: None)
        log.write(a_record())
        seen = loop.create_future()
        loop.call_later(0.12, seen.set_result, None)
        await seen
        assert len(lines_in(file.read_bytes())) == 1
        log.close()


def test_the_log_keeps_its_stream_open(tmp_path: Path) -> None:
    file = tmp_path / "log"
    stream = file.open("wb")
    held = weakref.ref(stream)
    harness = Harness(stream)
    del stream
    gc.collect()
    harness.log.write(a_record())
    harness.log.close()
    assert len(lines_in(file.read_bytes())) == 1
    remaining = held()
    assert remaining is not None
    remaining.close()
