"""A whole gateway inside a test's own event loop, on real sockets, that must leave nothing behind.

    async with running_gateway(engine.url) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url) as client: ...
        gateway.expect(Outcome.COMPLETED)

On leaving, the block's traces are looked for: requests in progress, client and upstream
connections, queue entries, asyncio tasks and file descriptors. Whatever is left fails the test.
"""

import asyncio
import contextlib
import functools
import io
import json
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import structlog
from prometheus_client.parser import text_string_to_metric_families

from alise_core.clock import Clock
from alise_core.logs import configure_logging
from alise_core.outcome import Outcome
from alise_gateway.app import Gateway
from alise_gateway.domain.backend import Backend
from alise_gateway.settings import GatewaySettings
from fakes.clock import FakeClock

_NEVER_SECONDS = 86_400.0
"""Background loops of a test's gateway run once at the start; a test that wants more says so."""


class RunningGateway:
    """One gateway that is listening.

    Attributes:
        app: The gateway itself.
        expected_exceptions: How many defects the test provokes; each is logged once.
    """

    def __init__(self, app: Gateway, requests: io.BytesIO, logs: io.StringIO) -> None:
        self.app = app
        self.expected_exceptions = 0
        self._requests = requests
        self._logs = logs

    @property
    def port(self) -> int:
        return self.app.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sweep(self) -> None:
        """Enforce every time limit as of the clock's present reading."""
        self.app.sweep()

    def requests(self) -> list[dict[str, Any]]:
        """The log lines of finished requests, in order."""
        log = self.app._access_log
        if log is not None:
            log._flush()  # now, instead of up to 100 ms later
        return [json.loads(line) for line in self._requests.getvalue().splitlines()]

    def events(self) -> list[dict[str, Any]]:
        """All other log lines, in order."""
        return [json.loads(line) for line in self._logs.getvalue().splitlines()]

    def everything_written(self) -> str:
        """All log lines and metrics, as text: to look for what must not be there."""
        self.requests()
        return self._requests.getvalue().decode() + self._logs.getvalue() + self.metrics_text()

    def metrics_text(self) -> str:
        return self.app.status.render_metrics(None)[0].decode()

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples called ``name`` that carry these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.metrics_text())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def backend(self, name: str) -> Backend:
        return next(item for item in self.app.registry.backends if item.name == name)

    def expect(self, outcome: Outcome, **fields: Any) -> dict[str, Any]:
        """Assert how the last request ended, in its log line and in the metrics.

        Args:
            outcome: Of the last finished request.
            fields: Further fields of its log line.

        Returns: The log line.
        """
        lines = self.requests()
        assert lines, "no request has finished"
        last = lines[-1]
        shown = {name: last[name] for name in fields}
        assert (last["outcome"], shown) == (outcome, fields)
        logged = sum(line["outcome"] == outcome for line in lines)
        assert self.metric("alise_gateway_requests_total", outcome=outcome) == logged
        return last

    async def ended(self, outcome: Outcome, count: int = 1, **fields: Any) -> dict[str, Any]:
        """As ``expect``, once ``count`` requests have finished."""
        await eventually(lambda: len(self.requests()) >= count)
        assert len(self.requests()) == count
        return self.expect(outcome, **fields)


