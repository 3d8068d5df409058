"""The operator's objects and their wiring: settings in, a running operator out."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from alise_cluster.client import ClusterClient, load_cluster
from alise_cluster.election import LeaderElection
from alise_cluster.event_book import reference_to
from alise_cluster.events import EventRecorder
from alise_cluster.leases import LeaseDurations
from alise_cluster.pacing import Pacing
from alise_cluster.resources import LEASES, metadata, resource_of
from alise_core.clock import Clock, MonotonicClock
from alise_core.crds.governing import PoolRef
from alise_operator.act.status import StatusWriter
from alise_operator.decide.announcements import Announcement, EventType
from alise_operator.decide.gateway_pods import metrics_addresses
from alise_operator.decide.parents import Parent
from alise_operator.decide.scope import WorkKey
from alise_operator.leading import WhileLeading
from alise_operator.metrics import OperatorMetrics, Snapshot
from alise_operator.observe.catalogue import Catalogue, Serving
from alise_operator.observe.engines import EngineReader
from alise_operator.observe.secret_lookup import SecretLookup
from alise_operator.observe.watches import Watches
from alise_operator.reconcile import Intervals, Reconciler, Senses
from alise_operator.settings import OperatorSettings
from alise_operator.tending import Tending, Tuner
from alise_operator.web import ProbeServer
from alise_operator.work_queue import Backoff, WorkQueue
from alise_operator.workers import Pace, Workers

_COMPONENT = "alise-operator"
_FLUSH_SECONDS = 3.0
"""For Events at the end: a pod that is told to stop has half a minute for everything."""
_ENGINE_BACKOFF = Backoff(first_seconds=2.0, most_seconds=300.0)
_TUNER_BACKOFF = Backoff(first_seconds=5.0, most_seconds=60.0)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the world gives a process; injected, so that tests can be the world.

    Attributes:
        clock: Time.
        pacing: Waiting between tries to reach the API server, and chance.
        pace: Makes the pace of workers, of so many tasks.
        registry: Of metrics.
    """

    clock: Clock = field(default_factory=MonotonicClock)
    pacing: Pacing = field(default_factory=Pacing)
    pace: Callable[[Clock, int], Pace] = lambda clock, tasks: Pace(clock, tasks=tasks)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


