"""The relay of streams, against a reader that sees the whole stream at once."""

import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alise_core.wire.openai import Endpoint
from alise_gateway.proxy.chunked import ChunkDecoder, WholeChunks
from alise_gateway.proxy.sse import EventStream

TRANSCRIPTS = Path(__file__).parents[1] / "fixtures" / "vllm_0_32"
CLOSING = {
    Endpoint.MESSAGES: {"message_stop", "error"},
    Endpoint.RESPONSES: {"response.completed", "response.incomplete", "response.failed", "error"},
}


@dataclass
class Reading:
    """What a stream says.

    Attributes:
        kept: The bytes of the events that the client gets.
        usage: The last figures stated: prompt, output, cached tokens.
        error: The first error.
        complete: The last event closes the stream.
    """

    kept: bytes = b""  # without blank lines at the end, which mean nothing
    usage: list[int | None] = field(default_factory=lambda: [None, None, None])
    error: Any = None
    complete: bool = False


def reference(endpoint: Endpoint, payload: bytes, *, withhold: bool) -> Reading:
    """A naive reader, written from the formats' descriptions."""
    reading = Reading()
    for event in re.findall(rb"(?s).*?\n\r?\n", payload):
        lines = [line for line in re.split(rb"\r?\n", event) if line]
        data = b"\n".join(
            line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")
        )
        value = _json(data)
        usage = _usage(value)
        if lines:
            last_line = lines[-1].removeprefix(b"data:").strip()
            closing = _json(last_line) if lines[-1].startswith(b"data:") else None
            reading.complete = last_line == b"[DONE]" or (
                isinstance(closing, dict) and closing.get("type") in CLOSING.get(endpoint, ())
            )
        if usage is not None:
            found = _figures(usage)
            reading.usage = [new if new is not None else old
                             for old, new in zip(reading.usage, found, strict=True)]  # fmt: skip
        if reading.error is None:
            reading.error = _error(value)
        if not (withhold and isinstance(value, dict) and value.get("choices") == [] and usage):
            reading.kept += event
    reading.kept = reading.kept.rstrip(b"\r\n")
    return reading


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _usage(value: Any) -> Any:
    if not isinstance(value, dict):
        return None
    for place in (value, value.get("response"), value.get("message")):
        if isinstance(place, dict) and place.get("usage"):
            return place["usage"]
    return None


def _figures(usage: dict[str, Any]) -> list[int | None]:
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    return [
        usage.get("prompt_tokens", usage.get("input_tokens")),
        usage.get("completion_tokens", usage.get("output_tokens")),
        details.get("cached_tokens", usage.get("cache_read_input_tokens")),
    ]


def _error(value: Any) -> Any:
    if not isinstance(value, dict):
        return None
    if value.get("error") is not None and value.get("choices") is None:
        return value["error"]
    if value.get("type") == "error":
        return value
    if value.get("type") == "response.failed":
        return value["response"].get("error")
    return None


def relay(endpoint: Endpoint, reads: list[bytes], *, withhold: bool, fast: bool = True) -> Reading:
    """As ``StreamAnswer`` drives it: reads of chunked bytes in, payload for the client out."""
    whole = WholeChunks()
    stream = EventStream(endpoint, whole, withhold_usage=withhold)
    decoder = ChunkDecoder()
    kept = b""
    aligned = False
    for data in reads:
        if fast and aligned and stream.may_pass(data):
            kept += ChunkDecoder().feed(data)
            continue
        kept += stream.feed(decoder.feed(data))
        aligned = decoder.between_chunks and stream.between_events
    usage = stream.usage
    error = None if stream.error is None else json.loads(stream.error)
    return Reading(
        kept.rstrip(b"\r\n"),
        [usage.prompt_tokens, usage.output_tokens, usage.cached_tokens],
        error,
        stream.complete,
    )


# Events of every kind, with content that looks like what it is not.

_texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["usage", '"usage"', '{"usage":{"completion_tokens":9}}', '"error"', "[DONE]", "\n\n",
         "data: [DONE]\n\n", "message_stop", "\r\n", '"error":{"code":503}', "é"]
    ),
)  # fmt: skip
_counts = st.integers(0, 10_000)