async def eventually(condition: Callable[[], object], timeout_seconds: float = 5.0) -> None:
    """Let the loop run until ``condition()`` is true; fails after the timeout.

    For what only the kernel can bring about (a peer's reset arriving, a descriptor being closed):
    nothing in the process can be awaited for it. The loop turns meanwhile, and a test that
    succeeds waits no longer than the thing itself takes.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not reached within {timeout_seconds} s")
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def running_gateway(
    *backends: str, clock: Clock | None = None, watch: Clock | None = None, **overrides: Any
) -> AsyncIterator[RunningGateway]:
    """Serve for the length of the block.

    Args:
        backends: URLs of engines; they are probed and scraped once, before the block.
        clock: Time for every limit.
        watch: By which a stall shows; without it there is none, however slow the machine is.
        overrides: Fields of ``GatewaySettings``; groups as dictionaries.
    """
    before = _Traces()
    settings = _settings(backends, overrides)
    requests, logs = io.BytesIO(), io.StringIO()
    with _captured_logging(settings.observability.log_level, logs):
        app = Gateway(settings, requests, clock, watch or FakeClock())
        app._prober._create_client = app._scraper._create_client = _probing_client
        gateway = RunningGateway(app, requests, logs)
        try:
            await app.start()
            yield gateway
            await _assert_idle(app)
        finally:
            await app.stop(drain_seconds=0.001)
    app.queue.check()
    assert app.listener.connections == 0
    await before.assert_returned()
    exceptions = [line for line in gateway.events() if "exception" in line]
    assert len(exceptions) == gateway.expected_exceptions, exceptions


@functools.cache
def _tls() -> ssl.SSLContext:
    """Loading the certificate authorities takes longer than everything else in a short test."""
    return ssl.create_default_context()


def _probing_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=_tls(), trust_env=False, timeout=5)


def _settings(backends: tuple[str, ...], overrides: dict[str, Any]) -> GatewaySettings:
    groups: dict[str, Any] = {
        "identity": {"allow_anonymous": True},
        "health": {
            "probe_interval_seconds": _NEVER_SECONDS,
            "models_interval_seconds": _NEVER_SECONDS,
            "scrape_interval_seconds": _NEVER_SECONDS,
        },
        # Only tests of predictions pay for loading a bundle.
        "predictor": {"enabled": False},
    }
    values: dict[str, Any] = {"port": 0, "backends": [{"url": url} for url in backends]}
    for name, value in overrides.items():
        values[name] = value if name != "health" else groups["health"] | value
    return GatewaySettings(**(groups | values))


@contextlib.contextmanager
def _captured_logging(level: str, stream: io.StringIO) -> Iterator[None]:
    root = logging.getLogger()
    handlers, before = root.handlers[:], root.level
    configure_logging(level, stream)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)
        structlog.reset_defaults()


async def _assert_idle(app: Gateway) -> None:
    """Everything that a request holds is given back when it ends, not when the process does."""

    def held() -> dict[str, int]:
        counts = [pool.counts for pool in app.pools.values()]
        return {
            "requests in progress": app.pipeline.active,
            "queued requests": app.queue.waiting,
            "requests in flight": app.queue.in_flight,
            "requests on backends": sum(backend.in_flight for backend in app.registry.backends),
            "client connections": app.listener.connections,
            "busy upstream connections": sum(count.busy for count in counts),
            "dialled upstream connections": sum(count.connecting for count in counts),
        }

    with contextlib.suppress(AssertionError):
        await eventually(lambda: not any(held().values()))
    assert {name: count for name, count in held().items() if count} == {}
    app.queue.check()


class _Traces:
    """Tasks and file descriptors at one moment."""

    def __init__(self) -> None:
        self._tasks = asyncio.all_tasks()
        self._descriptors = _descriptors()

    async def assert_returned(self) -> None:
        """Fails unless everything that has been opened since is closed."""
        with contextlib.suppress(AssertionError):
            await eventually(lambda: not self._new_tasks() and not self._new_descriptors())
        assert self._new_tasks() == set()
        assert self._new_descriptors() == {}

    def _new_tasks(self) -> "set[asyncio.Task[Any]]":
        # A fixture is torn down by another task than the one that set it up.
        mine = {asyncio.current_task()}
        return {task for task in asyncio.all_tasks() - self._tasks - mine if not task.done()}

    def _new_descriptors(self) -> dict[int, str]:
        now = _descriptors()
        return {number: now[number] for number in now.keys() - self._descriptors.keys()}


def _descriptors() -> dict[int, str]:
    """Open file descriptors of this process and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own, already closed
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found
