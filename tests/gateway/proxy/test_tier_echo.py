"""The tier in answers: what a real vLLM sent, with the tier that the gateway used."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_core.units import ModelName
from alise_core.wire.openai import Endpoint
from alise_gateway.domain.request import InferenceRequest
from alise_gateway.proxy.answers import Answer, BodyAnswer, StreamAnswer
from alise_gateway.proxy.chunked import ChunkDecoder, WholeChunks
from alise_gateway.proxy.head import ResponseHead
from alise_gateway.proxy.sse import EventStream, event_data
from alise_gateway.proxy.tier_echo import TierEcho, echo_of
from alise_gateway.proxy.usage import Usage
from fakes.upstream import FakeSink

RECORDINGS = Path(__file__).parents[2] / "fixtures/vllm_0_32"
BODIES = {
    "chat": Endpoint.CHAT_COMPLETIONS,
    "chat_tool": Endpoint.CHAT_COMPLETIONS,
    "completion": Endpoint.COMPLETIONS,
    "response": Endpoint.RESPONSES,
}
CHUNK_STREAMS = {
    "chat_stream": Endpoint.CHAT_COMPLETIONS,
    "chat_stream_usage": Endpoint.CHAT_COMPLETIONS,
    "chat_stream_two_choices": Endpoint.CHAT_COMPLETIONS,
    "chat_stream_continuous_usage": Endpoint.CHAT_COMPLETIONS,
    "chat_tool_stream": Endpoint.CHAT_COMPLETIONS,
    "completion_stream": Endpoint.COMPLETIONS,
    "completion_stream_usage": Endpoint.COMPLETIONS,
}
STREAMS = {**CHUNK_STREAMS, "response_stream": Endpoint.RESPONSES}


def raw(name: str) -> bytes:
    """The body of a recorded response, chunk framing included."""
    return (RECORDINGS / f"{name}.bin").read_bytes().partition(b"\r\n\r\n")[2]


def values(stream: bytes) -> list[Any]:
    """The JSON of every event; ``[DONE]`` as it is."""
    found = [event_data(event) for event in stream.split(b"\n\n") if event]
    return [data if data == b"[DONE]" else json.loads(data or b"") for data in found]


def relayed(name: str, tier: str | None, size: int = 10**6) -> tuple[bytes, EventStream]:
    endpoint = STREAMS[name]
    echo = None if tier is None else TierEcho(endpoint, tier)
    stream = EventStream(endpoint, WholeChunks(), withhold_usage=False, echo=echo)
    payload = ChunkDecoder().feed(raw(name))
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    return b"".join(stream.feed(part) for part in parts), stream


def without_tier(value: Any) -> Any:
    """A copy without ``service_tier`` where the gateway may set it."""
    if not isinstance(value, dict):
        return value
    value = {key: inner for key, inner in value.items() if key != "service_tier"}
    if "response" in value:
        value["response"] = without_tier(value["response"])
    return value


# Whole bodies


@pytest.mark.parametrize("name", BODIES)
def test_a_body_states_the_tier_and_is_otherwise_the_same(name: str) -> None:
    stated = TierEcho(BODIES[name], "flex").in_body(raw(name))
    told = json.loads(stated)
    assert told["service_tier"] == "flex"
    assert stated.count(b'"service_tier"') == 1
    assert without_tier(told) == without_tier(json.loads(raw(name)))
    assert list(told) == list(json.loads(raw(name)))


def test_a_body_without_the_field_gets_it() -> None:
    told = json.loads(TierEcho(Endpoint.COMPLETIONS, "flex").in_body(b'{"id":1,"x":[{}]}'))
    assert told == {"id": 1, "x": [{}], "service_tier": "flex"}


def test_only_the_top_of_a_body_counts() -> None:
    body = b'{"metadata":{"service_tier":"mine"},"text":"\\"service_tier\\":null"}'
    told = json.loads(TierEcho(Endpoint.RESPONSES, "scale").in_body(body))
    assert told == {**json.loads(body), "service_tier": "scale"}


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b'{"a":1', b'{"a":1}x', b'{"\xff":1}', b"\x1f\x8b", b"<p>",
             b'{"a":' + b"[" * 100_000]
)  # fmt: skip
def test_what_is_no_answer_stays_as_it_is(body: bytes) -> None:
    assert TierEcho(Endpoint.COMPLETIONS, "flex").in_body(body) == body


# Streams


@pytest.mark.parametrize("size", [1, 7, 300, 10**6])
@pytest.mark.parametrize("name", CHUNK_STREAMS)
def test_every_chunk_of_a_stream_states_the_tier(name: str, size: int) -> None:
    plain, _ = relayed(name, None)
    told, stream = relayed(name, "priority", size)
    *chunks, done = values(told)
    assert done == b"[DONE]"
    assert {item["service_tier"] for item in chunks} == {"priority"}
    assert [without_tier(item) for item in chunks] == values(plain)[:-1]
    assert stream.complete
    assert stream.usage == relayed(name, None)[1].usage


@pytest.mark.parametrize("size", [1, 300, 10**6])
def test_every_response_in_a_stream_states_the_tier(size: int) -> None:
    plain, _ = relayed("response_stream", None)
    told, stream = relayed("response_stream", "flex", size)
    events = values(told)
    responses = [item["response"] for item in events if "response" in item]
    assert len(responses) == 3
    assert {item["service_tier"] for item in responses} == {"flex"}
    assert b'"auto"' not in told
    assert not any("service_tier" in item for item in events)
    assert [without_tier(item) for item in events] == [without_tier(i) for i in values(plain)]
    assert told.count(b"\nevent: ") == plain.count(b"\nevent: ")
    assert stream.complete
    assert stream.usage == Usage(14, 4, 0)


@pytest.mark.parametrize("name", STREAMS)
def test_without_a_tier_not_a_byte_changes(name: str) -> None:
    payload = ChunkDecoder().feed(raw(name))
    assert relayed(name, None)[0].rstrip() == payload.rstrip()


@pytest.mark.parametrize(
    ("endpoint", "event"),
    [
        (Endpoint.COMPLETIONS, b"data: [DONE]\n\n"),
        (Endpoint.COMPLETIONS, b'data: {"error":{"code":503,"message":"no \\"choices\\""}}\n\n'),
        (Endpoint.RESPONSES, b'event: error\ndata: {"type":"error","message":"m"}\n\n'),
        (Endpoint.RESPONSES, b'data: {"object":"response"}\n\n'),
        (Endpoint.RESPONSES, b'data: {"response":"response"}\n\n'),
        (Endpoint.RESPONSES, b'data: {"response":{}, broken}\n\n'),
        (Endpoint.RESPONSES, b'data: {"type":"response.output_text.delta","delta":"a"}\n\n'),
    ],
)
def test_events_without_a_place_for_it_stay_as_they_are(endpoint: Endpoint, event: bytes) -> None:
    assert TierEcho(endpoint, "flex").in_event(event, event_data(event) or b"") == event


@pytest.mark.parametrize(
    "event",
    [
        b'id: 4\ndata: {"choices":[],\ndata:  "usage":\ndata:   {"a":1}}\nretry: 5\n\n',
        b'data: {"choices":[]\r\ndata: ,"usage":{"a":1}}\r\n\r\n',
        b'data:{ "choices":[],"service_tier":null,"usage":{"a":1}}\r\n\r\n',
        b'data: {"choices":[],"usage":{"a":1},"service_tier":"auto"}\n\n',
    ],
)
def test_the_way_an_event_is_written_does_not_matter(event: bytes) -> None:
    told = TierEcho(Endpoint.COMPLETIONS, "flex").in_event(event, event_data(event) or b"")
    expected = {"choices": [], "usage": {"a": 1}, "service_tier": "flex"}
    assert json.loads(event_data(told) or b"") == expected
    assert told.endswith((b"\n\n", b"\r\n\r\n"))
    assert (b"id: 4\n" in told) == (b"id: 4\n" in event)


_texts = st.text(max_size=8) | st.sampled_from(
    ['"service_tier"', "\n\ndata: ", '{"choices":[]}', "é\u2028", '","service_tier":"x']
)
_members = st.dictionaries(
    _texts | st.sampled_from(["service_tier", "response"]),
    _texts | st.none() | st.dictionaries(_texts | st.just("service_tier"), st.integers()),
    max_size=4,
)


@settings(deadline=None, max_examples=50)
@given(_members, st.booleans())
def test_any_chunk_keeps_everything_else(members: dict[str, Any], is_ascii: bool) -> None:
    value = {**members, "choices": [{"delta": {"content": members.get("response")}}]}
    event = b"data: " + json.dumps(value, ensure_ascii=is_ascii).encode() + b"\n\n"
    told = TierEcho(Endpoint.CHAT_COMPLETIONS, "flex").in_event(event, event_data(event) or b"")
    assert told.count(b"\n\n") == 1
    assert json.loads(event_data(told) or b"") == {**value, "service_tier": "flex"}


@settings(deadline=None, max_examples=50)
@given(_members, st.booleans())
def test_any_response_keeps_everything_else(members: dict[str, Any], is_ascii: bool) -> None:
    value = {"type": "response.completed", "response": {"id": 1, **members}}
    event = b"data: " + json.dumps(value, ensure_ascii=is_ascii).encode() + b"\n\n"
    told = TierEcho(Endpoint.RESPONSES, "flex").in_event(event, event_data(event) or b"")
    expected = {"id": 1, **members, "service_tier": "flex"}
    assert json.loads(event_data(told) or b"") == {**value, "response": expected}


# In the answer's framing


class Owner:
    """Lets answers end well."""

    def __init__(self) -> None:
        self.answered = 0

    def commit(self) -> bytes:
        return b""

    def on_answered(self, *, reusable: bool) -> None:
        self.answered += 1

    def on_stream_error(self, *, reusable: bool) -> None:
        raise AssertionError("the recording holds no error")

    def on_refused(self, answer: Answer, *, reusable: bool) -> None:
        raise AssertionError("the recording holds no refusal")

    def on_truncated(self) -> None:
        raise AssertionError("the recording is whole")


def asked(endpoint: Endpoint, tier: str | None, *, stream: bool = False) -> InferenceRequest:
    return InferenceRequest(endpoint, ModelName("tiny"), stream, None, b"{}", tier_echo=tier)


def answered(body: bytes, tier: str | None, sink: FakeSink) -> BodyAnswer:
    owner = Owner()
    head = ResponseHead(200, [], len(body), chunked=False, keep_alive=True)
    answer = BodyAnswer(head, owner, sink, echo_of(asked(Endpoint.CHAT_COMPLETIONS, tier)))
    answer.on_body(body[:-1])
    answer.on_body(body[-1:])
    assert owner.answered == 1
    return answer


def test_the_length_of_a_body_with_the_tier_is_right() -> None:
    sink = FakeSink()
    answer = answered(raw("chat"), "priority", sink)
    head, _, body = sink.sent.partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"
    assert json.loads(body)["service_tier"] == "priority"
    assert answer.sent_bytes == len(body)
    assert answer.usage == Usage(14, 4)


def test_a_body_travels_as_it_came_where_nobody_asked() -> None:
    sink = FakeSink()
    answered(raw("chat"), None, sink)
    assert sink.sent.partition(b"\r\n\r\n")[2] == raw("chat")


def test_a_body_too_large_to_hold_travels_as_it_came() -> None:
    sink = FakeSink(takes_chunks=False)
    body = b'{"choices":["' + b"x" * 300_000 + b'"],"service_tier":null}'
    answered(body, "flex", sink)
    assert sink.sent.partition(b"\r\n\r\n")[2] == body


def sent_in_stream(tier: str | None) -> tuple[bytes, StreamAnswer]:
    owner, sink = Owner(), FakeSink()
    head = ResponseHead(200, [], None, chunked=True, keep_alive=True)
    request = asked(Endpoint.CHAT_COMPLETIONS, tier, stream=True)
    answer = StreamAnswer(head, owner, sink, request, WholeChunks())
    reads = raw("chat_stream").replace(b"\n\n\r\n", b"\n\n\r\n\0").split(b"\0")
    for data in reads:
        answer.on_body(data)
    assert owner.answered == 1
    return ChunkDecoder().feed(sink.sent.partition(b"\r\n\r\n")[2]), answer


def test_a_stream_with_the_tier_is_framed_anew() -> None:
    told, answer = sent_in_stream("scale")
    *chunks, done = values(told)
    assert done == b"[DONE]"
    assert [item["service_tier"] for item in chunks] == ["scale"] * 4
    assert answer.sent_bytes == len(told)


def test_a_stream_without_the_tier_keeps_its_fast_path() -> None:
    told, answer = sent_in_stream(None)
    assert told == ChunkDecoder().feed(raw("chat_stream"))
    assert answer.reads == 2, "the first event and the end"
    assert sent_in_stream("flex")[1].reads == 6


@pytest.mark.parametrize("tier", [None, "flex"])
def test_an_echo_is_there_only_where_a_tier_is_to_be_stated(tier: str | None) -> None:
    assert (echo_of(asked(Endpoint.COMPLETIONS, tier)) is None) == (tier is None)
