"""Composition root: settings become objects, objects become a running gateway.

The only place that wires stages together. A ``Gateway`` runs inside any event loop, a test's
included; ``process.py`` puts a process around it.
"""

import asyncio
import contextlib
import random
import socket
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, BinaryIO

import structlog
from prometheus_client import CollectorRegistry

from alise_core.clock import Clock, MonotonicClock
from alise_core.errors import ConfigError
from alise_core.policy import SchedulingPolicy
from alise_core.shares import WHOLE, Share
from alise_gateway.admin import AdminServer
from alise_gateway.control.api import create_control_app
from alise_gateway.discovery.prober import Prober
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.discovery.scraper import Scraper
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.policies import Policies
from alise_gateway.domain.scrape import ScrapeResult
from alise_gateway.exchange import ExchangeParts
from alise_gateway.identity.authenticator import Authenticator
from alise_gateway.intake.listener import Listener
from alise_gateway.loop_time import LoopTime
from alise_gateway.measure.access_log import AccessLog
from alise_gateway.measure.labels import ConfigSource, Success
from alise_gateway.measure.metrics import GatewayMetrics
from alise_gateway.measure.recorder import RequestRecorder
from alise_gateway.measure.tracing import open_tracing
from alise_gateway.pipeline import Pipeline
from alise_gateway.placement.picker import BestBackend
from alise_gateway.proxy.pool import UpstreamPool
from alise_gateway.proxy.retry import RetryBudget
from alise_gateway.queueing.controller import QueueController
from alise_gateway.queueing.state import QueueState
from alise_gateway.settings import GatewaySettings, read_secret
from alise_gateway.status import GatewayStatus
from alise_gateway.tickets import TicketOffice
from alise_gateway.verdicts import BackendVerdicts

if TYPE_CHECKING:  # they are loaded only where they are wanted
    from alise_gateway.discovery.kubernetes.discovery import KubernetesDiscovery
    from alise_gateway.predict_endpoint import PredictEndpoint
    from alise_gateway.predicting import Predicting

_SWEEP_SECONDS = 0.25
_GOODBYE_SECONDS = 3.0
_LOG = structlog.get_logger(__name__)