class Operator:
    """One operator process; leads or stands by.

    Args:
        settings: Of the process.
        tuner: Tends pools under a KVCachePolicy; ``None`` tunes nothing.
        client: Of the cluster; made from the settings without it.
        world: Time, chance, metrics' registry.

    Attributes:
        metrics: Of this process; what works for the operator counts there too.
        probes: Metrics and probes over HTTP.
    """

    def __init__(
        self,
        settings: OperatorSettings,
        tuner: Tuner | None = None,
        client: ClusterClient | None = None,
        world: Surroundings | None = None,
    ) -> None:
        self._settings = settings
        self._world = world or Surroundings()
        clock, chance = self._world.clock, self._world.pacing.chance
        self._client = client or load_cluster(settings.kubeconfig, settings.context, clock)
        # Two processes of one name would both think that the Lease is theirs.
        self._identity = settings.identity or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self.metrics = OperatorMetrics(self._world.registry)
        self._recorder = EventRecorder(self._client, _COMPONENT, self._identity, clock)
        self._catalogue = Catalogue(
            Serving(settings.serve_inference_pools, settings.serve_picked_inference_pools)
        )
        self._engines = EngineReader(
            settings.scrape_interval_seconds, settings.scrape_timeout_seconds, chance
        )
        self._tending = Tending(tuner, settings.tuner_interval_seconds, chance)
        self._reconciler = self._make_reconciler()
        self._objects, self._scrapes, self._tends = self._make_workers()
        self._watches = Watches(
            self._client,
            namespace_of(settings, self._client),
            self._catalogue,
            self._touched,
            clock,
            self._world.pacing,
        )
        self._duty = WhileLeading(self._work_as_leader)
        self._election = self._make_election()
        self.probes = ProbeServer(self._world.registry, self.unready)
        self._connect()

    def unready(self) -> str:
        """Why this process cannot do its part yet; empty once it can. A standby is ready too."""
        return self._watches.problem()

    def gateway_addresses(self) -> tuple[str, ...]:
        """``IP:PORT`` of the metrics of every gateway that runs; none where none is seen."""
        settings = self._settings
        pods = self._catalogue.pods(settings.gateway_namespace or self._client.namespace)
        port = settings.gateway_metrics_port
        return tuple(metrics_addresses(pods, settings.gateway_labels, port))

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, then hand over in order.

        Raises:
            ConfigError: The address for metrics cannot be had.
        """
        settings = self._settings
        await self.probes.open(settings.metrics_host, settings.metrics_port)
        duty = asyncio.create_task(self._duty.run(), name="duty")
        election = asyncio.create_task(self._election.run(), name="election")
        others = [
            asyncio.create_task(self._watches.run(), name="watches"),
            asyncio.create_task(self._recorder.run(), name="events"),
        ]
        stopping = asyncio.create_task(stop.wait(), name="stop")
        tasks = [duty, election, *others]
        try:
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # In this order: whoever leads next must not meet our writes.
            stopping.cancel()
            for task in tasks:
                await _end(task)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self._recorder.flush()
            await self._engines.close()
            await self.probes.close()
            await self._client.close()
        _raise_crash(tasks)

    def _make_reconciler(self) -> Reconciler:
        settings, clock = self._settings, self._world.clock
        lookup = SecretLookup(self._client, settings.secret_interval_seconds, clock)
        writer = StatusWriter(
            self._client, self._recorder, self.metrics, clock, settings.resync_seconds
        )
        senses = Senses(self._catalogue, self._engines, lookup, self._tending, clock)
        intervals = Intervals(settings.resync_seconds, settings.secret_interval_seconds)
        parent = parent_of(settings, self._client)
        return Reconciler(senses, writer, parent, intervals, self._world.pacing.chance)

    def _make_workers(self) -> tuple[Workers[WorkKey], Workers[str], Workers[PoolRef]]:
        chance, clock = self._world.pacing.chance, self._world.clock
        objects = Workers(
            "reconcile",
            WorkQueue[WorkKey](chance),
            self._reconciler,
            self._world.pace(clock, 4),
            self.metrics.reconciled,
        )
        scrapes = Workers(
            "scrape",
            WorkQueue[str](chance, _ENGINE_BACKOFF),
            self._engines.read,
            self._world.pace(clock, 8),
            self.metrics.scraped,
        )
        tends = Workers(
            "tend",
            WorkQueue[PoolRef](chance, _TUNER_BACKOFF),
            self._tending.tend,
            self._world.pace(clock, 4),
            self.metrics.tended,
        )
        return objects, scrapes, tends

    def _make_election(self) -> LeaderElection:
        settings = self._settings
        seconds = settings.lease_seconds
        return LeaderElection(
            self._client,
            settings.lease_name,
            self._identity,
            namespace=settings.lease_namespace,
            durations=LeaseDurations(seconds, seconds * 2 / 3, seconds * 2 / 15),
            clock=self._world.clock,
            pacing=self._world.pacing,
            on_change=self._on_leadership,
        )

    def _connect(self) -> None:
        """Who tells whom."""
        self._engines.on_wanted = self._scrapes.add
        self._engines.on_unwanted = self._scrapes.discard
        self._engines.on_facts = self._touched
        self._tending.on_followed = self._tends.add
        self._tending.on_let_go = self._tends.discard
        self._tending.on_reported = lambda key: self._touched([key])
        self._tending.write_now = self._reconciler
        self._tending.tell = self._tell
        self.metrics.read_gauges_from(self._snapshot)

    async def _work_as_leader(self) -> None:
        # Before everything was read, what is not there yet would be taken for missing.
        await self._watches.synced()
        for key in self._catalogue.all_keys():
            self._objects.add(key)
        try:
            async with asyncio.TaskGroup() as group:
                for workers in (self._objects, self._scrapes, self._tends):
                    group.create_task(workers.run())
        finally:
            self._engines.forget_all()
            self._tending.let_go_of_all()

    def _touched(self, keys: Iterable[WorkKey]) -> None:
        if self._duty.leads:
            for key in keys:
                self._objects.add(key, self._settings.settle_seconds)

    def _on_leadership(self, leads: bool) -> None:
        self._duty.on_change(leads)
        self.metrics.led(leads=leads)
        if leads:
            lease = {
                "name": self._settings.lease_name,
                "namespace": self._settings.lease_namespace or self._client.namespace,
            }
            self._recorder.emit(
                reference_to(LEASES.api_version, LEASES.kind, lease),
                EventType.NORMAL.value,
                "LeaderElection",
                f"{self._identity} became the leader",
            )

    def _tell(self, key: WorkKey, announcements: Iterable[Announcement]) -> None:
        if self._catalogue.find(key) is None:
            return
        resource = resource_of(key.kind)
        meta = metadata(self._catalogue.raw(key))
        for each in announcements:
            self.metrics.events.labels(each.type.value).inc()
            self._recorder.emit(
                reference_to(resource.api_version, resource.kind, meta),
                each.type.value,
                each.reason,
                each.message,
            )

    def _snapshot(self) -> Snapshot:
        now, unix = self._world.clock.now(), self._world.clock.unix()
        return Snapshot(
            leading=self._duty.leads,
            queue_depth={
                "objects": self._objects.queue.depth(now),
                "engines": self._scrapes.queue.depth(now),
                "pools": self._tends.queue.depth(now),
            },
            objects=self._catalogue.counts(),
            watches={
                each.resource.plural: _age(each.figures.last_contact_unix, unix)
                for each in self._watches.reflectors
            },
            connected=self._watches.connected(),
            tuned=self._tending.standing(),
        )


def namespace_of(settings: OperatorSettings, client: ClusterClient) -> str | None:
    """Whose objects are looked after; ``None`` for every namespace's."""
    return None if settings.all_namespaces else settings.namespace or client.namespace


def parent_of(settings: OperatorSettings, client: ClusterClient) -> Parent:
    """What stands as parent in the status of InferencePools."""
    return Parent(settings.gateway_namespace or client.namespace, settings.gateway_service)


def _age(then: float, unix: float) -> float | None:
    return max(0.0, unix - then) if then else None


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _raise_crash(tasks: Iterable[asyncio.Task[None]]) -> None:
    """What ended one of them, where it was not us."""
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            raise error
