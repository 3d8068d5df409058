"""Active probing: asks every backend how it is and what it serves, and tells the registry.

A probe asks, in this order:

``/health``
    vLLM answers 200 while its engine lives.
``/alise/ready``
    Where the drain middleware of the engine plugin is installed: 503 means that no new request may
    come (``/health`` stays 200 while vLLM drains). Any answer other than 200 and 503, and none in
    time, means that it is not installed; that is remembered until the backend recovers or the
    models are due. One that has answered before and does not in time is taken to be as it was.
``/v1/models``
    At first, after every recovery, and every ``models_interval_seconds``.

A backend becomes healthy when all that was asked was answered well, so a healthy backend's models
are known. Only changes of state are logged.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from alise_core.clock import Clock
from alise_core.errors import WireError
from alise_gateway.discovery.catalogue import parse_models
from alise_gateway.discovery.health import Health, ProbeResult, after_probe
from alise_gateway.discovery.plugin import NO_ROUTE, PluginAnswer, parse_ready
from alise_gateway.discovery.probe import ClientFactory, ProbeFailed, fetch
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.discovery.rounds import BackendRounds, Pacing
from alise_gateway.domain.backend import Backend, ProbeState
from alise_gateway.settings import HealthSettings

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
    plugin: PluginAnswer | None = None
    """Of the engine plugin; ``None``: not asked yet, or to be asked again."""


class Prober(BackendRounds[_Watch]):
    """Keeps the registry's probe states and model lists true.

    Args:
        registry: Whose backends are probed; additions and removals are followed.
        settings: Intervals and limits.
        clock: Decides when models are due.
        create_client: Makes the HTTP client of one backend; the usual ones by default.
        pacing: How to wait.

    Attributes:
        on_probed: Told the backend's name and the result of every probe; for metrics.
    """

    asking = "probe"

    def __init__(
        self,
        registry: BackendRegistry,
        settings: HealthSettings,
        clock: Clock,
        create_client: ClientFactory | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        super().__init__(registry, settings.probe_interval_seconds, create_client, pacing)
        self._settings = settings
        self._clock = clock
        self.on_probed: Callable[[str, ProbeState], None] = _nobody_counts

    def _remember(self, backend: Backend) -> _Watch:
        return _Watch(backend)

    async def _ask(self, memory: _Watch, client: httpx.AsyncClient) -> None:
        watch = memory
        if watch.health.is_recovering:
            watch.plugin = None
            watch.models_due_at = self._clock.now()
        reason = None
        try:
            result = await self._probe(watch, client)
        except ProbeFailed as error:
            result, reason = ProbeResult.FAILED, str(error)
        self.on_probed(watch.backend.name, _STATES[result])
        watch.health = after_probe(watch.health, result, self._settings.unhealthy_after_failures)
        before = watch.backend.probe
        self._registry.set_probe(watch.backend, watch.health.state, reason)
        if watch.health.state is not before:
            self._log_change(watch.backend, before)

    async def _probe(self, watch: _Watch, client: httpx.AsyncClient) -> ProbeResult:
        status, _ = await self._get(watch, client, "/health")
        if not httpx.codes.is_success(status):
            raise ProbeFailed(f"GET /health answered {status}")
        models_due = self._clock.now() >= watch.models_due_at
        plugin = watch.plugin
        if models_due or plugin is None or plugin.has_route:
            plugin = watch.plugin = await self._ask_plugin(watch, client)
            watch.backend.has_plugin = plugin.has_plugin
            watch.backend.admission.orders_itself = plugin.orders_itself
        if plugin.is_draining:
            return ProbeResult.DRAINING
        if models_due:
            await self._read_models(watch, client)
        return ProbeResult.PASSED

    async def _ask_plugin(self, watch: _Watch, client: httpx.AsyncClient) -> PluginAnswer:
        try:
            return parse_ready(*await self._get(watch, client, "/alise/ready"))
        except ProbeFailed:
            # It lives, as it has just said; whether it has the plugin is not worth a failure.
            return watch.plugin or NO_ROUTE

    async def _read_models(self, watch: _Watch, client: httpx.AsyncClient) -> None:
        status, body = await self._get(watch, client, "/v1/models")
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise ProbeFailed(
                f"GET /v1/models answered {status}; check the backend's key (api_key_file, or its "
                "pool's apiKeySecretRef)"
            )
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
            plugin=backend.has_plugin,
        )


def _nobody_counts(backend: str, result: ProbeState) -> None:
    """Until somebody wants to know."""
