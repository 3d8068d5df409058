import subprocess
import sys

from alise_core.wire.openai import Endpoint
from alise_gateway.measure.timing import intervals_of
from alise_gateway.measure.tracing import ForwardingTracing, open_tracing
from fakes.record import TRACE_ID, a_record

PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-00"
HEADERS = [(b"traceparent", PARENT.encode()), (b"tracestate", b"vendor=x")]


def test_without_an_endpoint_the_context_is_forwarded() -> None:
    tracing = open_tracing(None, 1.0, {})
    assert isinstance(tracing, ForwardingTracing)
    trace = tracing.begin([(b"host", b"x"), *HEADERS], Endpoint.MESSAGES, 0.0)
    assert trace.trace_id == TRACE_ID
    assert trace.traceparent == PARENT
    assert trace.upstream_headers() == HEADERS
    tracing.finish(trace, a_record(), intervals_of(a_record()))
    tracing.close()


def test_without_a_context_nothing_is_invented() -> None:
    trace = ForwardingTracing().begin([(b"traceparent", b"bad")], None, 0.0)
    assert trace.trace_id is None
    assert trace.traceparent is None
    assert trace.upstream_headers() == []


def test_without_an_endpoint_opentelemetry_is_not_imported() -> None:
    script = (
        "import sys\n"
        "import alise_gateway.measure.recorder\n"
        "from alise_gateway.measure.tracing import open_tracing\n"
        "open_tracing(None, 1.0, {}).begin([], None, 0.0)\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(loaded & {'opentelemetry', 'fastapi'} or 'none')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)  # noqa: S603
    assert done.stdout.strip() == b"none"
