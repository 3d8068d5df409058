"""Traces: forwarded as they come, or continued with one span per request.

Without an OTLP endpoint the caller's trace context travels on to the backend unchanged and
nothing else happens; OpenTelemetry is not even imported. With one, ``otel`` makes a server span
that becomes the backend's parent.
"""

import importlib
from collections.abc import Mapping
from typing import Protocol, cast

from alise_core.record import RequestRecord
from alise_core.wire.openai import Endpoint
from alise_gateway.domain.request import RawHeaders
from alise_gateway.measure.timing import Intervals
from alise_gateway.measure.traceparent import trace_context


class Trace(Protocol):
    """The trace that one request belongs to."""

    @property
    def trace_id(self) -> str | None:
        """32 hex digits; ``None`` where the request belongs to no trace."""
        ...

    @property
    def traceparent(self) -> str | None:
        """What the backend is sent, for the request's record."""
        ...

    def upstream_headers(self) -> RawHeaders:
        """The fields to send to the backend in place of the client's."""
        ...


class Tracing(Protocol):
    """Where the pipeline begins and ends traces."""

    def begin(self, headers: RawHeaders, endpoint: Endpoint | None, arrival_unix: float) -> Trace:
        """A request arrived; ``arrival_unix`` is in seconds."""
        ...

    def finish(self, trace: Trace, record: RequestRecord, intervals: Intervals) -> None:
        """The request ended."""
        ...

    def close(self) -> None:
        """Send what is left; may block for seconds, so call it after serving has ended."""
        ...


class ForwardedTrace:
    """The caller's own context, or none."""

    __slots__ = ("_headers", "trace_id")

    def __init__(self, trace_id: str | None, headers: RawHeaders) -> None:
        self.trace_id = trace_id
        self._headers = headers

    @property
    def traceparent(self) -> str | None:
        """The client's field."""
        for name, value in self._headers:
            if name == b"traceparent":
                return value.decode("latin-1")
        return None

    def upstream_headers(self) -> RawHeaders:
        """The client's fields, unchanged."""
        return self._headers


_NO_TRACE = ForwardedTrace(None, [])


class ForwardingTracing:
    """Tracing without an endpoint: forwards and forgets."""

    __slots__ = ()

    def begin(self, headers: RawHeaders, endpoint: Endpoint | None, arrival_unix: float) -> Trace:
        """Keep the context for the backend."""
        del endpoint, arrival_unix
        parent, fields = trace_context(headers)
        return _NO_TRACE if parent is None else ForwardedTrace(parent.trace_id, fields)

    def finish(self, trace: Trace, record: RequestRecord, intervals: Intervals) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class _OtelModule(Protocol):
    def open_tracing(
        self, endpoint: str, sample_ratio: float, resource: Mapping[str, str]
    ) -> Tracing: ...


def open_tracing(
    otlp_endpoint: str | None, sample_ratio: float, resource: Mapping[str, str]
) -> Tracing:
    """Choose and start tracing.

    Args:
        otlp_endpoint: OTLP/HTTP base URL; ``None`` forwards only.
        sample_ratio: In [0, 1]; applies to requests without a parent, which decides otherwise.
        resource: Attributes of the process, ``service.version`` for example.

    Raises:
        ModuleNotFoundError: An endpoint is set and the ``otel`` extra is not installed.
    """
    if otlp_endpoint is None:
        return ForwardingTracing()
    # Imported only here: the SDK costs tens of megabytes that a gateway without spans saves.
    otel = cast("_OtelModule", importlib.import_module("alise_gateway.measure.otel"))
    return otel.open_tracing(otlp_endpoint, sample_ratio, resource)
