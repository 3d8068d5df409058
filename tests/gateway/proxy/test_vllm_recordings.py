"""What a real vLLM sent, read as the gateway reads it."""

from pathlib import Path

import pytest

from alise_core.wire.openai import Endpoint
from alise_gateway.intake.parse import parse_request
from alise_gateway.proxy.usage import Usage, body_usage, decode_event, event_usage

RECORDINGS = Path(__file__).parents[2] / "fixtures/vllm_0_32"
REFUSED = sorted(path.stem for path in RECORDINGS.glob("*_stream_full.bin"))


def body(name: str) -> bytes:
    """The body of a recorded response, without chunk framing."""
    head, _, rest = (RECORDINGS / f"{name}.bin").read_bytes().partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head:
        return rest
    joined = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        joined += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return joined


def events(name: str) -> list[bytes]:
    """The data of a recorded stream's events, without the closing ``[DONE]``."""
    lines = [line for line in body(name).splitlines() if line.startswith(b"data: ")]
    return [line[6:] for line in lines if line != b"data: [DONE]"]


@pytest.mark.parametrize(
    "name",
    sorted({path.stem for path in RECORDINGS.glob("*_stream*.bin")} - {"error_too_long_stream"}),
)
def test_every_recorded_event_is_understood(name: str) -> None:
    assert events(name)
    assert [data for data in events(name) if decode_event(data) is None] == []


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_after_status_200_is_seen_as_an_error(name: str) -> None:
    envelope = decode_event(events(name)[0])

    assert envelope
    assert bytes(envelope.error).startswith(b"{")


def test_ordinary_event_is_no_error() -> None:
    envelope = decode_event(events("chat_stream")[0])

    assert envelope
    assert bytes(envelope.error) == b"null"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chat_stream_usage", Usage(14, 4)),
        ("chat_stream_two_choices", Usage(14, 8)),
        ("chat_tool_stream", Usage(116, 58)),
        ("completion_stream_usage", Usage(2, 4)),
        ("response_stream", Usage(14, 4, 0)),
        ("message_stream", Usage(14, 4)),
        ("chat_stream", Usage()),
    ],
)
def test_tokens_of_a_stream(name: str, expected: Usage) -> None:
    found = Usage()
    for data in events(name):
        envelope = decode_event(data)
        assert envelope
        found = found.merged(event_usage(envelope))

    assert found == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chat", Usage(14, 4)),
        ("completion", Usage(2, 4)),
        ("response", Usage(14, 4, 0)),
        ("message", Usage(14, 4)),
        ("chat_tool", Usage(116, 58)),
        ("error_bad_json", Usage()),
    ],
)
def test_tokens_of_a_body(name: str, expected: Usage) -> None:
    assert body_usage(body(name)) == expected


def test_error_event_whose_message_is_a_text_is_understood() -> None:
    envelope = decode_event(b'{"type": "error", "message": "no", "code": "x"}')

    assert envelope
    assert envelope.type == "error"
    assert event_usage(envelope) is None


@pytest.mark.parametrize("value", [b"5", b"0", b"-3", b'"high"', b"[1]"])
def test_priority_of_any_type_is_noticed_and_left_to_the_engine(value: bytes) -> None:
    request = b'{"model": "tiny", "priority": ' + value + b"}"

    assert parse_request(Endpoint.COMPLETIONS, request).client_priority


@pytest.mark.parametrize("rest", [b"", b', "priority": null'])
def test_priority_that_is_absent_or_null_is_none(rest: bytes) -> None:
    request = b'{"model": "tiny"' + rest + b"}"

    assert not parse_request(Endpoint.COMPLETIONS, request).client_priority
