"""The gateway as control endpoints and gauges see it: read-only, gathered when asked."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from alise_core.clock import Clock
from alise_gateway.control.view import (
    BackendStatus,
    ClusterStatus,
    EndpointStatus,
    ModelCard,
    PredictorStatus,
    QueueStatus,
    Readiness,
    WatchStatus,
)
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.backend_load import load_of
from alise_gateway.intake.listener import Listener
from alise_gateway.measure.gauges import GaugeSnapshot, KvDemand, UpstreamConnections
from alise_gateway.measure.labels import backend_state
from alise_gateway.measure.metrics import GatewayMetrics
from alise_gateway.pipeline import Pipeline
from alise_gateway.proxy.pool import UpstreamPool
from alise_gateway.queueing.controller import QueueController
from alise_gateway.settings import GatewaySettings

if TYPE_CHECKING:  # they are loaded only where they are wanted
    from alise_gateway.discovery.kubernetes.discovery import KubernetesDiscovery
    from alise_gateway.predicting import Predicting


class GatewayStatus:
    """A ``ControlView``; every call is quick and runs on the loop."""

    def __init__(  # noqa: PLR0913  it looks at everything
        self,
        *,
        settings: GatewaySettings,
        clock: Clock,
        registry: BackendRegistry,
        queue: QueueController,
        metrics: GatewayMetrics,
        pools: Mapping[Backend, UpstreamPool],
        request_drain: Callable[[], None],
        predicting: "Predicting | None" = None,
        discovery: "KubernetesDiscovery | None" = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._registry = registry
        self._queue = queue
        self._metrics = metrics
        self._pools = pools
        self._request_drain = request_drain
        self._predicting = predicting
        self._discovery = discovery
        self._pipeline: Pipeline | None = None
        self._listener: Listener | None = None

    def attach(self, pipeline: Pipeline, listener: Listener) -> None:
        """The parts that are built after the control endpoints they serve."""
        self._pipeline = pipeline
        self._listener = listener

    @property
    def _draining(self) -> bool:
        return self._pipeline is not None and self._pipeline.is_leaving

    def readiness(self) -> Readiness:
        """Ready with at least one usable backend, unless draining.

        A gateway that follows a cluster is ready once it has read it, backends or not: that there
        are none is then the truth, and a gateway that says so does it better than none at all.
        """
        if self._draining:
            return Readiness(ready=False, reasons=("draining",))
        discovery = self._discovery
        if discovery is not None:
            if discovery.is_settled:
                return Readiness(ready=True)
            if not self._settings.backends and not discovery.gave_up_waiting:
                return Readiness(ready=False, reasons=("the cluster was not read yet",))
        return self._backends_readiness()

    def _backends_readiness(self) -> Readiness:
        backends = self._registry.backends
        if not backends:
            return Readiness(ready=False, reasons=("no backend is configured",))
        now = self._clock.now()
        if not any(backend.is_usable(now) and backend.models for backend in backends):
            return Readiness(ready=False, reasons=("no backend is usable",))
        return Readiness(ready=True)

    def models(self) -> list[ModelCard]:
        """Everything that can be named in a request."""
        return [
            ModelCard(entry.name, entry.created, entry.owned_by, entry.max_model_len)
            for entry in self._registry.known_models()
        ]

    def backends(self) -> list[BackendStatus]:
        """Every backend that discovery lists."""
        now = self._clock.now()
        return [
            BackendStatus(
                name=backend.name,
                url=backend.address.url,
                probe=backend.probe,
                breaker=backend.breaker.state(now),
                usable=backend.is_usable(now),
                in_flight=backend.in_flight,
                max_in_flight=backend.max_in_flight,
                probe_error=backend.probe_error,
                has_plugin=backend.has_plugin,
                models=tuple(sorted(backend.models)),
                load=load_of(backend, now),
            )
            for backend in self._registry.backends
        ]

    def queue(self) -> QueueStatus:
        """The queue."""
        oldest, policies = self._queue.oldest_enqueued, self._queue.policies
        return QueueStatus(
            waiting=self._queue.waiting,
            waiting_by_class={str(k): n for k, n in self._queue.waiting_by_class().items()},
            ordering=str(policies.default.ordering.name),
            ordering_by_model={
                model: str(policy.ordering.name) for model, policy in policies.by_model.items()
            },
            max_waiting=policies.default.max_waiting,
            in_flight=self._queue.in_flight,
            oldest_wait_seconds=None if oldest is None else self._clock.now() - oldest,
            draining=self._draining,
        )

    def predictor(self) -> PredictorStatus:
        """The length predictor."""
        if self._predicting is None:
            return PredictorStatus(enabled=False)
        return self._predicting.status()

    def cluster(self) -> ClusterStatus:
        """The cluster that is followed."""
        discovery = self._discovery
        if discovery is None:
            return ClusterStatus(enabled=False)
        return ClusterStatus(
            enabled=True,
            settled=discovery.is_settled,
            missing=tuple(discovery.missing()),
            share_index=discovery.share.index,
            share_count=discovery.share.count,
            watches=tuple(
                WatchStatus(kind.value, it.connected, it.objects, it.last_contact_unix)
                for kind, it in discovery.figures().watches.items()
            ),
            endpoints=tuple(
                EndpointStatus(it.name, it.pool_name, "/".join(it.pod), it.is_ready)
                for it in discovery.endpoints
            ),
            problems=tuple(map(str, discovery.problems)),
        )

    def render_metrics(self, accept: str | None) -> tuple[bytes, str]:
        """One exposition."""
        return self._metrics.render(accept)

    def start_drain(self) -> None:
        """As SIGTERM does."""
        self._request_drain()

    def gauges(self) -> GaugeSnapshot:
        """For one scrape."""
        now = self._clock.now()
        backends, peaks = self._registry.backends, self._queue.peaks()
        states = Counter(
            backend_state(b.probe, b.breaker.state(now), is_ready=b.is_ready) for b in backends
        )
        upstream = {}
        for backend, pool in self._pools.items():
            counts = pool.counts
            upstream[str(backend.name)] = UpstreamConnections(
                counts.idle, counts.busy, counts.connecting
            )
        return GaugeSnapshot(
            in_flight={str(backend.name): backend.in_flight for backend in backends},
            upstream=upstream,
            loads={str(backend.name): load_of(backend, now) for backend in backends},
            backends=states,
            waiting={str(k): n for k, n in self._queue.waiting_by_class().items()},
            demand={
                model: KvDemand(demand.median, demand.high, *peaks[model])
                for model, demand in self._queue.demand().items()
            },
            client_connections=0 if self._listener is None else self._listener.connections,
            draining=self._draining,
            predictions=None if self._predicting is None else self._predicting.gauges(),
        )
