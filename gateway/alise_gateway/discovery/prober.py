"""Active probing: asks every backend how it is and what it serves, and tells the registry.

Each backend has a task of its own, so one that hangs delays nobody else. A probe asks, in this
order:

``/health``
    vLLM answers 200 while its engine lives.
``/alise/ready``
    Where the drain middleware of the engine plugin is installed: 503 means that no new request may
    come (``/health`` stays 200 while vLLM drains). Any answer other than 200 and 503 means that it
    is not installed; that is remembered until the backend recovers or the models are due.
``/v1/models``
    At first, after every recovery, and every ``models_interval_seconds``.

A backend becomes healthy when all that was asked was answered well, so a healthy backend's models
are known. Only changes of state are logged.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import structlog

from alise_core.clock import Clock
from alise_core.errors import WireError
from alise_gateway.discovery.catalogue import parse_models
from alise_gateway.discovery.health import Health, ProbeResult, after_probe
from alise_gateway.discovery.probe import ClientFactory, ProbeFailed, create_client, fetch
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.domain.backend import Backend, ProbeState
from alise_gateway.settings import HealthSettings

_JITTER_RATIO = 0.1
"""Replicas of the gateway that start together must not probe together for ever."""
_STATES = {
    ProbeResult.PASSED: ProbeState.HEALTHY,
    ProbeResult.DRAINING: ProbeState.DRAINING,
    ProbeResult.FAILED: ProbeState.UNHEALTHY,
}


@dataclass(slots=True)
class _Watch:
    """What the prober remembers of one backend."""

    backend: Backend
    health: Health = field(default_factory=Health)
    models_due_at: float = 0.0
    has_ready_route: bool | None = None
    """``None``: not asked yet, or to be asked again."""
    probed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class Pacing:
    """How the prober waits; injected, so that tests need not.

    Attributes:
        sleep: Waits some seconds.
        jitter: A number in [0, 1) that spreads probes of several gateways.
    """

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


class Prober:
    """Keeps the registry's probe states and model lists true.

    Args:
        registry: Whose backends are probed; additions and removals are followed.
        settings: Intervals and limits.
        clock: Decides when models are due.
        create_client: Makes the HTTP client; called by ``start``.
        pacing: How to wait.

    Attributes:
        on_probed: Told the backend's name and the result of every probe; for metrics.
    """

    def __init__(
        self,
        registry: BackendRegistry,
        settings: HealthSettings,
        clock: Clock,
        create_client: ClientFactory = create_client,
        pacing: Pacing | None = None,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._clock = clock
        self._create_client = create_client
        self._pacing = pacing or Pacing()
        self._client: httpx.AsyncClient | None = None
        self._watches: dict[Backend, _Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsubscribe: Callable[[], None] | None = None
        self.on_probed: Callable[[str, ProbeState], None] = _nobody_counts
        self._log = structlog.get_logger("alise_gateway.discovery")

    async def start(self) -> None:
        """Begin to probe every backend at once, and those that are added later."""
        if self._client is not None:
            return
        self._client = self._create_client()
        self._unsubscribe = self._registry.subscribe(self._follow_membership)
        self._follow_membership()

    async def first_round(self) -> None:
        """Wait until every backend that is known now has been probed once, well or not."""
        for watch in tuple(self._watches.values()):
            await watch.probed.wait()

    async def stop(self) -> None:
        """End all probing and close connections; may be called twice."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        watches, self._watches = self._watches, {}
        for watch in watches.values():
            self._end(watch)
        # Includes the tasks of backends that were removed just now.
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _follow_membership(self) -> None:
        client = self._client
        if client is None:
            return
        current = set(self._registry.backends)
        for backend in [known for known in self._watches if known not in current]:
            self._end(self._watches.pop(backend))
        for backend in self._registry.backends:
            if backend not in self._watches:
                watch = self._watches[backend] = _Watch(backend)
                watch.task = asyncio.create_task(
                    self._keep_probing(watch, client), name=f"probe-{backend.name}"
                )
                self._tasks.add(watch.task)
                watch.task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _end(watch: _Watch) -> None:
        watch.probed.set()
        if watch.task is not None:
            watch.task.cancel()

    async def _keep_probing(self, watch: _Watch, client: httpx.AsyncClient) -> None:
        interval = self._settings.probe_interval_seconds
        while True:
            try:
                await self._probe(watch, client)
            except Exception:
                # The boundary of a background loop: the next probe starts afresh.
                self._log.exception("probe_crashed", backend=watch.backend.name)
            watch.probed.set()
            spread = _JITTER_RATIO * (2 * self._pacing.jitter() - 1)
            await self._pacing.sleep(interval * (1 + spread))

    async def _probe(self, watch: _Watch, client: httpx.AsyncClient) -> None:
        if watch.health.is_recovering:
            watch.has_ready_route = None
            watch.models_due_at = self._clock.now()
        reason = None
        try:
            result = await self._ask(watch, client)
        except ProbeFailed as error:
            result, reason = ProbeResult.FAILED, str(error)
        self.on_probed(watch.backend.name, _STATES[result])
        watch.health = after_probe(watch.health, result, self._settings.unhealthy_after_failures)
        before = watch.backend.probe
        self._registry.set_probe(watch.backend, watch.health.state, reason)
        if watch.health.state is not before:
            self._log_change(watch.backend, before)

    async def _ask(self, watch: _Watch, client: httpx.AsyncClient) -> ProbeResult:
        status, _ = await self._get(watch, client, "/health")
        if not httpx.codes.is_success(status):
            raise ProbeFailed(f"GET /health answered {status}")
        models_due = self._clock.now() >= watch.models_due_at
        if models_due:
            watch.has_ready_route = None
        if watch.has_ready_route is not False and await self._is_draining(watch, client):
            return ProbeResult.DRAINING
        if models_due:
            await self._read_models(watch, client)
        return ProbeResult.PASSED

    async def _is_draining(self, watch: _Watch, client: httpx.AsyncClient) -> bool:
        status, _ = await self._get(watch, client, "/alise/ready")
        is_draining = status == httpx.codes.SERVICE_UNAVAILABLE
        watch.has_ready_route = is_draining or status == httpx.codes.OK
        return is_draining

    async def _read_models(self, watch: _Watch, client: httpx.AsyncClient) -> None:
        status, body = await self._get(watch, client, "/v1/models")
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise ProbeFailed(f"GET /v1/models answered {status}; check the backend's api_key_file")
        if status != httpx.codes.OK:
            raise ProbeFailed(f"GET /v1/models answered {status}")
        try:
            models = parse_models(body)
        except WireError as error:
            raise ProbeFailed(f"GET /v1/models: {error}") from error
        self._registry.set_models(watch.backend, models)
        watch.models_due_at = self._clock.now() + self._settings.models_interval_seconds

    async def _get(self, watch: _Watch, client: httpx.AsyncClient, path: str) -> tuple[int, bytes]:
        limit = self._settings.probe_timeout_seconds
        return await fetch(client, watch.backend.address, path, limit)

    def _log_change(self, backend: Backend, before: ProbeState) -> None:
        is_bad = backend.probe is ProbeState.UNHEALTHY
        log = self._log.warning if is_bad else self._log.info
        log(
            "backend_state_changed",
            backend=backend.name,
            before=before.value,
            now=backend.probe.value,
            reason=backend.probe_error,
            models=len(backend.models),
        )


def _nobody_counts(backend: str, result: ProbeState) -> None:
    """Until somebody wants to know."""
