"""Single events: their data, their errors, and the ones that the gateway writes."""

import json

import pytest

from alise_core.errors import WireError
from alise_core.wire.openai import Endpoint
from alise_gateway.proxy.chunked import WholeChunks
from alise_gateway.proxy.sse import EventStream, error_event, event_data


def stream(endpoint: Endpoint = Endpoint.RESPONSES) -> EventStream:
    return EventStream(endpoint, WholeChunks(), withhold_usage=False)


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\r\n\r\n", b"a"),
        (b"data:  a\n\n", b" a"),
        (b"event: x\ndata: a\nid: 1\ndata: b\n\n", b"a\nb"),
        (b": comment\n\n", None),
        (b"\n\n", None),
    ],
)
def test_the_data_of_an_event(event: bytes, data: bytes | None) -> None:
    assert event_data(event) == data


def test_a_failed_response_is_an_error() -> None:
    failed = stream()
    failed.feed(b'data: {"type":"response.failed","response":{"error":{"code":"x"}}}\n\n')
    assert failed.error == b'{"code":"x"}'
    assert failed.complete
    flat = stream()
    flat.feed(b'data: {"type":"error","code":"x","message":"m"}\n\n')
    assert flat.error is not None
    assert json.loads(flat.error)["message"] == "m"
    created = stream()
    created.feed(b'data: {"type":"response.created","response":{"error":null}}\n\n')
    assert created.error is None
    assert not created.complete


def test_the_first_error_counts() -> None:
    both = stream(Endpoint.COMPLETIONS)
    both.feed(b'data: {"error":{"code":1}}\n\ndata: {"error":{"code":2}}\n\n')
    assert both.error == b'{"code":1}'


def test_blank_lines_after_the_end_change_nothing() -> None:
    done = stream(Endpoint.COMPLETIONS)
    done.feed(b"data: [DONE]\n\n")
    done.feed(b"\n\n")
    assert done.complete


def test_an_event_without_end_is_refused() -> None:
    endless = stream()
    with pytest.raises(WireError):
        endless.feed(b"data: " + b"x" * (16 * 1024 * 1024))


@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_error_events_are_events(endpoint: Endpoint) -> None:
    event = error_event(endpoint, 'said "no"\n', "c")
    assert event.count(b"\n\n") == 1
    assert event.endswith(b"\n\n")
    value = json.loads(event_data(event) or b"")
    assert "said" in json.dumps(value)
    read = stream(endpoint)
    read.feed(event)
    assert read.error is not None
