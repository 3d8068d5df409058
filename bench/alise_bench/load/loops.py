"""Closed and open loops over many connections, without a task per request.

Closed loop: a fixed number of clients, each sends its next request when the last one ended.
Open loop: requests leave at given times, whether or not earlier ones ended.
Both are bounded in count and in time: nothing starts after ``issue_seconds``, and whatever is
still running ``drain_seconds`` later is abandoned and reported as unfinished.
"""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from alise_bench.load.connection import Connection
from alise_bench.load.request import Address, LoadRequest
from alise_bench.load.result import ErrorKind, LoadRun, RequestResult

_MAX_ISSUE_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """How much a closed loop sends.

    Attributes:
        concurrency: Clients, that is connections.
        count: Requests in all.
        issue_seconds: No request starts later than this.
        drain_seconds: How long the last ones may take after that.
        ramp_seconds: The clients' first requests are spread evenly over this time.
    """

    concurrency: int
    count: int
    issue_seconds: float
    drain_seconds: float = 30.0
    ramp_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """When an open loop sends.

    Attributes:
        offsets: Planned arrivals, seconds after the start, ascending.
        drain_seconds: How long requests may take after the last arrival.
        max_connections: Arrivals that would need more fail at once with a connect error.
    """

    offsets: Sequence[float]
    drain_seconds: float = 60.0
    max_connections: int = 4_096


@contextmanager
def garbage_collection_off() -> Iterator[None]:
    """Measure without collector pauses of the load generator itself."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


async def run_closed(
    address: Address,
    make: Callable[[int], LoadRequest],
    plan: ClosedLoop,
    now: Callable[[], float],
) -> LoadRun:
    """Run a closed loop to its end.

    Args:
        address: The server.
        make: Gives the request with an index; called in the loop, so it returns quickly.
        plan: Amounts.
        now: Monotonic seconds.
    """
    run = _Run(address, now, make, plan.count)
    run.issues_next = True
    with garbage_collection_off():
        await run.open(min(plan.concurrency, plan.count))
        begin = now()
        run.stop_at = begin + plan.issue_seconds
        step = plan.ramp_seconds / plan.concurrency
        for position, connection in enumerate(list(run.connections)):
            run.start_later(position * step, connection)
        await run.wait(plan.issue_seconds + plan.drain_seconds)
        return LoadRun(run.results, now() - begin)


async def run_open(
    address: Address,
    make: Callable[[int], LoadRequest],
    plan: OpenLoop,
    now: Callable[[], float],
    observe: Callable[[RequestResult], None] | None = None,
) -> LoadRun:
    """Run an open loop to its end.

    Args:
        address: The server.
        make: Gives the request with an index.
        plan: Arrivals.
        now: Monotonic seconds.
        observe: Called with every result as it comes, for a progress display.

    Raises:
        ValueError: The offsets are not ascending or reach beyond an hour.
    """
    offsets = list(plan.offsets)
    if offsets != sorted(offsets) or (offsets and offsets[-1] > _MAX_ISSUE_SECONDS):
        raise ValueError("offsets must ascend and end within an hour")
    run = _Run(address, now, make, len(offsets))
    run.observe = observe
    run.max_connections = plan.max_connections
    with garbage_collection_off():
        begin = now()
        for offset in offsets:
            delay = begin + offset - now()
            if delay > 0:
                await asyncio.sleep(delay)
            run.lateness = max(run.lateness, now() - begin - offset)
            run.issue()
        await run.wait(plan.drain_seconds)
        return LoadRun(run.results, now() - begin, run.lateness)


class _Run:
    """The connections and results of one run; everything happens on the event loop's thread."""

    def __init__(
        self,
        address: Address,
        now: Callable[[], float],
        make: Callable[[int], LoadRequest],
        count: int,
    ) -> None:
        self.address = address
        self.results: list[RequestResult] = []
        self.connections: dict[Connection, None] = {}
        self.observe: Callable[[RequestResult], None] | None = None
        self.issues_next = False
        self.stop_at = float("inf")
        self.lateness = 0.0
        self.max_connections = 1 << 20
        self._now = now
        self._make = make
        self._count = count
        self._issued = 0
        self._pending = 0
        """Clients of a closed loop that have not started, plus requests in flight."""
        self._idle: list[Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def open(self, wanted: int) -> None:
        """Connect before the clock runs; a refused connection is met again when it is used."""
        for _ in range(wanted):
            connection = self._connection()
            await self._dial(connection)
            self.connections[connection] = None

    def start_later(self, delay: float, connection: Connection) -> None:
        """Let one client of a closed loop begin."""
        self._pending += 1
        asyncio.get_running_loop().call_later(delay, self._begin, connection)

    def issue(self) -> None:
        """Send the next request of an open loop on an idle or a new connection."""
        index, self._issued = self._issued, self._issued + 1
        self._pending += 1
        if self._idle:
            self._idle.pop().send(index, self._make(index))
        elif len(self.connections) >= self.max_connections:
            self._fail(index)
        else:
            connection = self._connection()
            self.connections[connection] = None
            self._spawn(connection, index)

    async def wait(self, seconds: float) -> None:
        """Wait until nothing is pending, at most ``seconds``; then end every connection."""
        try:
            async with asyncio.timeout(seconds):
                while self._pending:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self.stop_at = 0.0
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.issues_next = False
        for connection in list(self.connections):
            connection.abandon()
        await asyncio.sleep(0)  # lets the transports report that they are gone

    def _begin(self, connection: Connection) -> None:
        self._pending -= 1
        self._next(connection)
        self._changed.set()

    def _next(self, connection: Connection) -> None:
        if self._issued >= self._count or self._now() >= self.stop_at:
            connection.close()
            return
        index, self._issued = self._issued, self._issued + 1
        self._pending += 1
        if connection.usable:
            connection.send(index, self._make(index))
        else:
            connection.close()
            self.connections.pop(connection, None)
            fresh = self._connection()
            self.connections[fresh] = None
            self._spawn(fresh, index)

    def _connection(self) -> Connection:
        return Connection(self._now, self._on_done, self._on_lost)

    def _spawn(self, connection: Connection, index: int) -> None:
        task = asyncio.create_task(self._dial_and_send(connection, index))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial_and_send(self, connection: Connection, index: int) -> None:
        if await self._dial(connection):
            connection.send(index, self._make(index))
        else:
            self.connections.pop(connection, None)
            self._fail(index)

    async def _dial(self, connection: Connection) -> bool:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: connection, self.address.host, self.address.port)
        except OSError:
            return False
        return True

    def _fail(self, index: int) -> None:
        self._record(RequestResult(index, self._now(), 0.0, 0.0, 0, 0, 0, None, ErrorKind.CONNECT))

    def _on_done(self, connection: Connection, result: RequestResult) -> None:
        if not self.issues_next and connection.usable:
            self._idle.append(connection)
        self._record(result)
        if self.issues_next:
            self._next(connection)

    def _on_lost(self, connection: Connection) -> None:
        self.connections.pop(connection, None)
        if connection in self._idle:
            self._idle.remove(connection)

    def _record(self, result: RequestResult) -> None:
        self.results.append(result)
        self._pending -= 1
        if not self._pending:
            self._changed.set()
        if self.observe is not None:
            self.observe(result)
