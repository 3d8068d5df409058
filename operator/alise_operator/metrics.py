"""Every metric of the operator, in one registry that is passed in."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alise_core.crds.governing import PoolRef
from alise_core.crds.names import Kind
from alise_operator.decide.scope import WorkKey
from alise_operator.decide.tuning import TuningReport
from alise_operator.workers import WorkResult

_PREFIX = "alise_operator_"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What gauges show, read when somebody scrapes.

    Attributes:
        leading: This process is the leader.
        queue_depth: Keys that are due, by queue.
        objects: By kind.
        watches: Seconds since the API server was last heard of, by collection; ``None`` before
            the first time.
        connected: Collections whose copy is fed by a live watch.
        tuned: The tuner's last report of each pool; none on a standby.
    """

    leading: bool = False
    queue_depth: Mapping[str, int] = field(default_factory=dict)
    objects: Mapping[str, int] = field(default_factory=dict)
    watches: Mapping[str, float | None] = field(default_factory=dict)
    connected: frozenset[str] = frozenset()
    tuned: tuple[TuningReport, ...] = ()


class OperatorMetrics:
    """Counters and histograms that are written, gauges that are read.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reconciles = Counter(
            f"{_PREFIX}reconciles",
            "Looks at an object, by result.",
            ("kind", "result"),
            registry=registry,
        )
        self.reconcile_duration = Histogram(
            f"{_PREFIX}reconcile_duration_seconds",
            "One look at an object, with what it wrote.",
            ("kind",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.status_writes = Counter(
            f"{_PREFIX}status_writes",
            "Statuses written because they differed.",
            ("kind",),
            registry=registry,
        )
        self.events = Counter(
            f"{_PREFIX}events", "Events announced, by type.", ("type",), registry=registry
        )
        self.scrapes = Counter(
            f"{_PREFIX}scrapes", "Engines asked for their metrics.", ("result",), registry=registry
        )
        self.tends = Counter(
            f"{_PREFIX}tuner_looks", "Looks of the tuner at a pool.", ("result",), registry=registry
        )
        self.tend_duration = Histogram(
            f"{_PREFIX}tuner_look_duration_seconds",
            "One look of the tuner at a pool.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.decisions = Counter(
            f"{_PREFIX}tuner_decisions",
            "Looks of the tuner at a pool, by what was decided and why.",
            ("verdict", "why"),
            registry=registry,
        )
        self.restart_steps = Counter(
            f"{_PREFIX}restart_steps",
            "Steps of changes that restart pods, by the state that they came to.",
            ("state",),
            registry=registry,
        )
        self.leader_changes = Counter(
            f"{_PREFIX}leader_changes",
            "Times this process became the leader, or stopped being it.",
            ("change",),
            registry=registry,
        )
        self._begin_at_zero()
        self._gauges = _Gauges()
        registry.register(self._gauges)

    def read_gauges_from(self, read: Callable[[], Snapshot]) -> None:
        """Where the gauges come from."""
        self._gauges.read = read

    def reconciled(self, key: WorkKey, result: WorkResult, seconds: float) -> None:
        """One object was looked at."""
        self.reconciles.labels(key.kind.value, result.value).inc()
        self.reconcile_duration.labels(key.kind.value).observe(seconds)

    def scraped(self, endpoint: str, result: WorkResult, seconds: float) -> None:
        """One engine's metrics were read."""
        del endpoint, seconds
        self.scrapes.labels(result.value).inc()

    def tended(self, pool: PoolRef, result: WorkResult, seconds: float) -> None:
        """The tuner looked at one pool."""
        del pool
        self.tends.labels(result.value).inc()
        self.tend_duration.observe(seconds)

    def decided(self, verdict: str, why: str) -> None:
        """The tuner decided something at one pool."""
        self.decisions.labels(verdict, why).inc()

    def expect_steps(self, states: Iterable[str]) -> None:
        """Begin at zero: whoever counts steps knows which there are."""
        for state in states:
            self.restart_steps.labels(state)

    def stepped(self, state: str) -> None:
        """A change that restarts pods came to another state."""
        self.restart_steps.labels(state).inc()

    def led(self, *, leads: bool) -> None:
        """This process became the leader, or is not any more."""
        self.leader_changes.labels("acquired" if leads else "lost").inc()

    def _begin_at_zero(self) -> None:
        # A counter that is missing until its first event cannot be told from one that is broken.
        for kind in Kind:
            for result in WorkResult:
                self.reconciles.labels(kind.value, result.value)
            self.reconcile_duration.labels(kind.value)
            self.status_writes.labels(kind.value)
        for result in WorkResult:
            self.scrapes.labels(result.value)
            self.tends.labels(result.value)
        for kind_of_event in ("Normal", "Warning"):
            self.events.labels(kind_of_event)
        for change in ("acquired", "lost"):
            self.leader_changes.labels(change)


class _Gauges(Collector):
    def __init__(self) -> None:
        self.read: Callable[[], Snapshot] = Snapshot

    def collect(self) -> Iterator[Metric]:
        now = self.read()
        leading = {(): 1.0 if now.leading else 0.0}
        yield _gauge("leader", "1 while this process is the leader.", (), leading.items())
        yield _gauge(
            "queue_depth",
            "Keys that are due and wait for a worker.",
            ("queue",),
            (((queue,), float(depth)) for queue, depth in now.queue_depth.items()),
        )
        yield _gauge(
            "objects",
            "Objects in the operator's copy.",
            ("kind",),
            (((kind,), float(count)) for kind, count in now.objects.items()),
        )
        yield _gauge(
            "watch_connected",
            "1 while a copy is fed by a live watch.",
            ("resource",),
            (((name,), float(name in now.connected)) for name in now.watches),
        )
        yield _gauge(
            "watch_last_contact_seconds",
            "Since the API server was last heard of.",
            ("resource",),
            (((name,), age) for name, age in now.watches.items() if age is not None),
        )
        yield from _tuned(now.tuned)


def _tuned(reports: Sequence[TuningReport]) -> Iterator[Metric]:
    at = {
        report.pool: (report.pool.namespace, report.pool.kind.value, report.pool.name)
        for report in reports
    }
    # A plain "namespace" is what Prometheus calls that of whom it scrapes.
    labels = ("pool_namespace", "kind", "pool")
    yield _gauge(
        "pool_wanted_replicas",
        "Replicas that the tuner asks for; 0 while it asks for none.",
        labels,
        ((at[report.pool], float(report.status.wanted_replicas)) for report in reports),
    )
    yield _gauge(
        "pool_pressure_ratio",
        "KV memory that a pool needs or is predicted to need, by what it has.",
        labels,
        ((at[report.pool], report.pressure) for report in reports if report.pressure is not None),
    )


def _gauge(
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: Iterable[tuple[tuple[str, ...], float]],
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
    for at, value in values:
        family.add_metric(at, value)
    return family
