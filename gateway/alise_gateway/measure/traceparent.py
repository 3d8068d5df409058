"""W3C trace context headers: strict and pure.

Source: W3C Trace Context, Level 1 recommendation, sections 3.2 (traceparent) and 3.3 (tracestate).
"""

import re
from dataclasses import dataclass
from typing import Final

from alise_core.wire.headers import TRACEPARENT, TRACESTATE
from alise_gateway.domain.request import RawHeaders

_FORMAT: Final = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})"
    rb"-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?",
    re.DOTALL,
)
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True)
class TraceParent:
    """A valid ``traceparent``: 32 and 16 lower-case hex digits, neither all zero."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(value: bytes) -> TraceParent | None:
    """Read one field value.

    Returns: ``None`` for anything the recommendation does not allow; the caller then starts a new
        trace. Later versions than 00 are read by their first four fields and may carry more.
    """
    match = _FORMAT.fullmatch(value)
    if match is None or (match["version"] == b"00" and match["rest"] is not None):
        return None
    trace_id, span_id = match["trace"].decode(), match["span"].decode()
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceParent(trace_id, span_id, bool(int(match["flags"], 16) & _SAMPLED))


def trace_context(headers: RawHeaders) -> tuple[TraceParent | None, RawHeaders]:
    """What a request says about its trace.

    Returns: The parent, and its header fields unchanged, in order and ready to forward; ``None``
        and no fields without exactly one valid ``traceparent``, because ``tracestate`` means
        nothing alone.
    """
    fields: RawHeaders = []
    parents = 0
    value = b""
    for field in headers:
        name = field[0]
        if name == TRACEPARENT:
            parents += 1
            value = field[1]
            fields.append(field)
        elif name == TRACESTATE:
            fields.append(field)
    if parents != 1:
        return None, []
    parent = parse_traceparent(value)
    return parent, fields if parent is not None else []
