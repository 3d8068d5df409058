"""The single call that the pipeline makes when a request has ended."""

from alise_core.record import RequestRecord
from alise_gateway.measure.access_log import AccessLog
from alise_gateway.measure.metrics import GatewayMetrics
from alise_gateway.measure.timing import intervals_of
from alise_gateway.measure.tracing import Trace, Tracing


class RequestRecorder:
    """Hands one finished request to metrics, log and tracing.

    Args:
        metrics: Counts it.
        access_log: Writes its line; ``None`` where the request log is switched off.
        tracing: Ends its span.
    """

    def __init__(
        self, metrics: GatewayMetrics, access_log: AccessLog | None, tracing: Tracing
    ) -> None:
        self._metrics = metrics
        self._access_log = access_log
        self._tracing = tracing

    def finished(self, record: RequestRecord, trace: Trace) -> None:
        """Account for one request; called exactly once for each, on the event loop."""
        intervals = intervals_of(record)
        self._metrics.finished(record, intervals)
        if self._access_log is not None:
            self._access_log.write(record)
        self._tracing.finish(trace, record, intervals)
