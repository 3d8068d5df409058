"""Heads on the way through: what travels on, and what stays."""

import h11
import pytest

from alise_core.errors import WireError
from alise_core.units import BackendName
from alise_gateway.domain.backend import BackendAddress
from alise_gateway.proxy.head import (
    ResponseHead,
    body_framing,
    forwarded_fields,
    reply_head,
    request_head,
    request_prefix,
)

FIELDS = [
    (b"host", b"gateway"),
    (b"authorization", b"Bearer secret"),
    (b"x-api-key", b"secret"),
    (b"cookie", b"secret"),
    (b"content-type", b"application/json"),
    (b"content-length", b"2"),
    (b"transfer-encoding", b"chunked"),
    (b"connection", b"keep-alive, X-Hop"),
    (b"connection", b"x-other"),
    (b"x-hop", b"1"),
    (b"x-other", b"1"),
    (b"accept-encoding", b"gzip"),
    (b"expect", b"100-continue"),
    (b"x-request-id", b"client"),
    (b"x-vllm-priority", b"-5"),
    (b"x-request-priority", b"1"),
    (b"x-mine", b"kept"),
]


def test_what_reaches_a_backend() -> None:
    kept = forwarded_fields(FIELDS, may_schedule=False)
    assert kept == [(b"content-type", b"application/json"), (b"x-mine", b"kept")]
    trusted = forwarded_fields(FIELDS, may_schedule=True)
    assert (b"x-vllm-priority", b"-5") in trusted
    assert (b"authorization", b"Bearer secret") not in trusted


@pytest.mark.parametrize("host", ["10.0.0.1", "::1"])
@pytest.mark.parametrize("key", [None, "k"])
def test_a_request_head_is_http(host: str, key: str | None) -> None:
    address = BackendAddress(BackendName("b"), host, 80, base_path="/base", api_key=key)
    head = request_head(request_prefix(address, b"/v1/completions"), [(b"x-a", b"b")], 2)
    server = h11.Connection(h11.SERVER)
    server.receive_data(head + b"{}")
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"POST", b"/base/v1/completions")
    fields = dict(request.headers)
    assert fields[b"host"] == (b"[::1]:80" if ":" in host else b"10.0.0.1:80")
    assert fields.get(b"authorization") == (b"Bearer k" if key else None)
    assert fields[b"content-length"] == b"2"
    data = server.next_event()
    assert isinstance(data, h11.Data)
    assert isinstance(server.next_event(), h11.EndOfMessage)


def test_what_reaches_the_client() -> None:
    fields = [
        (b"server", b"uvicorn"),
        (b"x-request-id", b"engine"),
        (b"content-length", b"5"),
        (b"connection", b"close"),
        (b"x-alise-backend", b"forged"),
        (b"x-alise-predicted-tokens", b"7"),
        (b"content-type", b"text/plain"),
    ]
    head = reply_head(ResponseHead(599, fields, 5, False, True), b"x-own: 1\r\n")
    assert head == b"HTTP/1.1 599 Unknown\r\ncontent-type: text/plain\r\nx-own: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (200, [], (None, False)),
        (200, [(b"content-length", b"5")], (5, False)),
        (200, [(b"transfer-encoding", b" Chunked ")], (None, True)),
        (204, [(b"content-length", b"5")], (0, False)),
        (304, [(b"transfer-encoding", b"chunked")], (0, False)),
    ],
)
def test_framing(
    status: int, fields: list[tuple[bytes, bytes]], expected: tuple[int | None, bool]
) -> None:
    assert body_framing(status, fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        [(b"content-length", b"x")],
        [(b"content-length", b"-1")],
        [(b"content-length", b"1, 1")],
        [(b"content-length", b"1"), (b"content-length", b"1")],
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"chunked"), (b"content-length", b"1")],
    ],
)
def test_framing_that_is_refused(fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(WireError):
        body_framing(200, fields)


def test_what_is_a_stream() -> None:
    def head(*fields: tuple[bytes, bytes]) -> ResponseHead:
        return ResponseHead(200, list(fields), None, True, True)

    assert head((b"content-type", b"text/event-stream; charset=utf-8")).is_event_stream
    assert head((b"content-type", b"Text/Event-Stream")).is_event_stream
    assert not head((b"content-type", b"application/json")).is_event_stream
    assert not head((b"x", b"text/event-stream")).is_event_stream
