"""Heads on the way through: the request's to the backend, the answer's to the client. Pure.

Fields that belong to one connection stay there (RFC 9110 section 7.6.1), the client's
credentials and host never reach a backend, and a client states its own scheduling rank only
where its tenant may.
"""

from dataclasses import dataclass

from alise_core.errors import WireError
from alise_core.wire import headers as names
from alise_core.wire.status import status_line
from alise_gateway.domain.backend import BackendAddress
from alise_gateway.domain.request import RawHeaders

_NEVER_FORWARDED = names.HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"expect",
    b"authorization",
    b"x-api-key",
    b"cookie",
    # The gateway reads usage from answers: they must come uncompressed.
    b"accept-encoding",
    names.REQUEST_ID,
    names.TRACEPARENT,
    names.TRACESTATE,
    names.SLO_TTFT,
}
_NEVER_FORWARDED_UNTRUSTED = _NEVER_FORWARDED | names.CLIENT_SCHEDULING
_NEVER_RETURNED = names.HOP_BY_HOP | {
    b"content-length",
    names.REQUEST_ID,
    names.BACKEND,
    names.QUEUE_MS,
    names.PREDICTED_TOKENS,
    names.DROPPED_REASON,
    names.SERVICE_CLASS,
    b"server",
}


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status line and fields of a backend's answer.

    Attributes:
        status: HTTP status code.
        fields: Header fields, names in lower case.
        content_length: Declared body length; ``None`` when chunked or until close.
        chunked: The body uses chunked framing.
        keep_alive: The connection may serve another request.
    """

    status: int
    fields: RawHeaders
    content_length: int | None
    chunked: bool
    keep_alive: bool

    @property
    def is_event_stream(self) -> bool:
        """The body is a stream of server-sent events."""
        for name, value in self.fields:
            if name == b"content-type":
                return value.lower().startswith(b"text/event-stream")
        return False


def forwarded_fields(fields: RawHeaders, *, may_schedule: bool) -> RawHeaders:
    """A client's header fields without those that end at the gateway."""
    dropped = _NEVER_FORWARDED if may_schedule else _NEVER_FORWARDED_UNTRUSTED
    nominated: list[bytes] = []
    for name, value in fields:
        if name == b"connection":
            nominated += [token.strip().lower() for token in value.split(b",")]
    return [field for field in fields if field[0] not in dropped and field[0] not in nominated]


def request_prefix(address: BackendAddress, path: bytes) -> bytes:
    """The part of a request head that is the same for every request to ``path``."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    lines = [
        b"POST " + address.base_path.encode() + path + b" HTTP/1.1",
        f"host: {host}:{address.port}".encode(),
    ]
    if address.api_key is not None:
        lines.append(b"authorization: Bearer " + address.api_key.encode())
    return b"\r\n".join(lines) + b"\r\n"


def request_head(prefix: bytes, fields: RawHeaders, content_length: int) -> bytes:
    """A whole request head."""
    lines = [prefix]
    for name, value in fields:
        lines += (name, b": ", value, b"\r\n")
    lines.append(b"content-length: %d\r\n\r\n" % content_length)
    return b"".join(lines)


def reply_head(head: ResponseHead, own_fields: bytes) -> bytes:
    """The head that the client gets for a backend's answer.

    Args:
        head: The backend's head.
        own_fields: The gateway's fields, framing included, each line with its CRLF.
    """
    lines = [status_line(head.status)]
    for name, value in head.fields:
        if name not in _NEVER_RETURNED:
            lines += (name, b": ", value, b"\r\n")
    lines += (own_fields, b"\r\n")
    return b"".join(lines)


def body_framing(status: int, fields: RawHeaders) -> tuple[int | None, bool]:
    """Body length and whether it is chunked, from a backend's head (RFC 9112 section 6.3).

    Raises:
        WireError: The head states its framing twice or in a way that is not understood.
    """
    length: int | None = None
    chunked = False
    for name, value in fields:
        if name == b"transfer-encoding":
            if chunked or value.strip().lower() != b"chunked":
                raise WireError("backend used an unknown transfer coding")
            chunked = True
        elif name == b"content-length":
            if length is not None or not value.isdigit():
                raise WireError("backend sent a wrong content-length")
            length = int(value)
    if status in (204, 304):
        return 0, False
    if chunked and length is not None:
        raise WireError("backend sent both content-length and transfer-encoding")
    return length, chunked
