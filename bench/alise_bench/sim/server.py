"""Listens, runs the engine's loop, and ends as vLLM ends.

``EngineServer`` is one engine in the running event loop. ``terminate`` is what SIGTERM does:
without a shutdown timeout streams end abruptly and unfinished; with one, requests in flight
finish while ``/health`` stays 200 and new requests are answered 500.
"""

import asyncio
import contextlib
import email.utils

from uvicorn.config import Config
from uvicorn.server import ServerState

from alise_bench.sim.app import EngineApp
from alise_bench.sim.config import EngineConfig
from alise_bench.sim.engine import Engine, Pacer
from alise_bench.sim.exchange import SimProtocol
from alise_bench.sim.faults import FaultPlan
from alise_core.clock import Clock, MonotonicClock
from alise_core.errors import ConfigError

BACKLOG = 2048
DATE_SECONDS = 1.0
"""How often the ``date`` header is renewed, as in uvicorn."""


class EngineServer:
    """One simulated engine with its socket.

    Args:
        config: What to simulate.
        clock: Time; the process's unless given.
        pacer: How the engine lets time pass; real sleeping unless given.
    """

    def __init__(
        self, config: EngineConfig, clock: Clock | None = None, pacer: Pacer | None = None
    ) -> None:
        self.config = config
        self._clock: Clock = MonotonicClock() if clock is None else clock
        self._pacer = pacer
        self.faults = FaultPlan(config.faults)
        self.port = config.port
        self._state = ServerState()
        self._listener: asyncio.Server | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._date_timer: asyncio.TimerHandle | None = None
        self._build()

    def _build(self) -> None:
        config = self.config
        self.engine = Engine(
            config.model,
            config.timing,
            config.scheduler,
            self._clock,
            config.admission,
            self._pacer,
        )
        self.app = EngineApp(config, self.engine, self.faults, self._clock)

    @property
    def url(self) -> str:
        """Base address, without a path."""
        return f"http://{self.config.host}:{self.port}"

    @property
    def connections(self) -> int:
        """Open client connections, idle ones included."""
        return len(self._state.connections)

    async def start(self) -> None:
        """Listen and begin stepping; after :meth:`stop`, a fresh engine on the same port.

        Raises:
            ConfigError: The address cannot be bound.
        """
        if self._listener is not None:
            raise RuntimeError("already started")
        if self._state.total_requests or self.engine.steps:
            self._build()
        self._state = ServerState()
        loop = asyncio.get_running_loop()
        uvicorn_config = Config(
            self.app, log_config=None, access_log=False, ws="none", lifespan="off"
        )
        uvicorn_config.load()

        def protocol() -> SimProtocol:
            made = SimProtocol(uvicorn_config, self._state, {}, loop)
            made.refuses = self._refuses
            return made

        try:
            self._listener = await loop.create_server(
                protocol, self.config.host, self.port, backlog=BACKLOG
            )
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self.config.host}:{self.port}: {error.strerror}; "
                "choose another --port or stop what uses it"
            ) from error
        self.port = self._listener.sockets[0].getsockname()[1]
        self._renew_date(loop)
        self._loop_task = loop.create_task(self.engine.run(), name="engine-loop")

    async def failed(self) -> None:
        """Wait for the engine's loop, which ends by failing only.

        Raises:
            Exception: What ended it.
        """
        if self._loop_task is not None:
            await asyncio.shield(self._loop_task)

    async def terminate(self) -> None:
        """Do what SIGTERM does, then :meth:`stop`."""
        self.app.control.shut_down = True
        if self.config.shutdown_timeout_seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.app.idle.wait(), self.config.shutdown_timeout_seconds)
        await self.stop()

    async def stop(self) -> None:
        """Close the socket and every connection, at once; returns when nothing is left."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._state.connections):
            connection.transport.abort()
        tasks = set(self._state.tasks)
        if tasks:
            await asyncio.wait(tasks)
        if self._listener is not None:
            await self._listener.wait_closed()
            self._listener = None
        if self._date_timer is not None:
            self._date_timer.cancel()
        if self._loop_task is not None:
            self._loop_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop_task
            self._loop_task = None

    def _refuses(self) -> bool:
        return self.faults.for_connection() is not None

    def _renew_date(self, loop: asyncio.AbstractEventLoop) -> None:
        date = email.utils.formatdate(self._clock.unix(), usegmt=True).encode()
        self._state.default_headers[:] = [(b"date", date), (b"server", b"uvicorn")]
        self._date_timer = loop.call_later(DATE_SECONDS, self._renew_date, loop)
