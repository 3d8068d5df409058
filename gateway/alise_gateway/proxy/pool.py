"""Connections to one backend, kept open between requests.

Last in, first out: the connection used most recently is the least likely to have been closed by
the backend. Idle ones are closed before uvicorn's own keep-alive would (see ``sweep``).
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from alise_core.clock import Clock
from alise_gateway.domain.backend import BackendAddress
from alise_gateway.proxy.connection import UpstreamConnection
from alise_gateway.settings import UpstreamSettings


class ConnectionWaiter(Protocol):
    """Who asked for a connection."""

    def on_connected(self, connection: UpstreamConnection) -> None:
        """Here it is."""
        ...

    def on_connect_failed(self, error: OSError) -> None:
        """There is none to be had."""
        ...


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """Connections by what they do."""

    idle: int
    busy: int
    connecting: int


class UpstreamPool:
    """Connections to one backend; used on the event loop only."""

    def __init__(self, address: BackendAddress, settings: UpstreamSettings, clock: Clock) -> None:
        self.address = address
        self._settings = settings
        self._clock = clock
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._tls = ssl.create_default_context() if address.tls else None
        self._closed = False

    @property
    def counts(self) -> PoolCounts:
        """For metrics."""
        idle = len(self._idle)
        return PoolCounts(idle, len(self._open) - idle, len(self._dials))

    def acquire(self, waiter: ConnectionWaiter, *, fresh: bool = False) -> Callable[[], None]:
        """Give ``waiter`` a connection, at once when one is idle.

        Args:
            waiter: Called back exactly once unless the request is taken back.
            fresh: Never an idle connection: the last one turned out to be stale.

        Returns: Takes the request back while it is still being dialled.
        """
        while self._idle and not fresh:
            connection = self._idle.pop()
            if not connection.closed and not connection.transport.is_closing():
                waiter.on_connected(connection)
                return _nothing
        if self._closed:
            waiter.on_connect_failed(OSError("the backend was removed"))
            return _nothing
        if len(self._open) + len(self._dials) >= self._settings.max_connections:
            waiter.on_connect_failed(OSError("connection limit of this backend is reached"))
            return _nothing
        task = asyncio.get_running_loop().create_task(self._dial(waiter))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)
        return task.cancel  # type: ignore[return-value]  # its result does not matter

    def release(self, connection: UpstreamConnection, *, keep_alive: bool) -> None:
        """Take a connection back whose answer has been read completely."""
        connection.detach()
        reusable = keep_alive and not self._closed and not connection.transport.is_closing()
        if not reusable or len(self._idle) >= self._settings.max_idle_connections:
            connection.close()
            return
        connection.idle_since = self._clock.now()
        self._idle.append(connection)

    def sweep(self, now: float) -> None:
        """Close connections that have been idle for too long; called a few times a second."""
        oldest_allowed = now - self._settings.idle_connection_seconds
        while self._idle and self._idle[0].idle_since < oldest_allowed:
            self._idle.pop(0).close()

    def close(self) -> None:
        """Close idle connections and stop dialling; busy ones close as they finish."""
        self._closed = True
        for task in tuple(self._dials):
            task.cancel()
        while self._idle:
            self._idle.pop().close()

    def abort(self) -> None:
        """Close everything now."""
        self.close()
        for connection in tuple(self._open):
            connection.abort()

    def on_closed(self, connection: UpstreamConnection) -> None:
        """A connection is gone; called by itself."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def _dial(self, waiter: ConnectionWaiter) -> None:
        loop = asyncio.get_running_loop()
        connection = UpstreamConnection(self)
        try:
            await loop.create_connection(
                lambda: connection, self.address.host, self.address.port, ssl=self._tls
            )
        except OSError as error:
            self._dial_is_over()
            waiter.on_connect_failed(error)
        except asyncio.CancelledError:
            connection.abort()  # it may have opened in the same moment
            if self._closed:
                waiter.on_connect_failed(OSError("the backend was removed"))
            raise
        else:
            self._dial_is_over()
            self._open.add(connection)
            waiter.on_connected(connection)

    def _dial_is_over(self) -> None:
        """The task goes on into its waiter, who may ask again and must not count twice."""
        task: asyncio.Task[None] | None = asyncio.current_task()
        if task is not None:
            self._dials.discard(task)


def _nothing() -> None:
    """There is no dial to take back."""
