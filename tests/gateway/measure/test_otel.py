import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status as WireStatus

from alise_core.outcome import Outcome
from alise_core.record import RequestRecord
from alise_core.wire.openai import Endpoint
from alise_gateway.domain.request import RawHeaders
from alise_gateway.measure import tracing as stage
from alise_gateway.measure.otel import OtelTracing, open_tracing
from alise_gateway.measure.timing import intervals_of
from alise_gateway.measure.traceparent import parse_traceparent
from fakes.record import TRACE_ID, a_record, a_refusal

pytestmark = pytest.mark.slow

PARENT_SPAN = "b7ad6b7169203331"
SAMPLED = [(b"traceparent", f"00-{TRACE_ID}-{PARENT_SPAN}-01".encode())]
NOT_SAMPLED = [(b"traceparent", f"00-{TRACE_ID}-{PARENT_SPAN}-00".encode())]
ARRIVAL_NS = 1_750_000_000_500_000_000


class Collector:
    """A real OTLP/HTTP collector on 127.0.0.1 that remembers what it was sent."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.paths.append(self.path)
                outer.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  inherited
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def spans(self) -> list[WireSpan]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


def attributes(pairs: Any) -> dict[str, Any]:
    def value(pair: KeyValue) -> Any:
        return getattr(pair.value, pair.value.WhichOneof("value") or "string_value")

    return {pair.key: value(pair) for pair in pairs}


def exported(collector: Collector, headers: RawHeaders, record: RequestRecord) -> WireSpan:
    tracing = open_tracing(collector.url + "/", 1.0, {"service.version": "1"})
    trace = tracing.begin(headers, record.endpoint, record.arrival_unix)
    tracing.finish(trace, record, intervals_of(record))
    tracing.close()
    (span,) = collector.spans()
    return span


def test_a_completed_request_is_one_server_span(collector: Collector) -> None:
    span = exported(collector, [*SAMPLED, (b"tracestate", b"vendor=x")], a_record())
    assert collector.paths == ["/v1/traces"]
    assert span.name == "chat org/model"
    assert span.kind == WireSpan.SPAN_KIND_SERVER
    assert span.trace_id.hex() == TRACE_ID
    assert span.parent_span_id.hex() == PARENT_SPAN
    assert span.trace_state == "vendor=x"
    assert span.start_time_unix_nano == ARRIVAL_NS
    assert span.end_time_unix_nano == ARRIVAL_NS + 3_500_000_000
    assert span.status.code == WireStatus.STATUS_CODE_UNSET
    assert attributes(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "org/model",
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 1.0,
        "gen_ai.usage.input_tokens": 512,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 256,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v1/chat/completions",
        "alise.attempts": 1,
        "alise.backend": "10.0.0.1:8000",
        "alise.service_class": "default",
        "alise.outcome": "completed",
        "alise.queue_ms": 250.0,
        "alise.request_id": "req-1",
        "alise.tenant": "team-a",
    }
    events = {event.name: event.time_unix_nano - ARRIVAL_NS for event in span.events}
    assert events == {
        "enqueued": 250_000_000,
        "dispatched": 500_000_000,
        "first_token": 1_000_000_000,
        "last_token": 3_000_000_000,
    }


def test_the_process_is_named(collector: Collector) -> None:
    exported(collector, [], a_record())
    (resource,) = [item.resource for item in collector.requests[0].resource_spans]
    named = attributes(resource.attributes)
    assert named["service.name"] == "alise-gateway"
    assert named["service.version"] == "1"


def test_without_a_parent_a_trace_begins(collector: Collector) -> None:
    span = exported(collector, [(b"traceparent", b"bad")], a_record(endpoint=Endpoint.EMBEDDINGS))
    assert span.parent_span_id == b""
    assert span.trace_id.hex() != TRACE_ID
    assert span.name == "embeddings org/model"


def test_failures_are_errors_and_refusals_are_not(collector: Collector) -> None:
    tracing = open_tracing(collector.url, 1.0, {})
    for record in (a_record(outcome=Outcome.FAILED_BACKEND_ERROR, status=502), a_refusal()):
        trace = tracing.begin([], record.endpoint, record.arrival_unix)
        tracing.finish(trace, record, intervals_of(record))
    tracing.close()
    failed, refused = collector.spans()
    assert failed.status.code == WireStatus.STATUS_CODE_ERROR
    assert attributes(failed.attributes)["error.type"] == "failed_backend_error"
    assert refused.status.code == WireStatus.STATUS_CODE_UNSET
    assert attributes(refused.attributes)["error.type"] == "rejected_invalid"
    assert "alise.queue_ms" not in attributes(refused.attributes)


def test_a_request_nobody_could_read_has_a_span(collector: Collector) -> None:
    span = exported(collector, [], a_refusal(endpoint=None, model=""))
    assert span.name == "request"
    assert "gen_ai.operation.name" not in attributes(span.attributes)


def test_the_backend_becomes_a_child_of_the_gateways_span(collector: Collector) -> None:
    tracing = open_tracing(collector.url, 1.0, {})
    state = [(b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    trace = tracing.begin([*SAMPLED, *state], Endpoint.MESSAGES, 0.0)
    sent = dict(trace.upstream_headers())
    tracing.finish(trace, a_record(), intervals_of(a_record()))
    tracing.close()
    parent = parse_traceparent(sent[b"traceparent"])
    assert parent is not None
    assert parent.trace_id == trace.trace_id == TRACE_ID
    assert parent.span_id == collector.spans()[0].span_id.hex() != PARENT_SPAN
    assert parent.sampled
    assert sent[b"tracestate"] == b"a=1,b=2"
    assert trace.traceparent == sent[b"traceparent"].decode()


def test_the_parents_decision_stands_and_the_ratio_applies_without_one(
    collector: Collector,
) -> None:
    tracing = open_tracing(collector.url, 0.0, {})
    sampled = {}
    for name, headers in {"none": [], "no": NOT_SAMPLED, "yes": SAMPLED}.items():
        trace = tracing.begin(headers, Endpoint.MESSAGES, 0.0)
        parent = parse_traceparent(trace.upstream_headers()[0][1])
        assert parent is not None
        sampled[name] = parent.sampled
        tracing.finish(trace, a_record(), intervals_of(a_record()))
    tracing.close()
    assert sampled == {"none": False, "no": False, "yes": True}
    assert len(collector.spans()) == 1


def test_a_collector_that_is_down_delays_nothing(collector: Collector) -> None:
    collector.stop()
    script = (
        "import time\n"
        "from alise_gateway.measure.tracing import open_tracing\n"
        f"tracing = open_tracing({collector.url!r}, 1.0, {{}})\n"
        "tracing.begin([], None, 0.0).span.end()\n"
        "start = time.monotonic()\n"
        "tracing.close()\n"
        "print(time.monotonic() - start)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)  # noqa: S603
    assert float(done.stdout) < 15


def test_spans_are_not_tied_to_a_global_provider(collector: Collector) -> None:
    first, second = (stage.open_tracing(collector.url, 1.0, {}) for _ in range(2))
    assert isinstance(first, OtelTracing)
    first.close()
    trace = second.begin([], None, 0.0)
    second.finish(trace, a_record(), intervals_of(a_record()))
    second.close()
    assert len(collector.spans()) == 1
