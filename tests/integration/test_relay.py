"""Normal life: what goes in comes out, exactly, and is counted exactly."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from alise_core.outcome import Outcome
from fakes.clock import FakeClock
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.raw_client import RawReply, chat, connected, post
from fakes.scripted_backend import scripted_backend, sends, whole

USER = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": USER, "max_tokens": 20},
    "/v1/completions": {"prompt": "hello", "max_tokens": 20},
    "/v1/responses": {"input": "hello", "max_output_tokens": 20},
    "/v1/messages": {"messages": USER, "max_tokens": 20},
    "/v1/embeddings": {"input": ["hello", "two"]},
}
STREAMS = [path for path in BODIES if path != "/v1/embeddings"]
LENGTHS = replaying(hello=11)
SEED = 7
# What differs between two equal requests to one engine: ids and times.
_VARIABLE = re.compile(
    rb'"(?:id|item_id|request_id|created|created_at|completed_at)":\s*(?:"[^"]*"|[0-9.]+)'
)


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=LENGTHS, aliases=("second",))) as running:
        yield running


@pytest.fixture
async def gateway(engine: RunningEngine) -> AsyncIterator[RunningGateway]:
    async with running_gateway(engine.url, aliases={"nick": "alise-sim"}) as running:
        yield running


async def send(port: int, body: Any, path: str, *headers: str) -> RawReply:
    async with connected(port) as client:
        client.send(post(body, *headers, path=path))
        return await client.reply()


def same(answer: bytes) -> bytes:
    return _VARIABLE.sub(b"", answer)


def with_usage(body: dict[str, Any]) -> dict[str, Any]:
    """As the gateway asks where the client did not."""
    return {**body, "stream_options": {"include_usage": True}}


def without_usage_event(stream: bytes) -> bytes:
    events = stream.split(b"\n\n")
    return b"\n\n".join(event for event in events if b'"choices":[]' not in event)


@pytest.mark.parametrize("path", BODIES)
async def test_whole_answers_arrive_as_they_were_sent(
    gateway: RunningGateway, engine: RunningEngine, path: str
) -> None:
    body = {"model": "alise-sim", "seed": SEED, **BODIES[path]}
    direct = await send(engine.port, body, path)
    relayed = await send(gateway.port, body, path)
    assert relayed.status == direct.status == 200
    assert same(relayed.body) == same(direct.body)
    assert relayed.headers["content-type"] == direct.headers["content-type"]
    usage = json.loads(direct.body)["usage"]
    gateway.expect(
        Outcome.COMPLETED,
        prompt_tokens=usage.get("prompt_tokens", usage.get("input_tokens")),
        output_tokens=usage.get("completion_tokens", usage.get("output_tokens")),
        response_bytes=len(relayed.body),
        stream=False,
    )


@pytest.mark.parametrize("path", STREAMS)
async def test_streams_arrive_as_they_were_sent(
    gateway: RunningGateway, engine: RunningEngine, path: str
) -> None:
    body = {"model": "alise-sim", "seed": SEED, "stream": True, **BODIES[path]}
    asked = with_usage(body) if path in STREAMS[:2] else body
    direct = await send(engine.port, asked, path)
    relayed = await send(gateway.port, body, path)
    assert relayed.status == 200
    assert same(relayed.body) == same(without_usage_event(direct.body))
    assert relayed.headers["content-type"] == direct.headers["content-type"]
    line = gateway.expect(Outcome.COMPLETED, output_tokens=11, stream=True)
    assert line["prompt_tokens"] > 0
    # The framing of what is passed on untouched is counted with it.
    assert len(relayed.body) <= line["response_bytes"] < 1.2 * len(relayed.body)
    assert gateway.metric("alise_gateway_output_tokens_total") == 11


@pytest.mark.parametrize("path", STREAMS[:2])
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (None, False),
        ({}, False),
        ({"include_usage": False}, False),
        ({"include_usage": True}, True),
        ({"include_usage": True, "continuous_usage_stats": True}, True),
    ],
)
async def test_usage_is_known_always_and_shown_where_asked_for(
    gateway: RunningGateway, engine: RunningEngine, path: str, options: Any, shown: bool
) -> None:
    body = {"model": "alise-sim", "seed": SEED, "stream": True, **BODIES[path]}
    body["stream_options"] = options
    direct = await send(engine.port, body if shown else with_usage(body), path)
    relayed = await send(gateway.port, body, path)
    expected = direct.body if shown else without_usage_event(direct.body)
    assert same(relayed.body) == same(expected)
    assert (b'"usage":{' in relayed.body.replace(b" ", b"")) == shown
    gateway.expect(Outcome.COMPLETED, output_tokens=11)


async def test_tool_calls_in_a_stream(gateway: RunningGateway, engine: RunningEngine) -> None:
    body = chat("hello", stream=True, tools=TOOLS, tool_choice="required", seed=SEED)
    direct = await send(engine.port, with_usage(body), "/v1/chat/completions")
    relayed = await send(gateway.port, body, "/v1/chat/completions")
    assert b"tool_calls" in relayed.body
    # Every call has an id of its own.
    ids = re.compile(rb'"(?:chatcmpl-tool|call_)[^"]*"')
    expected = same(without_usage_event(direct.body))
    assert ids.sub(b"", same(relayed.body)) == ids.sub(b"", expected)
    gateway.expect(Outcome.COMPLETED)


async def test_an_alias_changes_the_model_and_nothing_else() -> None:
    original = (
        b'{ "b" : 1.50, "model":"nick",\n "messages":[{"role":"user","content":"\\u00e9\xc3\xa9"}],'
        b'"big":123456789012345678901234567890, "e":1e2 }'
    )
    async with (
        scripted_backend(sends(whole(b"{}"))) as backend,
        running_gateway(backend.url, aliases={"nick": "alise-sim"}) as gateway,
    ):
        assert (await send(gateway.port, original, "/v1/completions")).status == 200
        body = backend.received[0].body
        assert json.loads(body) == json.loads(original) | {"model": "alise-sim"}
        for value in (b"1.50", b"\\u00e9\xc3\xa9", b"123456789012345678901234567890", b"1e2"):
            assert value in body
        # A name that backends know travels untouched.
        untouched = original.replace(b"nick", b"alise-sim")
        await send(gateway.port, untouched, "/v1/completions")
        assert backend.received[1].body == untouched
        gateway.expect(Outcome.COMPLETED, model="alise-sim")
        assert gateway.requests()[0]["model"] == "nick"


async def test_header_fields_end_where_they_must() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with (
        scripted_backend(
            sends(whole(b"{}", "x-engine: 1", "connection: keep-alive", "server: x"))
        ) as backend,
        running_gateway(backend.url, clock=FakeClock()) as gateway,
    ):
        reply = await send(
            gateway.port,
            chat(),
            "/v1/chat/completions",
            "authorization: Bearer secret-of-client",
            "x-api-key: secret-of-client",
            "cookie: secret-of-client",
            "accept-encoding: gzip",
            "connection: keep-alive, x-private",
            "x-private: 1",
            "keep-alive: timeout=5",
            "te: trailers",
            "proxy-authorization: Basic secret-of-client",
            "x-vllm-priority: -5",
            "x-request-priority: 1",
            "x-request-id: mine-1",
            f"traceparent: {parent}",
            "tracestate: a=b",
            "x-mine: kept",
            "user-agent: test/1",
        )
        seen = backend.received[0]
        names = {name for name, _ in seen.headers}
        gone = {"authorization", "x-api-key", "cookie", "accept-encoding", "connection"}
        gone |= {"x-private", "keep-alive", "te", "proxy-authorization"}
        gone |= {"x-request-priority"}
        assert names & gone == set()
        assert "secret-of-client" not in repr(seen.headers)
        assert seen.values("x-vllm-priority") != ["-5"], "the gateway's own rank, once"
        assert len(seen.values("x-vllm-priority")) == 1
        assert seen.values("x-mine") == ["kept"]
        assert seen.values("user-agent") == ["test/1"]
        assert seen.values("host") == [f"127.0.0.1:{backend.port}"]
        assert re.fullmatch(r"mine-1-[0-9a-f]{8}", seen.values("x-request-id")[0])
        (trace,) = seen.values("traceparent")
        assert trace.split("-")[1] == parent.split("-")[1]
        assert seen.values("tracestate") == ["a=b"]
        assert reply.headers["x-request-id"] == "mine-1"
        assert reply.headers["x-alise-backend"] == f"127.0.0.1:{backend.port}"
        assert reply.headers["x-alise-queue-ms"] == "0"
        assert reply.headers["x-engine"] == "1"
        assert "server" not in reply.headers
        line = gateway.expect(Outcome.COMPLETED, request_id="mine-1")
        assert line["trace_id"] == parent.split("-")[1]


@pytest.mark.parametrize("given", ["", "with space", "a" * 200, 'quote"', "semi;colon"])
async def test_request_ids_that_are_none_are_replaced(gateway: RunningGateway, given: str) -> None:
    reply = await send(gateway.port, chat(), "/v1/chat/completions", f"x-request-id: {given}")
    assert re.fullmatch(r"[0-9a-f]{24}", reply.headers["x-request-id"])


async def test_priority_in_the_body_is_neutralised() -> None:
    async with (
        scripted_backend(sends(whole(b"{}"))) as backend,
        running_gateway(backend.url) as gateway,
    ):
        await send(gateway.port, chat(priority=-100), "/v1/chat/completions")
        await send(gateway.port, chat(), "/v1/chat/completions", "x-vllm-priority: -100")
        ranks = [int(*seen.values("x-vllm-priority")) for seen in backend.received]
        assert 0 < ranks[0] <= ranks[1] < 2**40, "by arrival, in the band of the default class"


async def test_without_ranks_of_its_own_the_gateway_still_neutralises_those_of_clients() -> None:
    async with (
        scripted_backend(sends(whole(b"{}"))) as backend,
        running_gateway(backend.url, scheduling={"send_priority": False}) as gateway,
    ):
        await send(gateway.port, chat(priority=-100), "/v1/chat/completions")
        assert backend.received[0].values("x-vllm-priority") == ["0"]
        await send(gateway.port, chat(), "/v1/chat/completions", "x-vllm-priority: -100")
        assert backend.received[1].values("x-vllm-priority") == []


async def test_large_requests_and_answers(engine: RunningEngine) -> None:
    answer = json.dumps(
        {"data": "x" * 4 * 2**20, "usage": {"prompt_tokens": 5, "completion_tokens": 6}}
    ).encode()
    async with (
        scripted_backend(sends(whole(answer))) as backend,
        running_gateway(backend.url) as gateway,
    ):
        body = json.dumps(chat("y" * 8 * 2**20)).encode()
        reply = await send(gateway.port, body, "/v1/chat/completions")
        assert reply.body == answer
        assert backend.received[0].body == body
        gateway.expect(
            Outcome.COMPLETED,
            request_bytes=len(body),
            response_bytes=len(answer),
            prompt_tokens=5,
            output_tokens=6,
        )


async def test_a_large_answer_that_breaks_is_cut_so_that_its_framing_shows_it() -> None:
    part = whole(b"x" * 2**20)[:-1000]
    async with (
        scripted_backend(sends(part, close=True)) as backend,
        running_gateway(backend.url) as gateway,
        connected(gateway.port) as client,
    ):
        client.send(post(chat()))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.reply()
        await gateway.ended(Outcome.FAILED_BACKEND_LOST_MIDSTREAM)


@pytest.mark.slow
async def test_two_hundred_streams_at_once() -> None:
    lengths = replaying(hello=30)
    async with (
        running_engine(fast_engine(0.001, lengths=lengths, max_num_seqs=256)) as first,
        running_engine(fast_engine(0.001, lengths=lengths, max_num_seqs=256)) as second,
        running_gateway(first.url, second.url) as gateway,
    ):
        replies = await asyncio.gather(
            *(
                send(gateway.port, chat(stream=True, max_tokens=30), "/v1/chat/completions")
                for _ in range(200)
            )
        )
        assert {reply.status for reply in replies} == {200}
        assert all(reply.body.endswith(b"data: [DONE]\n\n") for reply in replies)
        assert all(reply.body.count(b'"delta":{"content"') == 30 for reply in replies)
        lines = gateway.requests()
        assert [line["output_tokens"] for line in lines] == [30] * 200
        shares = [sum(line["backend"] == one.name for line in lines) for one in (first, second)]
        assert min(shares) >= 90
        await eventually(lambda: gateway.app.queue.in_flight == 0)
