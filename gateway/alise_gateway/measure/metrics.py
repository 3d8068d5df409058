"""The gateway's metrics: every name once, listed in ``docs/metrics.md`` and compared by a test.

In come finished requests and rare events; out goes one exposition per scrape. Written on the
event loop only. Labels are closed enums or capped, so the number of series is bounded whatever
clients send; a model's name takes one of the places only after the catalogue accepted it.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from alise_core.outcome import Outcome
from alise_core.record import RequestRecord
from alise_core.service_class import ServiceClass
from alise_core.wire.openai import Endpoint
from alise_gateway.domain.backend import ProbeState
from alise_gateway.domain.breaker import BreakerState
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.failure import FailureKind
from alise_gateway.domain.scrape import ScrapeResult
from alise_gateway.measure.cluster import ClusterMetrics
from alise_gateway.measure.gauges import PREFIX, Gauges, GaugeSnapshot
from alise_gateway.measure.labels import (
    OTHER,
    UNKNOWN,
    CappedLabel,
    ConfigSource,
    Success,
)
from alise_gateway.measure.predictions import PredictionMetrics
from alise_gateway.measure.series import Counters, Histograms
from alise_gateway.measure.timing import Intervals

# Bounds are chosen where decisions are made: fine around common targets, coarse beyond, and each
# family reaches the timeout that ends it, so that nothing real falls beyond the last bound.
DURATION_BOUNDS: Final = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0),
    3600.0,
)
"""Seconds; a one-token answer up to ``timeouts.total_seconds``."""
TTFT_BOUNDS: Final = (
    *(0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
    300.0,
)
"""Seconds; objectives lie between 0.2 and 2.5; up to ``timeouts.first_byte_seconds``."""
TPOT_BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1),
    *(0.2, 0.5, 1.0, 2.5),
)
"""Seconds per token; readers notice above about 0.1, agents profit below 0.02."""
QUEUE_BOUNDS: Final = (
    *(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0),
)
"""Seconds; an empty queue costs well under the first bound, ``queue.ttl_seconds`` ends at the
last."""

_PAIRS_PER_VALUE: Final = 10
"""Pairs of model and tenant kept apart, per place in the cap of either: both caps full would
otherwise multiply to a million series."""

_ABSURD_TOKENS: Final = 1_000_000_000
"""No context is longer."""

_OPENMETRICS: Final = "application/openmetrics-text"


class _RequestSeries:
    """Every series that one kind of request touches, looked up once."""

    __slots__ = (
        "cached_tokens",
        "duration",
        "output_tokens",
        "prompt_tokens",
        "queue",
        "request_bytes",
        "requests",
        "response_bytes",
        "tpot",
        "ttft",
    )

    def __init__(self, families: "_Families", labels: tuple[str, str, str, str]) -> None:
        endpoint, model, tenant, outcome = labels
        self.requests = families.requests.cell(endpoint, model, tenant, outcome)
        completed = outcome == Outcome.COMPLETED
        self.duration = families.duration.cell(endpoint, model) if completed else None
        self.ttft = families.ttft.cell(endpoint, model)
        self.tpot = families.tpot.cell(endpoint, model)
        self.queue = families.queue.cell(endpoint, model)
        self.prompt_tokens = families.prompt_tokens.cell(model, tenant)
        self.output_tokens = families.output_tokens.cell(model, tenant)
        self.cached_tokens = families.cached_tokens.cell(model, tenant)
        self.request_bytes = families.request_bytes.cell(endpoint)
        self.response_bytes = families.response_bytes.cell(endpoint)

    def add(self, record: RequestRecord, intervals: Intervals) -> None:
        """Count one request."""
        self.requests.value += 1
        self.request_bytes.value += record.request_bytes
        self.response_bytes.value += record.response_bytes
        if self.duration is not None:
            self.duration.observe(intervals.e2e_s)
        if intervals.queue_s is not None:
            self.queue.observe(intervals.queue_s)
        if intervals.ttft_s is not None:
            self.ttft.observe(intervals.ttft_s)
        if intervals.tpot_s is not None:
            self.tpot.observe(intervals.tpot_s)
        # A backend reports these, and one that talks nonsense must not turn a counter back or
        # make it a number that no scrape can render.
        for cell, tokens in (
            (self.prompt_tokens, record.prompt_tokens),
            (self.output_tokens, record.output_tokens),
            (self.cached_tokens, record.cached_tokens),
        ):
            if tokens is not None and 0 < tokens < _ABSURD_TOKENS:
                cell.value += tokens


class _Families:
    """The metric families that are stored; gauges are read instead."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        by_request = ("endpoint", "model", "tenant", "outcome")
        by_model, by_payer = ("endpoint", "model"), ("model", "tenant")
        self.requests = self._counters("requests_total", "Finished requests.", *by_request)
        self.duration = self._histograms(
            "request_duration_seconds",
            "Arrival to end of completed requests.",
            by_model,
            DURATION_BOUNDS,
        )
        self.ttft = self._histograms(
            "time_to_first_token_seconds",
            "Arrival to first token of streamed answers.",
            by_model,
            TTFT_BOUNDS,
        )
        self.tpot = self._histograms(
            "time_per_output_token_seconds",
            "Mean gap between output tokens, one sample per streamed answer.",
            by_model,
            TPOT_BOUNDS,
        )
        self.queue = self._histograms(
            "queue_duration_seconds",
            "Wait in the gateway's queue of requests that were dispatched.",
            by_model,
            QUEUE_BOUNDS,
        )
        self.prompt_tokens = self._counters(
            "prompt_tokens_total", "Prompt tokens, as the engine counts them.", *by_payer
        )
        self.output_tokens = self._counters(
            "output_tokens_total", "Output tokens, as the engine counts them.", *by_payer
        )
        self.cached_tokens = self._counters(
            "cached_tokens_total", "Prompt tokens that the engine's prefix cache served.", *by_payer
        )
        self.request_bytes = self._counters(
            "request_bytes_total", "Bytes of request bodies read from clients.", "endpoint"
        )
        self.response_bytes = self._counters(
            "response_bytes_total", "Bytes of response bodies written to clients.", "endpoint"
        )
        self._add_rare_ones()

    def _add_rare_ones(self) -> None:
        self.drops = self._counters(
            "drops_total", "Requests that the queue did not serve.", "service_class", "reason"
        )
        self.retries = self._counters(
            "retries_total", "Attempts repeated after a failure.", "backend", "reason"
        )
        self.failures = self._counters(
            "backend_failures_total", "Failed attempts.", "backend", "kind"
        )
        self.breaker = self._counters(
            "breaker_transitions_total", "Entries into a breaker state.", "backend", "state"
        )
        self.probes = self._counters("probes_total", "Health probes.", "backend", "result")
        self.scrapes = self._counters(
            "scrapes_total", "Attempts to read an engine's metrics.", "backend", "result"
        )
        self.fallbacks = self._counters(
            "fallbacks_total", "Requests that another model answers for want of backends.", "model"
        )
        self.reloads = self._counters(
            "config_reloads_total", "Files read again after they changed.", "source", "result"
        )
        self.dropped_lines = self._counters(
            "log_lines_dropped_total", "Request log lines lost because the sink was too slow."
        )
        self.stalled = self._counters(
            "loop_stalled_seconds_total",
            "Seconds in which the event loop stood still, in stalls of a quarter second or more.",
        )

    def _counters(self, name: str, documentation: str, *labels: str) -> Counters:
        family = Counters(PREFIX + name, documentation, labels)
        self._registry.register(family)
        return family

    def _histograms(
        self, name: str, documentation: str, labels: tuple[str, ...], bounds: tuple[float, ...]
    ) -> Histograms:
        family = Histograms(PREFIX + name, documentation, labels, bounds)
        self._registry.register(family)
        return family


