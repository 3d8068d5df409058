"""One server span per request, exported over OTLP/HTTP; the only importer of OpenTelemetry.

Attributes follow the GenAI conventions where they have a name (Source: OpenTelemetry semantic
conventions, gen-ai spans, and the HTTP server span attributes); the scheduler's own are
``alise.*``. Prompts and completions are never attached. The SDK's batch processor exports from
its own thread and drops spans when the collector does not keep up.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Final, cast

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import AttributeValue

from alise_core.outcome import Outcome
from alise_core.record import RequestRecord
from alise_core.wire.headers import TRACEPARENT, TRACESTATE
from alise_core.wire.openai import PATHS, Endpoint
from alise_gateway.domain.request import RawHeaders
from alise_gateway.measure.labels import clean
from alise_gateway.measure.timing import Intervals
from alise_gateway.measure.traceparent import TraceParent, trace_context
from alise_gateway.measure.tracing import Trace

_EXPORT_TIMEOUT_SECONDS: Final = 5.0
_SERVER_ERROR: Final = 500
_NANOSECONDS: Final = 1_000_000_000
_PROVIDER: Final = "vllm"

_OPERATIONS: Final = {
    Endpoint.CHAT_COMPLETIONS: "chat",
    Endpoint.COMPLETIONS: "text_completion",
    Endpoint.RESPONSES: "chat",
    Endpoint.MESSAGES: "chat",
    Endpoint.EMBEDDINGS: "embeddings",
}
_ROUTES: Final = {endpoint: path.decode() for path, endpoint in PATHS.items()}


class SpanTrace:
    """A request with a span of its own."""

    __slots__ = ("span",)

    def __init__(self, span: api.Span) -> None:
        self.span = span

    @property
    def trace_id(self) -> str | None:
        """The caller's trace, or a new one."""
        return api.format_trace_id(self.span.get_span_context().trace_id)

    @property
    def traceparent(self) -> str | None:
        """Names the gateway's span as the backend's parent."""
        context = self.span.get_span_context()
        trace_id, span_id = (
            api.format_trace_id(context.trace_id),
            api.format_span_id(context.span_id),
        )
        return f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"

    def upstream_headers(self) -> RawHeaders:
        """The span's own ``traceparent`` and the caller's ``tracestate``."""
        headers = [(TRACEPARENT, (self.traceparent or "").encode())]
        state = self.span.get_span_context().trace_state.to_header()
        return [*headers, (TRACESTATE, state.encode())] if state else headers


class OtelTracing:
    """Implements ``tracing.Tracing`` with the OpenTelemetry SDK.

    Args:
        exporter: Where spans go.
        sample_ratio: For requests without a parent.
        resource: Attributes of the process.
    """

    def __init__(
        self, exporter: SpanExporter, sample_ratio: float, resource: Mapping[str, str]
    ) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource.create({SERVICE_NAME: "alise-gateway", **resource}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("alise_gateway")

    def begin(self, headers: RawHeaders, endpoint: Endpoint | None, arrival_unix: float) -> Trace:
        """Start the request's span, below the caller's where there is one."""
        parent, fields = trace_context(headers)
        span = self._tracer.start_span(
            _OPERATIONS[endpoint] if endpoint else "request",
            context=api.set_span_in_context(_remote(parent, fields)) if parent else None,
            kind=api.SpanKind.SERVER,
            start_time=int(arrival_unix * _NANOSECONDS),
        )
        return SpanTrace(span)

    def finish(self, trace: Trace, record: RequestRecord, intervals: Intervals) -> None:
        """Describe and end the span."""
        # Only ``begin`` makes the traces that come back here.
        span = cast("SpanTrace", trace).span
        if span.is_recording():
            if record.endpoint:
                span.update_name(f"{_OPERATIONS[record.endpoint]} {clean(record.model)}".rstrip())
            span.set_attributes(dict(_attributes(record, intervals)))
            for name, mark in _marks(record):
                span.add_event(name, timestamp=_unix_ns(record, mark))
            if record.status >= _SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR, record.outcome))
        span.end(end_time=_unix_ns(record, record.finished))

    def close(self) -> None:
        """Export what is left and stop the thread; blocks up to the export timeout."""
        self._provider.shutdown()


def open_tracing(endpoint: str, sample_ratio: float, resource: Mapping[str, str]) -> OtelTracing:
    """Export to the OTLP/HTTP collector at the base URL ``endpoint``."""
    # An unreachable collector is the SDK's to retry; one line per batch is enough.
    logging.getLogger("opentelemetry").setLevel(logging.WARNING)
    exporter = OTLPSpanExporter(
        endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=_EXPORT_TIMEOUT_SECONDS
    )
    return OtelTracing(exporter, sample_ratio, resource)


def _remote(parent: TraceParent, fields: RawHeaders) -> api.Span:
    states = [value.decode("latin-1") for name, value in fields if name == TRACESTATE]
    return api.NonRecordingSpan(
        api.SpanContext(
            trace_id=int(parent.trace_id, 16),
            span_id=int(parent.span_id, 16),
            is_remote=True,
            trace_flags=api.TraceFlags(api.TraceFlags.SAMPLED if parent.sampled else 0),
            trace_state=api.TraceState.from_header(states),
        )
    )


def _attributes(
    record: RequestRecord, intervals: Intervals
) -> Iterator[tuple[str, AttributeValue]]:
    yield "gen_ai.provider.name", _PROVIDER
    yield "http.request.method", "POST"
    yield "http.response.status_code", record.status
    yield "alise.outcome", record.outcome.value
    yield "alise.attempts", record.attempts
    yield "alise.tenant", clean(record.tenant)
    yield "alise.request_id", clean(record.request_id)
    if record.endpoint is not None:
        yield "http.route", _ROUTES[record.endpoint]
        yield "gen_ai.operation.name", _OPERATIONS[record.endpoint]
    if record.outcome is not Outcome.COMPLETED:
        yield "error.type", record.outcome.value
    optional: tuple[tuple[str, AttributeValue | None], ...] = (
        ("gen_ai.request.model", clean(record.model) or None),
        ("gen_ai.request.stream", record.stream or None),
        ("gen_ai.usage.input_tokens", record.prompt_tokens),
        ("gen_ai.usage.output_tokens", record.output_tokens),
        ("gen_ai.usage.cache_read.input_tokens", record.cached_tokens),
        ("gen_ai.response.time_to_first_chunk", intervals.ttft_s),
        ("alise.backend", record.backend),
        ("alise.service_class", record.service_class and record.service_class.value),
        ("alise.queue_ms", None if intervals.queue_s is None else intervals.queue_s * 1000),
    )
    for name, value in optional:
        if value is not None:
            yield name, value


def _marks(record: RequestRecord) -> Iterator[tuple[str, float]]:
    for name in ("enqueued", "dispatched", "first_token", "last_token"):
        mark = getattr(record, name)
        if mark is not None:
            yield name, mark


def _unix_ns(record: RequestRecord, mark: float) -> int:
    # Added as integers: a double holds the epoch to about 200 ns only.
    since_arrival = int((mark - record.arrival) * _NANOSECONDS)
    return int(record.arrival_unix * _NANOSECONDS) + since_arrival
