"""Gauges are read when somebody scrapes, so that keeping them costs a request nothing."""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from alise_core.wire import gateway_metrics
from alise_gateway.domain.backend_load import BackendLoad
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
class KvDemand:
    """KV tokens that the requests of one model are predicted to need, waiting or running.

    Attributes:
        p50: With every answer at its median.
        p90: With every answer at its 90th percentile.
        peak_p50: The most that they hold at one time, with every answer at its median.
        peak_p90: The same, not exceeded in about nine of ten cases.
    """

    p50: float
    p90: float
    peak_p50: float
    peak_p90: float


@dataclass(frozen=True, slots=True)
class GaugeSnapshot:
    """The gateway's present state, as the composition root reads it for one scrape.

    Attributes:
        in_flight: Dispatched and unfinished requests, by backend name.
        upstream: Connections, by backend name.
        loads: How much of each backend is taken, by backend name.
        backends: How many backends are in each state; a missing state counts as 0.
        waiting: Requests in the queue, by service class.
        demand: KV tokens that all requests are predicted to need, by model.
        client_connections: Open connections on the inference port.
        draining: The process is shutting down and admits nothing.
        predictions: The length predictor; ``None`` where none is wanted.
    """

    in_flight: Mapping[str, int] = field(default_factory=dict)
    upstream: Mapping[str, UpstreamConnections] = field(default_factory=dict)
    loads: Mapping[str, BackendLoad] = field(default_factory=dict)
    backends: Mapping[BackendState, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    demand: Mapping[str, KvDemand] = field(default_factory=dict)
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
            _by_label("waiting_requests", _WAITING, "service_class", now.waiting),
            *self._demand(now.demand),
            _plain("client_connections", _CLIENT_CONNECTIONS, now.client_connections),
            _upstream(now.upstream),
            _by_label("backends", _BACKENDS, "state", {s: now.backends.get(s, 0) for s in _STATES}),
            _plain("draining", "1 while the process shuts down, otherwise 0.", int(now.draining)),
            InfoMetricFamily(f"{PREFIX}build", "What is running.", self._build),
            *_loads(now.loads),
            *self._predictions(now.predictions or PredictionSnapshot()),
        ]

    def _demand(self, demand: Mapping[str, KvDemand]) -> tuple[Metric, Metric]:
        labels = ["model", "quantile"]
        ends = GaugeMetricFamily(PREFIX + "predicted_kv_demand_tokens", _DEMAND, labels=labels)
        peak = GaugeMetricFamily(gateway_metrics.PREDICTED_KV_PEAK, _PEAK, labels=labels)
        for model, needs in demand.items():
            label = self._models.label(model, learn=False)
            if label != OTHER:
                ends.add_metric([label, "0.5"], needs.p50)
                ends.add_metric([label, "0.9"], needs.p90)
                peak.add_metric([label, "0.5"], needs.peak_p50)
                peak.add_metric([label, "0.9"], needs.peak_p90)
        return ends, peak

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
_LOADS: Final[tuple[tuple[str, str, Callable[[BackendLoad], float | None]], ...]] = (
    ("kv_capacity_tokens", "KV memory of a backend.", lambda load: load.capacity_tokens),
    ("kv_used_ratio", "KV memory in use, as the engine says.", lambda load: load.kv_used_ratio),
    (
        "kv_predicted_peak_ratio",
        "KV memory that what is in flight is expected to need at its worst moment.",
        lambda load: load.kv_predicted_peak_ratio,
    ),
    (
        "kv_correction_ratio",
        "KV memory in use as a multiple of what was expected.",
        lambda load: load.kv_correction_ratio,
    ),
    (
        "admission_quantile_ratio",
        "Quantile of the predicted length that memory is reserved for.",
        lambda load: load.admission_quantile_ratio,
    ),
    (
        "in_flight_limit_requests",
        "Requests that a backend may be given at a time.",
        lambda load: load.in_flight_limit,
    ),
    (
        "figures_stale",
        "1 while a backend's own figures are missing or too old, otherwise 0.",
        lambda load: float(load.figures_stale),
    ),
    (
        "engine_waiting_requests",
        "Requests in a backend's own queue, as the engine says.",
        lambda load: load.engine_waiting,
    ),
    (
        "step_seconds",
        "Expected time per output token at the present number in flight.",
        lambda load: load.step_seconds,
    ),
)
_STATES: Final = tuple(BackendState)
_IN_FLIGHT: Final = "Requests dispatched to a backend and not finished."
_WAITING: Final = "Requests in the gateway's queue."
_DEMAND: Final = "KV tokens that waiting and running requests are predicted to need at their ends."
_PEAK: Final = "The most KV tokens that they are predicted to hold at one time."
_CLIENT_CONNECTIONS: Final = "Open client connections on the inference port."
_BACKENDS: Final = "Backends by state."


def _plain(name: str, documentation: str, value: int) -> Metric:
    return GaugeMetricFamily(PREFIX + name, documentation, value)


def _by_label(name: str, documentation: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, documentation, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _loads(loads: Mapping[str, BackendLoad]) -> list[Metric]:
    families: list[Metric] = []
    for name, documentation, read in _LOADS:
        family = GaugeMetricFamily(f"{PREFIX}backend_{name}", documentation, labels=["backend"])
        for backend, load in loads.items():
            value = read(load)
            if value is not None:
                family.add_metric([backend], value)
        families.append(family)
    return families


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
