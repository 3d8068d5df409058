"""The admin port: control endpoints and ``/alise/`` on a listener that clients cannot reach."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

from fastapi import FastAPI

from alise_core.errors import ConfigError


class AdminServer:
    """uvicorn on a socket of our own; opened only where an admin port is configured.

    Args:
        create_app: Builds the application; called by ``open``.
    """

    def __init__(self, create_app: Callable[[], FastAPI]) -> None:
        self._create_app = create_app
        self._task: asyncio.Task[None] | None = None
        self.port: int | None = None

    async def open(self, host: str, port: int) -> None:
        """Start to serve.

        Raises:
            ConfigError: The address cannot be had.
        """
        import uvicorn  # noqa: PLC0415  not loaded into gateways without an admin port

        class _Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                """Signals belong to the process, not to this listener."""
                yield

        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            # Now, so that nobody is refused between the port being announced and the server's
            # first step.
            listening.listen()
        except OSError as error:
            listening.close()
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another --admin-port"
            ) from error
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            self._create_app(),
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        self._server = server
        self._task = asyncio.create_task(server.serve(sockets=[listening]), name="admin-server")

    async def close(self) -> None:
        """Stop serving; may be called without ``open``."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task
            self._task = None
