import asyncio
import json
from io import BytesIO

from prometheus_client import CollectorRegistry

from alise_core.record import RequestRecord
from alise_gateway.measure.access_log import AccessLog
from alise_gateway.measure.metrics import GatewayMetrics
from alise_gateway.measure.recorder import RequestRecorder
from alise_gateway.measure.timing import Intervals, intervals_of
from alise_gateway.measure.tracing import ForwardingTracing, Trace
from fakes.clock import FakeClock
from fakes.record import a_record


class RememberingTracing(ForwardingTracing):
    def __init__(self) -> None:
        self.finished: list[tuple[Trace, RequestRecord, Intervals]] = []

    def finish(self, trace: Trace, record: RequestRecord, intervals: Intervals) -> None:
        self.finished.append((trace, record, intervals))


async def test_one_call_reaches_metrics_log_and_trace() -> None:
    stream = BytesIO()
    metrics = GatewayMetrics(CollectorRegistry(), 10)
    tracing = RememberingTracing()
    loop = asyncio.get_running_loop()
    log = AccessLog(stream, FakeClock(), loop, metrics.log_lines_dropped)
    trace, record = tracing.begin([], None, 0.0), a_record()
    RequestRecorder(metrics, log, tracing).finished(record, trace)
    log.close()
    assert json.loads(stream.getvalue())["request_id"] == "req-1"
    assert b'outcome="completed",tenant="team-a"} 1.0' in metrics.render(None)[0]
    assert tracing.finished == [(trace, record, intervals_of(record))]


def test_the_request_log_can_be_off() -> None:
    tracing = RememberingTracing()
    recorder = RequestRecorder(GatewayMetrics(CollectorRegistry(), 10), None, tracing)
    recorder.finished(a_record(), tracing.begin([], None, 0.0))
    assert len(tracing.finished) == 1
