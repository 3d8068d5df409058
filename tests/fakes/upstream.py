"""A backend's connections in memory, and whoever waits for what comes over them."""

from collections.abc import Callable
from typing import Any

from alise_core.wire.openai import Endpoint
from alise_gateway.domain.request import InferenceRequest
from alise_gateway.loop_time import LoopTime
from alise_gateway.proxy.attempt import Attempt, AttemptResult, Prepared
from alise_gateway.proxy.chunked import WholeChunks
from alise_gateway.proxy.connection import UpstreamConnection
from alise_gateway.proxy.pool import ConnectionWaiter
from alise_gateway.settings import TimeoutSettings
from fakes.clock import FakeClock
from fakes.transport import FakeTransport

OWN_FIELDS = b"x-request-id: r\r\n"


class FakeSink:
    """The client's side of a request."""

    def __init__(self, *, takes_chunks: bool = True, keeps_alive: bool = True) -> None:
        self.takes_chunks = takes_chunks
        self.keeps_alive = keeps_alive
        self.sent = b""
        self.ended: bool | None = None
        self.was_cut = False

    @property
    def write(self) -> Callable[[bytes], None]:
        return self._write

    def _write(self, data: bytes) -> None:
        assert self.ended is None
        assert not self.was_cut
        self.sent += data

    def end(self, data: bytes, *, keep_alive: bool) -> None:
        self._write(data)
        self.ended = keep_alive

    def cut(self) -> None:
        assert self.ended is None
        self.was_cut = True


class FakePool:
    """Gives connections over fake transports: at once, later, or not at all.

    Attributes:
        reused: Connections have served a request before.
        later: Connections come when ``connect`` is called.
        refuses: There are none to be had.
    """

    def __init__(self) -> None:
        self.reused = False
        self.later = False
        self.refuses = False
        self.connections: list[UpstreamConnection] = []
        self.asked_fresh: list[bool] = []
        self.released: list[tuple[UpstreamConnection, bool]] = []
        self.taken_back = 0
        self._waiter: ConnectionWaiter | None = None

    def acquire(self, waiter: ConnectionWaiter, *, fresh: bool = False) -> Callable[[], None]:
        self.asked_fresh.append(fresh)
        self._waiter = waiter
        if self.refuses:
            waiter.on_connect_failed(OSError("refused"))
        elif not self.later:
            self.connect(reused=self.reused and not fresh)
        return self._take_back

    def connect(self, *, reused: bool = False) -> None:
        assert self._waiter is not None
        connection = UpstreamConnection(self)
        connection.reused = reused
        connection.connection_made(FakeTransport())
        self.connections.append(connection)
        self._waiter.on_connected(connection)

    def release(self, connection: UpstreamConnection, *, keep_alive: bool) -> None:
        connection.detach()
        self.released.append((connection, keep_alive))

    def on_closed(self, connection: UpstreamConnection) -> None:
        assert connection in self.connections

    def _take_back(self) -> None:
        self.taken_back += 1


class AttemptBench:
    """One attempt with everything around it in memory.

    Attributes:
        results: What the attempt reported.
        commits: How often it committed.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint = Endpoint.CHAT_COMPLETIONS,
        stream: bool = True,
        injects_usage: bool = False,
        sink: FakeSink | None = None,
        pool: FakePool | None = None,
        **timeouts: Any,
    ) -> None:
        self.clock = FakeClock()
        self.loop_time = LoopTime(self.clock, self.clock, period_seconds=0.25)
        self.loop_time.tick()
        self.sink = sink or FakeSink()
        self.pool = pool or FakePool()
        self.results: list[AttemptResult] = []
        self.commits = 0
        request = InferenceRequest(endpoint, "m", stream, None, b"{}", injects_usage)  # type: ignore[arg-type]  # a ModelName
        self.attempt = Attempt(
            Prepared(request, b"POST / HTTP/1.1\r\n\r\n", b"{}"),
            pool=self.pool,  # type: ignore[arg-type]  # the part of a pool that attempts use
            sink=self.sink,
            owner=self,
            clock=self.clock,
            loop_time=self.loop_time,
            timeouts=TimeoutSettings(**timeouts),
            whole_chunks=WholeChunks(),
        )
        self.attempt.start()

    @property
    def connection(self) -> UpstreamConnection:
        return self.pool.connections[-1]

    @property
    def transport(self) -> FakeTransport:
        transport = self.connection.transport
        assert isinstance(transport, FakeTransport)
        return transport

    @property
    def result(self) -> AttemptResult:
        [result] = self.results
        return result

    def receive(self, *reads: bytes) -> bytes:
        """The backend sends; returns everything the client has so far."""
        for data in reads:
            self.connection.data_received(data)
        return self.sink.sent

    def lose(self, error: Exception | None = None) -> None:
        """The backend's connection ends."""
        self.connection.connection_lost(error)

    def wait(self, seconds: float) -> None:
        """Time passes in which the loop runs."""
        self.clock.advance(seconds)
        self.attempt.sweep(self.loop_time.now())

    def stall(self, seconds: float) -> None:
        """Time passes in which it does not; the timer fires first after that."""
        self.clock.advance(seconds)
        self.loop_time.tick()
        self.attempt.sweep(self.loop_time.now())

    def is_paused(self) -> bool:
        """The gateway does not read from the backend."""
        return self.transport.paused

    # AttemptOwner

    def own_fields(self) -> bytes:
        return OWN_FIELDS

    def on_committed(self) -> None:
        self.commits += 1

    def on_result(self, result: AttemptResult) -> None:
        self.results.append(result)
