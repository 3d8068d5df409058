"""An open loop over several servers: the load generator is the load balancer.

Requests leave at given times, whether or not earlier ones have ended; each goes to the next server
in turn or to the one with the fewest of them, so that no further process takes part. With one
server it is a plain client. Every request has a connection of its own: servers close idle ones, and
one that is closed while a request is on its way says nothing of the server.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from alise_bench.load.connection import Connection
from alise_bench.load.loops import garbage_collection_off
from alise_bench.load.request import Address, LoadRequest
from alise_bench.load.result import ErrorKind, RequestResult


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancedPlan:
    """What is sent where and when.

    Attributes:
        servers: Where to; at least one.
        takes_turns: Servers in turn; the one with the fewest requests otherwise.
        offsets: When, in seconds after the start, ascending.
        drain_seconds: For how long requests may take after the last one was sent.
    """

    servers: Sequence[Address]
    takes_turns: bool
    offsets: Sequence[float]
    drain_seconds: float = 120.0


@dataclass(slots=True)
class BalancedRun:
    """What came of it.

    Attributes:
        begin: The clock's mark of the start.
        results: One for each request, in the order of their ends.
        servers: Which server each request went to, by its number.
        lateness_seconds: How far the worst request was sent behind its time.
    """

    begin: float
    results: list[RequestResult] = field(default_factory=list)
    servers: dict[int, int] = field(default_factory=dict)
    lateness_seconds: float = 0.0


Make = Callable[[int, Address], LoadRequest]
"""Gives the request with a number, for a server; quick, for it is called in the loop."""


async def run_balanced(plan: BalancedPlan, make: Make, now: Callable[[], float]) -> BalancedRun:
    """Send everything, and wait for the answers.

    Args:
        plan: Servers and times.
        make: Gives requests.
        now: Monotonic seconds.
    """
    with garbage_collection_off():
        load = _Load(plan, make, now)
        for number, offset in enumerate(plan.offsets):
            delay = load.run.begin + offset - now()
            if delay > 0:
                await asyncio.sleep(delay)
            late = now() - load.run.begin - offset
            load.run.lateness_seconds = max(load.run.lateness_seconds, late)
            load.send(number)
        await load.finish(plan.drain_seconds)
    return load.run


@dataclass(slots=True)
class _Server:
    number: int
    address: Address
    outstanding: int = 0


class _Load:
    """Connections and counts; everything happens on the event loop's thread."""

    def __init__(self, plan: BalancedPlan, make: Make, now: Callable[[], float]) -> None:
        self.run = BalancedRun(now())
        self._servers = [_Server(place, it) for place, it in enumerate(plan.servers)]
        self._takes_turns = plan.takes_turns
        self._make = make
        self._now = now
        self._turn = 0
        self._homes: dict[Connection, _Server] = {}
        self._dials: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    def send(self, number: int) -> None:
        """Choose a server, connect and send."""
        server = self._choose()
        server.outstanding += 1
        self.run.servers[number] = server.number
        task = asyncio.create_task(self._dial(number, server))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def finish(self, seconds: float) -> None:
        """Wait for the answers, at most so long; what is left counts as unfinished."""
        try:
            async with asyncio.timeout(seconds):
                while len(self.run.results) < len(self.run.servers):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            for task in self._dials:
                task.cancel()
            await asyncio.gather(*self._dials, return_exceptions=True)
        for connection in list(self._homes):
            connection.abandon()
        await asyncio.sleep(0)  # lets the transports notice that they are gone

    def _choose(self) -> _Server:
        servers = self._servers
        start, self._turn = self._turn, (self._turn + 1) % len(servers)
        if self._takes_turns:
            return servers[start]
        return min([*servers[start:], *servers[:start]], key=lambda server: server.outstanding)

    async def _dial(self, number: int, server: _Server) -> None:
        connection = Connection(self._now, self._done, self._lost)
        self._homes[connection] = server
        address = server.address
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: connection, address.host, address.port
            )
        except OSError:
            del self._homes[connection]
            failed = RequestResult(number, self._now(), 0.0, 0.0, 0, 0, 0, None, ErrorKind.CONNECT)
            self._record(failed, server)
            return
        connection.send(number, self._make(number, address))

    def _done(self, connection: Connection, result: RequestResult) -> None:
        self._record(result, self._homes[connection])
        connection.close()

    def _lost(self, connection: Connection) -> None:
        self._homes.pop(connection, None)

    def _record(self, result: RequestResult, server: _Server) -> None:
        server.outstanding -= 1
        self.run.results.append(result)
        self._changed.set()
