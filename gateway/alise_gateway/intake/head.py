"""What a request's head must be before anything else looks at it. Pure.

llhttp has already refused broken syntax, doubled or list-valued Content-Length, Content-Length
together with Transfer-Encoding, bare CR or LF, folded lines and control characters.
"""

from dataclasses import dataclass

from alise_core.errors import InvalidRequest, RequestError
from alise_core.outcome import Outcome
from alise_core.wire.openai import PATHS, Endpoint
from alise_gateway.domain.request import RawHeaders
from alise_gateway.settings import LimitSettings

_CHUNK_OVERHEAD_BYTES = 1024 * 1024
_MAX_TARGET_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head, checked.

    Attributes:
        path: Without the query, as sent: an encoded slash stays encoded.
        http_minor: 0 or 1.
        expects_continue: The client waits for ``100 Continue`` before it sends the body.
        endpoint: The inference endpoint of the path, if it is one.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: RawHeaders
    http_minor: int
    content_length: int | None
    expects_continue: bool
    endpoint: Endpoint | None


def check_head(
    method: bytes, target: bytes, headers: RawHeaders, version: str, limits: LimitSettings
) -> Head:
    """Check the parts of a head.

    Raises:
        InvalidRequest: A part is wrong.
        RequestError: The head, or the body it announces, is too large.
    """
    if version not in ("1.1", "1.0"):
        raise InvalidRequest(
            f"HTTP/{version} is not spoken here; use HTTP/1.1.", status=505, code="http_version"
        )
    _check_size(target, headers, limits)
    hosts, length, expect = _scan(headers, version)
    if hosts > 1 or (version == "1.1" and hosts != 1):
        raise InvalidRequest(
            f"The request has {hosts} Host fields; send exactly one.", code="invalid_host"
        )
    if length is not None and length > limits.max_body_bytes:
        raise RequestError(
            f"The request body is {length} bytes; at most {limits.max_body_bytes} are accepted.",
            outcome=Outcome.REJECTED_TOO_LARGE,
            code="body_too_large",
        )
    path, _, query = _origin_form(target).partition(b"?")
    return Head(
        method=method,
        path=path,
        query=query,
        headers=headers,
        http_minor=1 if version == "1.1" else 0,
        content_length=length,
        expects_continue=expect and version == "1.1",
        endpoint=PATHS.get(path),
    )


def head_without_upgrade(method: bytes, target: bytes, version: str, headers: RawHeaders) -> bytes:
    """The same head, as a client would send it that does not ask for another protocol."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    lines += [b"%b: %b" % field for field in headers if field[0] != b"upgrade"]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def framing_overhead_allowed(limits: LimitSettings) -> int:
    """Bytes that chunk sizes, extensions and trailers of one body may take."""
    return _CHUNK_OVERHEAD_BYTES + limits.max_header_bytes


def _check_size(target: bytes, headers: RawHeaders, limits: LimitSettings) -> None:
    if len(target) > _MAX_TARGET_BYTES:
        raise RequestError(
            f"The request target is longer than {_MAX_TARGET_BYTES} bytes.",
            outcome=Outcome.REJECTED_TOO_LARGE,
            status=414,
            code="target_too_long",
        )
    if len(headers) > limits.max_headers:
        raise RequestError(
            f"The request has more than {limits.max_headers} header fields.",
            outcome=Outcome.REJECTED_TOO_LARGE,
            status=431,
            code="too_many_headers",
        )
    size = len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > limits.max_header_bytes:
        raise RequestError(
            f"The request's header section is larger than {limits.max_header_bytes} bytes.",
            outcome=Outcome.REJECTED_TOO_LARGE,
            status=431,
            code="headers_too_large",
        )


def _scan(headers: RawHeaders, version: str) -> tuple[int, int | None, bool]:
    """Number of Host fields, announced length, whether 100-continue is expected."""
    hosts = 0
    codings = 0
    length: int | None = None
    expect = False
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            codings += 1
            _check_coding(value, version, codings)
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise InvalidRequest(
                    "The only expectation understood is '100-continue'.",
                    status=417,
                    code="unknown_expectation",
                )
            expect = True
    return hosts, length, expect


def _check_coding(value: bytes, version: str, codings: int) -> None:
    if version == "1.0":
        raise InvalidRequest(
            "HTTP/1.0 has no Transfer-Encoding; send Content-Length.", code="transfer_encoding"
        )
    if codings > 1 or value.lower() != b"chunked":
        raise InvalidRequest(
            "The only transfer coding accepted is 'chunked'.",
            status=501,
            code="transfer_encoding",
        )


def _origin_form(target: bytes) -> bytes:
    """``/path?query`` of a target in absolute form (RFC 9112 section 3.2.2)."""
    if target.startswith(b"/"):
        return target
    _, separator, rest = target.partition(b"://")
    if not separator:
        return target
    _, slash, path = rest.partition(b"/")
    return slash + path if slash else b"/"
