"""The inference port: accepts connections, sweeps their time limits, closes them at the end."""

import asyncio
from collections.abc import Callable

import structlog

from alise_core.clock import Clock
from alise_core.errors import ConfigError, Rejected
from alise_core.outcome import Outcome
from alise_gateway.intake.connection import ClientConnection
from alise_gateway.intake.handler import RequestHandler
from alise_gateway.intake.replies import error_body, error_fields, reply
from alise_gateway.settings import LimitSettings, TimeoutSettings

_BACKLOG = 4_096
_LOG = structlog.get_logger(__name__)


class Listener:
    """Owns the listening socket and every client connection.

    Args:
        handler: Takes the requests.
        limits: What clients may send, and how many may connect.
        timeouts: How long they may take.
        clock: For all of these.
    """

    def __init__(
        self,
        handler: RequestHandler,
        limits: LimitSettings,
        timeouts: TimeoutSettings,
        clock: Clock,
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._timeouts = timeouts
        self._clock = clock
        self._connections: set[ClientConnection] = set()
        self._server: asyncio.Server | None = None
        self._on_empty: Callable[[], None] | None = None

    @property
    def connections(self) -> int:
        """Open client connections."""
        return len(self._connections)

    @property
    def port(self) -> int:
        """The port that is really listened on; 0 before ``open``."""
        if self._server is None or not self._server.sockets:
            return 0
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def open(self, host: str, port: int) -> None:
        """Start to accept.

        Raises:
            ConfigError: The address cannot be had.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._accept, host, port, backlog=_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; "
                "choose another --host or --port"
            ) from error

    def sweep(self, now: float) -> None:
        """Enforce time limits; called a few times a second."""
        for connection in tuple(self._connections):
            try:
                connection.sweep(now)
            except Exception:
                # Boundary of a background loop: one connection's defect must not stop the
                # time limits of all others.
                _LOG.exception("connection_sweep_failed")
                connection.abort()

    def shut_down_idle(self) -> None:
        """Close idle connections; busy ones close after their answer."""
        for connection in tuple(self._connections):
            connection.shut_down()

    async def close(self, patience_seconds: float) -> None:
        """Stop accepting; give replies on their way a moment, then cut what is left."""
        if self._server is not None:
            self._server.close()
        if self._connections:
            empty = asyncio.Event()
            self._on_empty = empty.set
            try:
                async with asyncio.timeout(patience_seconds):
                    await empty.wait()
            except TimeoutError:
                for connection in tuple(self._connections):
                    connection.abort()
                await empty.wait()
        if self._server is not None:
            await self._server.wait_closed()

    def _accept(self) -> asyncio.Protocol:
        if len(self._connections) >= self._limits.max_connections:
            return _Overflow()
        connection = ClientConnection(
            self._handler, self._limits, self._timeouts, self._clock, self._forget
        )
        self._connections.add(connection)
        return connection

    def _forget(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        if not self._connections and self._on_empty is not None:
            self._on_empty()


class _Overflow(asyncio.Protocol):
    """A connection beyond the limit: it is told so and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        error = Rejected(
            "The gateway has too many open connections; please retry later.",
            outcome=Outcome.REJECTED_SATURATED,
            status=503,
            retry_after_seconds=1,
        )
        body = error_body(error, None)
        writable: asyncio.Transport = transport  # type: ignore[assignment]  # typed by its base
        writable.write(reply(error.status, error_fields(error), body, keep_alive=False))
        writable.close()
