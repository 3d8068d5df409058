"""``/healthz``, ``/readyz`` and ``/metrics``: for kubelets and Prometheus, without credentials."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from alise_core.errors import ConfigError


class ProbeServer:
    """A small HTTP server.

    Args:
        registry: Behind ``/metrics``.
        unready: Why it does not do its part yet; empty once it does.

    Attributes:
        port: On which it listens; ``None`` before ``open``.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        unready: Callable[[], str],
    ) -> None:
        self._registry = registry
        self._unready = unready
        self._runner: web.AppRunner | None = None
        self.port: int | None = None

    async def open(self, host: str, port: int) -> None:
        """Start to serve.

        Raises:
            ConfigError: The address cannot be had.
        """
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another --metrics-port"
            ) from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def close(self) -> None:
        """Stop serving; may be called without ``open``."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return _verdict("")  # whoever answers lives: a task that crashes ends the process

    async def _readyz(self, request: web.Request) -> web.Response:
        del request
        return _verdict(self._unready())

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return web.Response(body=encode(self._registry), headers={"content-type": content_type})


def _verdict(problem: str) -> web.Response:
    return web.json_response({"status": problem or "ok"}, status=503 if problem else 200)
