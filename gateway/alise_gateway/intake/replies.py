"""Replies that the gateway makes itself: errors in OpenAI's shape, as bytes. Pure."""

from http import HTTPStatus
from math import ceil

import msgspec

from alise_core.errors import RequestError
from alise_core.outcome import SPECS
from alise_core.wire import headers as names
from alise_core.wire.openai import ANTHROPIC_ENDPOINTS, Endpoint
from alise_core.wire.status import status_line

_ANTHROPIC_SERVER_ERRORS = 500
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_MAX_RETRY_AFTER_SECONDS = 3_600
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def error_body(error: RequestError, endpoint: Endpoint | None) -> bytes:
    """JSON of an error in the shape that the endpoint's clients parse."""
    if endpoint in ANTHROPIC_ENDPOINTS:
        broken = error.status >= _ANTHROPIC_SERVER_ERRORS
        kind = _ANTHROPIC_TYPES.get(error.status, "api_error" if broken else _ANTHROPIC_TYPES[400])
        return msgspec.json.encode(
            {"type": "error", "error": {"type": kind, "message": error.message}}
        )
    spec = SPECS[error.outcome]
    detail = {
        "message": error.message,
        "type": spec.error_type or "server_error",
        "param": error.param,
        "code": error.code or str(error.outcome),
    }
    return msgspec.json.encode({"error": detail})


def error_fields(error: RequestError) -> list[tuple[bytes, bytes]]:
    """Header fields that explain a dropped request and say when to come back."""
    spec = SPECS[error.outcome]
    fields: list[tuple[bytes, bytes]] = []
    if spec.dropped:
        fields.append((names.DROPPED_REASON, str(error.outcome).encode()))
    if spec.retry_after:
        seconds = min(error.retry_after_seconds or 0, _MAX_RETRY_AFTER_SECONDS)
        fields.append((names.RETRY_AFTER, b"%d" % max(1, ceil(seconds))))
    if error.status == HTTPStatus.UNAUTHORIZED:  # RFC 9110 section 11.6.1 asks for it
        fields.append((b"www-authenticate", b"Bearer"))
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:  # RFC 9110 section 15.5.6
        fields.append((b"allow", b"POST"))  # only inference endpoints are refused so
    return fields


def reply(
    status: int,
    fields: list[tuple[bytes, bytes]],
    body: bytes,
    *,
    content_type: bytes = b"application/json",
    keep_alive: bool,
    head_only: bool = False,
) -> bytes:
    """A whole response.

    Args:
        status: HTTP status.
        fields: Header fields besides content type, length and connection.
        body: Its length is announced even where it is not sent (``head_only``, for HEAD).
        content_type: Media type of the body.
        keep_alive: Whether the connection stays open after it.
        head_only: Leave the body out.
    """
    lines = [status_line(status)]
    for name, value in fields:
        lines += (name, b": ", value, b"\r\n")
    lines.append(b"content-type: %b\r\ncontent-length: %d\r\n" % (content_type, len(body)))
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    if not head_only:
        lines.append(body)
    return b"".join(lines)


def closing_reply(error: RequestError, method: bytes, endpoint: Endpoint | None) -> bytes:
    """The reply to a request that was refused before it was whole; the connection closes."""
    return reply(
        error.status,
        error_fields(error),
        error_body(error, endpoint),
        keep_alive=False,
        head_only=method == b"HEAD",
    )