class Gateway:
    """One gateway: built here, then ``start``, then ``stop``.

    Args:
        settings: What to be.
        log_stream: Where request lines go; ``None`` writes none.
        clock: Time for every limit; replaced in tests.
        watch: By which the gateway notices that it stood still; replaced in tests.

    Raises:
        ConfigError: A setting cannot be put into practice.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        log_stream: BinaryIO | None,
        clock: Clock | None = None,
        watch: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or MonotonicClock()
        self._loop_time = LoopTime(self.clock, watch or MonotonicClock(), _SWEEP_SECONDS)
        self.drain_requested = asyncio.Event()
        self._in_a_hurry = asyncio.Event()
        self.pools: dict[Backend, UpstreamPool] = {}
        self.registry = BackendRegistry(settings, self.clock)
        self.metrics = GatewayMetrics(CollectorRegistry(), settings.observability.max_label_values)
        self._placement = BestBackend()
        self._share = WHOLE
        self.queue = self._build_queue()
        self.predicting = self._build_predicting()
        self._authenticator = Authenticator(
            settings.identity, self.clock, expects_tenants=settings.kubernetes.enabled
        )
        self.discovery = self._build_discovery()
        self._settling: asyncio.Task[None] | None = None
        self._prober = Prober(self.registry, settings.health, self.clock)
        self._scraper = Scraper(self.registry, settings.health, self.clock)
        self._tracing = open_tracing(
            settings.observability.otlp_endpoint,
            settings.observability.trace_sample_ratio,
            {"service.version": version("alise"), "host.name": socket.gethostname()},
        )
        self._access_log = self._open_access_log(log_stream)
        self.status = GatewayStatus(
            settings=settings,
            clock=self.clock,
            registry=self.registry,
            queue=self.queue,
            metrics=self.metrics,
            pools=self.pools,
            request_drain=self.drain_requested.set,
            predicting=self.predicting,
            discovery=self.discovery,
        )
        control = create_control_app(self.status, admin=False)
        self._parts = self._build_parts()
        self.pipeline = Pipeline(self._parts, control, self._build_predict_endpoint())
        self.listener = Listener(self.pipeline, settings.limits, settings.timeouts, self._loop_time)
        self.status.attach(self.pipeline, self.listener)
        token_file = settings.admin_token_file
        token = None if token_file is None else read_secret(token_file, "admin_token_file")
        self._admin = AdminServer(
            lambda: create_control_app(self.status, admin=True, admin_token=token)
        )
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The inference port, once started."""
        return self.listener.port

    @property
    def admin_port(self) -> int | None:
        """The admin port, once started and if there is one."""
        return self._admin.port

    async def start(self) -> None:
        """Read credentials, look at every backend once, then listen.

        Raises:
            ConfigError: A port cannot be had.
        """
        self.metrics.bind_gauges(self.status.gauges)
        self._prober.on_probed = self.metrics.probed
        self._scraper.on_scraped = self._on_scraped
        self._authenticator.on_keys_read = partial(self._on_read, ConfigSource.KEYS)
        self.registry.subscribe(self._on_registry_changed)
        self.registry.on_readdressed = self._parts.forget
        self._on_registry_changed()
        await self._authenticator.start()
        if self.predicting is not None:
            await self.predicting.start()
        await self._prober.start()
        await self._scraper.start()
        if self.discovery is not None:
            self._follow_cluster(self.discovery)
        await self._look_at_backends()
        settings = self.settings
        await self.listener.open(settings.host, settings.port)
        self._loop_time.tick()
        if settings.admin_port is not None:
            await self._admin.open(settings.admin_host, settings.admin_port)
        self._sweep_later()
        _LOG.info("gateway_ready", host=settings.host, port=self.port, admin_port=self.admin_port)

    def hurry(self) -> None:
        """Whoever stops the gateway will not wait: end what is in progress now."""
        self._in_a_hurry.set()
        self.pipeline.abort()

    async def stop(self, drain_seconds: float | None = None) -> None:
        """Let clients leave, admit nothing more, let what runs finish, then close everything."""
        await self._linger()
        patience = self.settings.timeouts.drain_seconds if drain_seconds is None else drain_seconds
        idle = asyncio.Event()
        self.pipeline.drain(idle.set)
        self.listener.shut_down_idle()
        _LOG.info("gateway_draining", in_progress=self.pipeline.active, patience_seconds=patience)
        try:
            async with asyncio.timeout(patience):
                await idle.wait()
        except TimeoutError:
            _LOG.warning("gateway_drain_timed_out", in_progress=self.pipeline.active)
            self.pipeline.abort()
        await self._close()

    async def _linger(self) -> None:
        self.pipeline.leave()
        seconds = self.settings.timeouts.linger_seconds
        if seconds and not self._in_a_hurry.is_set():
            _LOG.info("gateway_lingering", seconds=seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._in_a_hurry.wait()

    def set_policies(
        self,
        by_model: Mapping[str, SchedulingPolicy],
        default: SchedulingPolicy | None = None,
    ) -> None:
        """Schedule by other policies from now on, what waits and what is in flight included.

        Args:
            by_model: Of served models, by name.
            default: For all other models; what the settings say without it.
        """
        policies = Policies(default or self.settings.policy(), dict(by_model))
        if policies != self.queue.policies:
            self._govern_backends(self.registry.backends, policies)
            self.queue.set_policies(policies)

    def set_share(self, index: int, count: int) -> None:
        """Be one of several gateways that use the same backends and serve the same tenants.

        Args:
            index: Which of them, from 0, in an order that all of them agree on.
            count: How many there are, this one included.

        Raises:
            ValueError: There is no such one.
        """
        share = Share(index, count)
        if share != self._share:
            self._share = share
            self._share_backends(self.registry.backends)
            self.queue.set_share(share)

    def sweep(self) -> None:
        """Enforce every time limit once; runs by itself a few times a second."""
        now = self.clock.now()
        self.listener.sweep(self._loop_time.now())
        for pool in tuple(self.pools.values()):
            pool.sweep(now)
        if len(self.pools) > len(self.registry.backends):
            self._let_go_of_removed()
        self.queue.tick()

    def _follow_cluster(self, discovery: "KubernetesDiscovery") -> None:
        self.metrics.cluster.read = discovery.figures
        discovery.start()
        # The ports open meanwhile: liveness is not for the API server to decide on.
        self._settling = asyncio.create_task(
            discovery.settle(self._look_at_backends), name="cluster-first-look"
        )

    async def _look_at_backends(self) -> None:
        """Wait until everything that is listed now has been asked once."""
        await self._prober.first_round()
        await self._scraper.first_round()

    async def _close(self) -> None:
        await self.listener.close(_GOODBYE_SECONDS)
        await self._admin.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)
        if self.discovery is not None:
            await self.discovery.stop()
        await self._prober.stop()
        await self._scraper.stop()
        await self._authenticator.stop()
        for pool in self.pools.values():
            pool.abort()
        if self.predicting is not None:
            await self.predicting.stop()
        if self._access_log is not None:
            self._access_log.close()
        await asyncio.to_thread(self._tracing.close)
        _LOG.info("gateway_stopped")

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._on_timer)

    def _on_timer(self) -> None:
        self._sweep_later()
        stalled_s = self._loop_time.tick()
        if stalled_s:
            self.metrics.stalled(stalled_s)
            _LOG.warning("gateway_stalled", seconds=round(stalled_s, 3))
        self.sweep()

    def _on_read(self, source: ConfigSource, succeeded: bool) -> None:
        result = Success.SUCCESS if succeeded else Success.FAILURE
        self.metrics.config_reloaded(source, result)

    def _on_registry_changed(self) -> None:
        """Keep pools and series in step with discovery, then let the queue look again."""
        changed = [it for it in self.registry.take_changed() if not it.removed]
        for backend in changed:
            if backend not in self.pools:
                self._open_pool(backend)
        if len(self.pools) > len(self.registry.backends):
            self._let_go_of_removed()
        self._govern_backends(changed, self.queue.policies)
        self._share_backends(changed)
        self.queue.backends_changed()

    def _open_pool(self, backend: Backend) -> None:
        self.pools[backend] = UpstreamPool(backend.address, self.settings.upstream, self.clock)
        self.metrics.add_backend(backend.name)

    def _govern_backends(self, backends: Iterable[Backend], policies: Policies) -> None:
        """Which models a backend serves, and so by which policy, is known once it was asked."""
        now = self.clock.now()
        for backend in backends:
            backend.admission.obey(policies.of_backend(backend.models).admission, now)

    def _share_backends(self, backends: Iterable[Backend]) -> None:
        now = self.clock.now()
        for backend in backends:
            backend.admission.set_share(self._share, backend.max_in_flight, now)

    def _on_scraped(self, backend: Backend, result: ScrapeResult) -> None:
        """Fresh figures may make room for whoever waits."""
        self.metrics.scraped(backend.name, result)
        if result is ScrapeResult.READ:
            self.queue.backends_changed(backend)

    def _let_go_of_removed(self) -> None:
        """Forget backends that discovery no longer lists, once they serve no request."""
        for backend in self.pools.keys() - set(self.registry.backends):
            if backend.in_flight == 0:
                self.pools.pop(backend).close()
                if not self.registry.has(backend.name):  # else another one has its name by now
                    self.metrics.forget_backend(backend.name)
                self._parts.forget(backend)
                self._placement.forget(backend)

    def _build_queue(self) -> QueueController:
        state = QueueState(self.settings.policy(), self.registry.candidates, self._placement)
        # Jitter spreads retries; nothing secret depends on it.
        return QueueController(state, self.clock, random.Random())  # noqa: S311

    def _build_discovery(self) -> "KubernetesDiscovery | None":
        settings = self.settings.kubernetes
        if not settings.enabled:
            return None
        from alise_cluster.client import load_cluster  # noqa: PLC0415  only where it is wanted
        from alise_gateway.discovery.kubernetes.discovery import (  # noqa: PLC0415  as above
            KubernetesDiscovery,
            Obeying,
        )

        client = load_cluster(settings.kubeconfig, settings.context, self.clock)
        obeying = Obeying(
            set_tenants=self._authenticator.set_tenants,
            set_policies=self.set_policies,
            set_share=lambda share: self.set_share(share.index, share.count),
            on_applied=self.metrics.cluster.applied,
        )
        return KubernetesDiscovery(client, settings, self.registry, self.clock, obeying)

    def _build_predicting(self) -> "Predicting | None":
        settings = self.settings.predictor
        if not settings.enabled:
            return None
        try:
            from alise_gateway.predicting import Predicting  # noqa: PLC0415  loads ONNX Runtime
        except ImportError as error:
            raise ConfigError(
                f"predictor.enabled needs {error.name}: install alise[gateway], "
                "or set predictor.enabled: false"
            ) from error
        on_read = partial(self._on_read, ConfigSource.PREDICTOR)
        return Predicting(settings, self.clock, self.metrics.predictions, on_read)

    def _build_predict_endpoint(self) -> "PredictEndpoint | None":
        if self.predicting is None:
            return None
        from alise_gateway.predict_endpoint import PredictEndpoint  # noqa: PLC0415  as above

        return PredictEndpoint(self.predicting, self.registry)

    def _build_parts(self) -> ExchangeParts:
        return ExchangeParts(
            settings=self.settings,
            clock=self.clock,
            loop_time=self._loop_time,
            authenticator=self._authenticator,
            registry=self.registry,
            queue=self.queue,
            metrics=self.metrics,
            recorder=RequestRecorder(self.metrics, self._access_log, self._tracing),
            tracing=self._tracing,
            retries=RetryBudget(self.settings.upstream, self.clock.now()),
            verdicts=BackendVerdicts(self.clock, self.metrics, self.queue),
            pools=self.pools,
            tickets=TicketOffice(
                self.registry,
                lambda: self.queue.policies,
                self.clock,
                send_priority=self.settings.scheduling.send_priority,
                send_prediction=self.settings.scheduling.send_prediction,
            ),
            predicting=self.predicting,
        )

    def _open_access_log(self, stream: BinaryIO | None) -> AccessLog | None:
        if stream is None or not self.settings.observability.log_requests:
            return None
        loop = asyncio.get_running_loop()
        return AccessLog(stream, self.clock, loop, self.metrics.log_lines_dropped)