class GatewayMetrics:
    """All metrics of one gateway process.

    Args:
        registry: Where everything is registered, process metrics included.
        max_label_values: Distinct models, and distinct tenants, that keep their own label.
    """

    def __init__(self, registry: CollectorRegistry, max_label_values: int) -> None:
        self._registry = registry
        self._families = _Families(registry)
        self._models = CappedLabel(max_label_values)
        self._tenants = CappedLabel(max_label_values)
        self._gauges = Gauges(self._models, self._tenants)
        registry.register(self._gauges)
        ProcessCollector(registry=registry)
        self._max_pairs = max_label_values * _PAIRS_PER_VALUE
        self._pairs: set[tuple[str, str]] = set()
        self._series: dict[tuple[Endpoint | None, str, str, Outcome], _RequestSeries] = {}
        self.predictions = PredictionMetrics(registry)
        self.cluster = ClusterMetrics(registry)
        self._start_at_zero()

    def finished(self, record: RequestRecord, intervals: Intervals) -> None:
        """Count one finished request."""
        # The catalogue vouches for the model of a request that was enqueued, identity for the
        # tenant of any request that has one.
        model = self._models.label(record.model, learn=record.enqueued is not None)
        tenant = self._tenants.label(record.tenant)
        key = (record.endpoint, model, tenant, record.outcome)
        series = self._series.get(key)
        if series is None:
            series = self._first_of_its_kind(key)
        series.add(record, intervals)
        tokens = record.output_tokens
        completed = record.outcome is Outcome.COMPLETED
        if completed and record.predicted is not None and tokens is not None:
            self.predictions.answered(
                model, record.predicted, min(tokens, _ABSURD_TOKENS), record.output_capped
            )

    def dropped(self, service_class: ServiceClass, reason: DropReason) -> None:
        """The queue did not serve a request of this class."""
        self._families.drops.cell(service_class, reason).value += 1

    def retried(self, backend: str, reason: FailureKind) -> None:
        """An attempt on ``backend`` failed and the request is tried again."""
        self._families.retries.cell(backend, reason).value += 1

    def backend_failed(self, backend: str, kind: FailureKind) -> None:
        """An attempt on ``backend`` failed."""
        self._families.failures.cell(backend, kind).value += 1

    def breaker_moved(self, backend: str, state: BreakerState) -> None:
        """The breaker of ``backend`` entered ``state``."""
        self._families.breaker.cell(backend, state).value += 1

    def fell_back(self, model: str) -> None:
        """No backend of ``model`` is usable; a request goes to its fallback."""
        # Settings name it: there are no more of them than there are fallbacks.
        self._families.fallbacks.cell(model).value += 1

    def probed(self, backend: str, result: ProbeState) -> None:
        """A health probe of ``backend`` ended."""
        self._families.probes.cell(backend, result).value += 1

    def scraped(self, backend: str, result: ScrapeResult) -> None:
        """An attempt to read the metrics of ``backend`` ended."""
        self._families.scrapes.cell(backend, result).value += 1

    def config_reloaded(self, source: ConfigSource, result: Success) -> None:
        """``source`` changed and was read again."""
        self._families.reloads.cell(source, result).value += 1

    def log_lines_dropped(self, lines: int) -> None:
        """The request log lost ``lines`` lines."""
        self._families.dropped_lines.cell().value += lines

    def stalled(self, seconds: float) -> None:
        """The gateway stood still, mostly for want of CPU."""
        self._families.stalled.cell().value += seconds

    def add_backend(self, backend: str) -> None:
        """Start a newly listed backend's series at zero, so that rates see its first event."""
        families = self._families
        for kind in FailureKind:
            families.retries.cell(backend, kind)
            families.failures.cell(backend, kind)
        for state in BreakerState:
            families.breaker.cell(backend, state)
        for result in ProbeState:
            if result is not ProbeState.UNKNOWN:
                families.probes.cell(backend, result)
        for scrape in ScrapeResult:
            families.scrapes.cell(backend, scrape)

    def forget_backend(self, backend: str) -> None:
        """Drop the series of a backend that is gone: pods come and go, series must too."""
        families = self._families
        for counters in (
            families.retries,
            families.failures,
            families.breaker,
            families.probes,
            families.scrapes,
        ):
            counters.forget(backend)

    def bind_gauges(self, read: Callable[[], GaugeSnapshot]) -> None:
        """Read gauges from ``read``, once per scrape, on the event loop."""
        self._gauges.read = read

    def render(self, accept: str | None) -> tuple[bytes, str]:
        """One exposition.

        Args:
            accept: The scraper's ``Accept`` header.

        Returns: Body and content type: OpenMetrics 1.0 where offered, else Prometheus text 0.0.4.
        """
        if _accepts_openmetrics(accept or ""):
            body: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return body, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def _first_of_its_kind(self, key: tuple[Endpoint | None, str, str, Outcome]) -> _RequestSeries:
        endpoint, model, tenant, outcome = key
        pair = (model, tenant)
        if pair not in self._pairs and len(self._pairs) >= self._max_pairs:
            # Not remembered in ``_series``: what is beyond the cap takes this path every time.
            return _RequestSeries(self._families, (endpoint or UNKNOWN, model, OTHER, outcome))
        self._pairs.add(pair)
        series = _RequestSeries(self._families, (endpoint or UNKNOWN, model, tenant, outcome))
        self._series[key] = series
        return series

    def _start_at_zero(self) -> None:
        for endpoint in (*Endpoint, UNKNOWN):
            self._families.request_bytes.cell(endpoint)
            self._families.response_bytes.cell(endpoint)
        for service_class in ServiceClass:
            for reason in DropReason:
                self._families.drops.cell(service_class, reason)
        for source in ConfigSource:
            for result in Success:
                self._families.reloads.cell(source, result)


def _accepts_openmetrics(accept: str) -> bool:
    # Only the major version matters: 0.0.1 is the draft that no current scraper insists on.
    for offer in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in offer.split(";"))
        refused = "q=0" in parameters or "version=0.0.1" in parameters
        if media_type == _OPENMETRICS and not refused:
            return True
    return False
