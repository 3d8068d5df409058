"""Gauges are read when somebody scrapes, so that keeping them costs a request nothing."""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from alise_gateway.domain.prediction import LearnedFigures
from alise_gateway.measure.labels import OTHER, BackendState, CappedLabel, ConnectionState

PREFIX: Final = "alise_gateway_"


@dataclass(frozen=True, slots=True)
class UpstreamConnections:
    """Connections to one backend, by what they are doing."""

    idle: int = 0
    busy: int = 0
    connecting: int = 0


@dataclass(frozen=True, slots=True)
class PredictionSnapshot:
    """The length predictor's present state.

    Attributes:
        tiers: Which tiers are in use, by name.
        refinements: Waiting requests whose refinement has not begun.
        learned_pairs: Pairs of tenant and model that something was learned about.
        learned: Figures of the pairs that learned last.
    """

    tiers: Mapping[str, bool] = field(default_factory=dict)
    refinements: int = 0
    learned_pairs: int = 0
    learned: Sequence[LearnedFigures] = ()


@dataclass(frozen=True, slots=True)
class GaugeSnapshot:
    """The gateway's present state, as the composition root reads it for one scrape.

    Attributes:
        in_flight: Dispatched and unfinished requests, by backend name.
        upstream: Connections, by backend name.
        backends: How many backends are in each state; a missing state counts as 0.
        waiting: Requests in the queue.
        client_connections: Open connections on the inference port.
        draining: The process is shutting down and admits nothing.
        predictions: The length predictor; ``None`` where none is wanted.
    """

    in_flight: Mapping[str, int] = field(default_factory=dict)
    upstream: Mapping[str, UpstreamConnections] = field(default_factory=dict)
    backends: Mapping[BackendState, int] = field(default_factory=dict)
    waiting: int = 0
    client_connections: int = 0
    draining: bool = False
    predictions: PredictionSnapshot | None = None


class Gauges(Collector):
    """Turns one snapshot per scrape into gauge families."""

    def __init__(self, models: CappedLabel, tenants: CappedLabel) -> None:
        self._models = models
        self._tenants = tenants
        self.read: Callable[[], GaugeSnapshot] = GaugeSnapshot
        # A plain gauge with the suffix in its name would not be an info metric to OpenMetrics.
        self._build = {"version": version("alise"), "python": platform.python_version()}

    def describe(self) -> Iterable[Metric]:
        """The families without samples, from which the registry learns the names."""
        return self._families(GaugeSnapshot())

    def collect(self) -> Iterable[Metric]:
        """The state right now."""
        return self._families(self.read())

    def _families(self, now: GaugeSnapshot) -> list[Metric]:
        return [
            _by_label("in_flight_requests", _IN_FLIGHT, "backend", now.in_flight),
            _plain("waiting_requests", "Requests in the gateway's queue.", now.waiting),
            _plain("client_connections", _CLIENT_CONNECTIONS, now.client_connections),
            _upstream(now.upstream),
            _by_label("backends", _BACKENDS, "state", {s: now.backends.get(s, 0) for s in _STATES}),
            _plain("draining", "1 while the process shuts down, otherwise 0.", int(now.draining)),
            InfoMetricFamily(f"{PREFIX}build", "What is running.", self._build),
            *self._predictions(now.predictions or PredictionSnapshot()),
        ]

    def _predictions(self, now: PredictionSnapshot) -> list[Metric]:
        return [
            _by_label("predictor_tier_loaded", _TIERS, "tier", now.tiers),
            _plain("refinement_backlog_requests", _REFINEMENTS, now.refinements),
            _plain("learned_pairs", _PAIRS, now.learned_pairs),
            *self._learned(now.learned),
        ]

    def _learned(self, figures: Sequence[LearnedFigures]) -> Sequence[Metric]:
        families = [
            GaugeMetricFamily(PREFIX + name, documentation, labels=["model", "tenant"])
            for name, documentation in _LEARNED
        ]
        for figure in figures:
            labels = [
                self._models.label(figure.model, learn=False),
                self._tenants.label(figure.tenant, learn=False),
            ]
            if OTHER in labels:
                continue  # several pairs would claim the same series
            values = (
                figure.concordance,
                figure.coverage_p80,
                figure.coverage_p90,
                figure.drift,
                float(figure.fallback is None),
            )
            for family, value in zip(families, values, strict=True):
                if value is not None:
                    family.add_metric(labels, value)
        return families


_TIERS: Final = "1 for a tier of the length predictor that is in use, 0 for one that is wanted."
_REFINEMENTS: Final = "Waiting requests whose refinement has not begun."
_PAIRS: Final = "Pairs of model and tenant that predictions are corrected for."
_LEARNED: Final = (
    ("prediction_concordance_ratio", "Share of recent pairs of answers predicted in order."),
    ("prediction_coverage_p80_ratio", "Share of recent answers between p10 and p90."),
    ("prediction_coverage_p90_ratio", "Share of recent answers at or below p90."),
    ("prediction_drift_index", "Population stability index of recent lengths."),
    ("prediction_trusted", "1 while the model's predictions are used, 0 in fallback."),
)
_STATES: Final = tuple(BackendState)
_IN_FLIGHT: Final = "Requests dispatched to a backend and not finished."
_CLIENT_CONNECTIONS: Final = "Open client connections on the inference port."
_BACKENDS: Final = "Backends by state."


def _plain(name: str, documentation: str, value: int) -> Metric:
    return GaugeMetricFamily(PREFIX + name, documentation, value)


def _by_label(name: str, documentation: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, documentation, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _upstream(upstream: Mapping[str, UpstreamConnections]) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}upstream_connections",
        "Connections to backends by what they are doing.",
        labels=["backend", "state"],
    )
    for backend, connections in upstream.items():
        family.add_metric([backend, ConnectionState.IDLE], connections.idle)
        family.add_metric([backend, ConnectionState.BUSY], connections.busy)
        family.add_metric([backend, ConnectionState.CONNECTING], connections.connecting)
    return family
