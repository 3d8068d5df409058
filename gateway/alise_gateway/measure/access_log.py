"""One INFO line per finished request, without waiting for whoever reads the log.

In come request records; out go JSON lines with the keys of every other log line (``timestamp``,
``level``, ``event``). A line is encoded by msgspec into a buffer; a timer that runs only while
there is something to write hands the buffer to the sink at least every 100 ms. Client-controlled
text is cut and escaped. A sink that does not keep up costs lines, which are counted, never time.
"""

import io
import os
import select
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO, Final, Protocol

import msgspec

from alise_core.clock import Clock
from alise_core.record import PredictedLength, RequestRecord
from alise_gateway.measure.labels import clean

_FLUSH_SECONDS: Final = 0.1
_FLUSH_BYTES: Final = 64 * 1024
_MAX_BUFFER_BYTES: Final = 1024 * 1024
"""About 2,000 lines: seconds of a slow reader under a usual load."""
_CHUNK_BYTES: Final = 4096
"""A pipe takes up to PIPE_BUF bytes at once and unmixed with other writers' lines (POSIX), and
poll() promises that much room, so that a write of this size never waits (pipe(7))."""
_CLOSE_SECONDS: Final = 1.0
_TRACE_ID: Final = slice(3, 35)
_MICROSECONDS: Final = 6


class _Line(msgspec.Struct, frozen=True, gc=False):
    """One line; the order of the fields is that of the keys. Marks count from the arrival."""

    timestamp: datetime
    request_id: str
    tenant: str
    model: str
    endpoint: str | None
    outcome: str
    status: int
    stream: bool
    backend: str | None
    service_class: str | None
    attempts: int
    enqueued_s: float | None
    dispatched_s: float | None
    first_token_s: float | None
    last_token_s: float | None
    finished_s: float
    prompt_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    output_capped: bool
    predicted_p50: float | None
    predicted_p90: float | None
    predicted_mean: float | None
    prediction_source: str | None
    request_bytes: int
    response_bytes: int
    trace_id: str | None
    level: str = "info"
    event: str = "request"


class Timer(Protocol):
    """A callback that waits for its time."""

    def cancel(self) -> None:
        """It shall not run."""
        ...


class Timers(Protocol):
    """What the log needs of an event loop."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        """Run ``callback`` once, ``delay`` seconds from now."""
        ...


class AccessLog:
    """The request log of one process; used on its event loop only.

    Args:
        stream: Binary sink. One with a file descriptor is written to directly, past the
            stream's own buffer.
        clock: Bounds the wait of ``close``.
        loop: The event loop; runs the flush timer.
        on_dropped: Told how many lines were lost.
    """

    def __init__(
        self,
        stream: BinaryIO,
        clock: Clock,
        loop: Timers,
        on_dropped: Callable[[int], None],
    ) -> None:
        self._sink = _sink_of(stream)
        self._clock = clock
        self._loop = loop
        self._on_dropped = on_dropped
        self._encode_into = msgspec.json.Encoder().encode_into
        self._buffer = bytearray()
        self._flush_at = _FLUSH_BYTES
        self._timer: Timer | None = None

    def write(self, record: RequestRecord) -> None:
        """Add one line; it reaches the sink within 100 ms if the sink takes it."""
        buffer = self._buffer
        if len(buffer) >= _MAX_BUFFER_BYTES:
            self._on_dropped(1)
            return
        self._encode_into(_line(record), buffer, -1)
        buffer += b"\n"
        if len(buffer) >= self._flush_at:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(_FLUSH_SECONDS, self._on_timer)

    def close(self) -> None:
        """Write what is left; gives a slow sink one second, then drops the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # The loop is about to end and this is its last act, so waiting here delays nobody.
        give_up_at = self._clock.now() + _CLOSE_SECONDS
        self._drain()
        while self._buffer and self._clock.now() < give_up_at:
            self._sink.wait(_FLUSH_SECONDS)
            self._drain()
        self._drop_all()

    def _on_timer(self) -> None:
        self._timer = None
        self._flush()

    def _flush(self) -> None:
        self._drain()
        # With a sink that is stuck, the next attempts come with the timer or after as much again.
        self._flush_at = len(self._buffer) + _FLUSH_BYTES
        if self._buffer and self._timer is None:
            self._timer = self._loop.call_later(_FLUSH_SECONDS, self._on_timer)

    def _drain(self) -> None:
        """Write whole lines until the buffer is empty or the sink is full."""
        buffer, done = self._buffer, 0
        broken = False
        try:
            while done < len(buffer) and self._sink.has_room():
                end = buffer.rfind(b"\n", done, done + _CHUNK_BYTES) + 1
                # Cut fields keep a line below a chunk; one that is not still goes out whole.
                end = end or buffer.index(b"\n", done) + 1
                done += self._sink.write(bytes(buffer[done:end]))
        except BlockingIOError:
            pass  # somebody made the descriptor non-blocking and it is full
        except OSError:
            broken = True
        del buffer[:done]
        if broken:
            # The reader is gone (EPIPE) or the disk is full; serving goes on without the lines.
            self._drop_all()

    def _drop_all(self) -> None:
        lost = self._buffer.count(b"\n")
        self._buffer.clear()
        if lost:
            self._on_dropped(lost)


def _line(record: RequestRecord) -> _Line:
    arrival = record.arrival
    traceparent = record.traceparent
    return _Line(
        datetime.fromtimestamp(record.arrival_unix + record.finished - arrival, UTC),
        clean(record.request_id),
        clean(record.tenant),
        clean(record.model),
        record.endpoint,
        record.outcome,
        record.status,
        record.stream,
        clean(record.backend) if record.backend else None,
        record.service_class,
        record.attempts,
        _since(arrival, record.enqueued),
        _since(arrival, record.dispatched),
        _since(arrival, record.first_token),
        _since(arrival, record.last_token),
        round(record.finished - arrival, _MICROSECONDS),
        record.prompt_tokens,
        record.output_tokens,
        record.cached_tokens,
        record.output_capped,
        *_predicted(record.predicted),
        record.request_bytes,
        record.response_bytes,
        traceparent[_TRACE_ID] if traceparent else None,
    )


def _predicted(
    known: PredictedLength | None,
) -> tuple[float | None, float | None, float | None, str | None]:
    if known is None:
        return None, None, None, None
    return round(known.p50, 1), round(known.p90, 1), round(known.mean, 1), known.source


def _since(arrival: float, mark: float | None) -> float | None:
    return None if mark is None else round(mark - arrival, _MICROSECONDS)


class _StreamSink:
    """A sink in memory: always has room."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def has_room(self) -> bool:
        return True

    def wait(self, seconds: float) -> None:
        del seconds

    def write(self, chunk: bytes) -> int:
        return self._stream.write(chunk)


class _DescriptorSink:
    """A file, pipe, socket or terminal, asked for room before each write."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream  # held, because its descriptor closes with it
        self._descriptor = stream.fileno()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT)

    def has_room(self) -> bool:
        return bool(self._poll.poll(0))

    def wait(self, seconds: float) -> None:
        self._poll.poll(seconds * 1000)

    def write(self, chunk: bytes) -> int:
        return os.write(self._descriptor, chunk)


def _sink_of(stream: BinaryIO) -> _StreamSink | _DescriptorSink:
    try:
        return _DescriptorSink(stream)
    except io.UnsupportedOperation:
        return _StreamSink(stream)