def _chunk(text: str, **fields: Any) -> bytes:
    return _compact({"id": "x", "choices": [{"index": 0, "delta": {"content": text}}], **fields})


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _usage_of(prompt: int, output: int, cached: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


_usages = st.builds(_usage_of, _counts, _counts, _counts)
_data = st.one_of(
    st.builds(_chunk, _texts),
    st.builds(_chunk, _texts),
    st.builds(lambda text: _chunk(text, usage=None), _texts),
    st.builds(lambda text, usage: _chunk(text, usage=usage), _texts, _usages),
    st.builds(lambda usage: _compact({"id": "x", "choices": [], "usage": usage}), _usages),
    st.builds(lambda text: _compact({"choices": [], "usage": None, "note": text}), _texts),
    st.builds(lambda text: _compact({"error": {"message": text, "code": 503}}), _texts),
    st.builds(lambda text: _compact({"error": None, "text": text}), _texts),
    st.builds(lambda text: _compact({"type": "error", "message": text}), _texts),
    st.builds(
        lambda kind, usage: _compact({"type": kind, "response": {"usage": usage, "error": None}}),
        st.sampled_from(["response.completed", "response.created", "response.incomplete"]),
        _usages,
    ),
    st.builds(
        lambda a, b: _compact(
            {"type": "message_start", "message": {"usage": {"input_tokens": a, "output_tokens": b}}}
        ),
        _counts,
        _counts,
    ),
    st.builds(
        lambda n: _compact({"type": "message_delta", "usage": {"output_tokens": n}}), _counts
    ),
    st.sampled_from(
        [b"[DONE]", b"{", b'{"usage":', b"not json", b'{"type":"message_stop"}', b"[]"]
    ),
)
_line_ends = st.sampled_from([b"\n"] * 6 + [b"\r\n"])


_comments = st.sampled_from([b": ping", b":", b': "usage"'])
_prefixes = st.sampled_from([b"data: "] * 4 + [b"data:", b"event: x\ndata: ", b"id: 1\ndata: "])


@st.composite
def _events(draw: st.DrawFn) -> bytes:
    end: bytes = draw(_line_ends)
    kind = draw(st.integers(0, 9))
    if kind == 0:
        comment: bytes = draw(_comments)
        return comment + end + end
    data: bytes = draw(_data)
    if kind == 1 and data.startswith(b"{") and b"," in data:
        first, second = data.split(b",", 1)  # JSON over two lines is one value
        return b"data: " + first + b"," + end + b"data:" + second + end + end
    prefix = draw(
        st.sampled_from([b"data: "] * 4 + [b"data:", b"event: x\ndata: ", b"id: 1\ndata: "])
    )
    return prefix + data + end + end


@st.composite
def _payloads(draw: st.DrawFn) -> bytes:
    payload = b"".join(draw(st.lists(_events(), max_size=7)))
    tail: bytes = draw(st.sampled_from([b"data: [DONE]\n\n", b"", b"\n", b"data: half"]))
    return payload + tail


def chunked(payload: bytes, cuts: list[int]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in split(payload, cuts))


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(points)]


_cuts = st.lists(st.integers(0, 2_000), max_size=8)
_endpoints = st.sampled_from(
    [Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS, Endpoint.MESSAGES, Endpoint.RESPONSES]
)
_spanning = b'data: {"x":1}\n\ndata: {"choices":[],"usage":{"completion_tokens":3}}\n\n'


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(_endpoints, _payloads(), _cuts, _cuts, st.booleans())
@example(Endpoint.COMPLETIONS, _spanning, [14, 35], [20], True)
def test_any_chunking_and_any_splitting(
    endpoint: Endpoint, payload: bytes, chunk_cuts: list[int], read_cuts: list[int], withhold: bool
) -> None:
    reads = split(chunked(payload, chunk_cuts), read_cuts)
    expected = reference(endpoint, payload, withhold=withhold)
    assert relay(endpoint, reads, withhold=withhold) == expected
    assert relay(endpoint, reads, withhold=withhold, fast=False) == expected


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    _endpoints, st.lists(_events(), max_size=8), st.lists(st.booleans(), max_size=8), st.booleans()
)
def test_one_chunk_per_event_as_engines_send_them(
    endpoint: Endpoint, events: list[bytes], joins: list[bool], withhold: bool
) -> None:
    reads: list[bytes] = []
    for event, join in zip(events, [*joins, *[False] * len(events)], strict=False):
        data = b"%x\r\n%b\r\n" % (len(event), event)
        if join and reads:
            reads[-1] += data
        else:
            reads.append(data)
    expected = reference(endpoint, b"".join(events), withhold=withhold)
    assert relay(endpoint, reads, withhold=withhold) == expected


def _transcripts() -> list[Path]:
    return sorted(
        path
        for path in TRANSCRIPTS.glob("*.bin")
        if b"text/event-stream" in path.read_bytes().partition(b"\r\n\r\n")[0].lower()
    )


def _endpoint_of(path: Path) -> Endpoint:
    for name, endpoint in (("message", Endpoint.MESSAGES), ("response", Endpoint.RESPONSES)):
        if path.name.startswith(name):
            return endpoint
    return Endpoint.COMPLETIONS if path.name.startswith("comp") else Endpoint.CHAT_COMPLETIONS


@pytest.mark.parametrize("path", _transcripts(), ids=lambda path: path.stem)
@pytest.mark.parametrize("withhold", [False, True])
def test_streams_of_a_real_engine(path: Path, withhold: bool) -> None:
    body = path.read_bytes().partition(b"\r\n\r\n")[2]
    endpoint = _endpoint_of(path)
    payload = ChunkDecoder().feed(body)
    expected = reference(endpoint, payload, withhold=withhold)
    assert payload
    # A full engine says so with status 200 and an event.
    assert (expected.error is not None) == ("error" in path.stem or "full" in path.stem)
    assert expected.complete
    for size in (1, 7, 64, 1_000, len(body)):
        reads = [body[i : i + size] for i in range(0, len(body), size)]
        assert relay(endpoint, reads, withhold=withhold) == expected
    usage_stated = b'"completion_tokens"' in payload or b'"output_tokens"' in payload
    assert (expected.usage[1] is not None) == usage_stated


def test_there_are_recordings_of_every_streaming_endpoint() -> None:
    assert {_endpoint_of(path) for path in _transcripts()} == {
        Endpoint.CHAT_COMPLETIONS,
        Endpoint.COMPLETIONS,
        Endpoint.MESSAGES,
        Endpoint.RESPONSES,
    }
