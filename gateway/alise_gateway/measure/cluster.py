"""Metrics of reading a Kubernetes cluster; part of ``metrics``, which registers them."""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alise_gateway.domain.cluster_figures import ClusterFigures
from alise_gateway.measure.gauges import PREFIX
from alise_gateway.measure.series import Histograms

APPLY_BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
"""Seconds; one pod among a thousand takes tenths of a millisecond, a thousand at once a hundred."""


class ClusterMetrics(Collector):
    """How reading the cluster is going; without one, nothing but a histogram that stays empty.

    Args:
        registry: Where the families are registered.

    Attributes:
        read: What is known now; called once per scrape.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.read: Callable[[], ClusterFigures] = ClusterFigures
        self._apply = Histograms(
            f"{PREFIX}discovery_apply_seconds",
            "From reading a change of pods to sending requests accordingly.",
            (),
            APPLY_BOUNDS,
        )
        self._apply.cell()
        registry.register(self._apply)
        registry.register(self)

    def applied(self, seconds: float) -> None:
        """A change of pods was put into practice."""
        self._apply.cell().observe(seconds)

    def describe(self) -> Iterable[Metric]:
        """The families without samples, from which the registry learns the names."""
        return self._families(ClusterFigures())

    def collect(self) -> Iterable[Metric]:
        """The state right now."""
        return self._families(self.read())

    @staticmethod
    def _families(now: ClusterFigures) -> list[Metric]:
        connected = _gauge("connected", "1 while all of a kind is current.", "kind")
        contact = _gauge(
            "last_contact_timestamp_seconds", "When the API server was last heard.", "kind"
        )
        objects = _gauge("objects", "Objects that are known.", "kind")
        lists = CounterMetricFamily(
            f"{PREFIX}discovery_lists", "Complete listings that were read.", labels=["kind"]
        )
        errors = CounterMetricFamily(
            f"{PREFIX}discovery_errors", "Failures to read.", labels=["kind", "reason"]
        )
        for kind, figures in now.watches.items():
            connected.add_metric([kind], float(figures.connected))
            contact.add_metric([kind], figures.last_contact_unix)
            objects.add_metric([kind], figures.objects)
            lists.add_metric([kind], figures.lists)
            for reason, count in figures.errors.items():
                errors.add_metric([kind, reason], count)
        plain: list[Metric] = []
        if now.watches:
            for name, documentation, value in (
                ("endpoints", "Addresses that pods serve on, ready or not.", now.endpoints),
                ("problems", "Faults of objects that were found.", now.problems),
                ("gateways", "Gateways that share every backend.", now.share_count),
            ):
                plain.append(GaugeMetricFamily(f"{PREFIX}discovery_{name}", documentation, value))
        return [connected, contact, objects, lists, errors, *plain]


def _gauge(name: str, documentation: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}discovery_{name}", documentation, labels=[label])
