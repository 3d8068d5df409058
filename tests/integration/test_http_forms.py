"""Unusual but valid forms of HTTP: old versions, pipelines, chunked uploads, expectations."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alise_core.outcome import Outcome
from fakes.clock import FakeClock
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.raw_client import RawClient, chat, connected, post

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    lengths = replaying(hello=6, one=1, two=2, three=3)
    async with running_engine(fast_engine(lengths=lengths)) as running:
        yield running


@pytest.fixture
async def gateway(engine: RunningEngine) -> AsyncIterator[RunningGateway]:
    async with running_gateway(engine.url, clock=FakeClock()) as running:
        yield running


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[RawClient]:
    async with connected(gateway.port) as raw:
        yield raw


def tokens(body: bytes) -> int:
    return int(json.loads(body)["usage"]["completion_tokens"])


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


CHUNKED = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    b"transfer-encoding: chunked\r\n"
)


async def test_http_1_0_closes_after_the_answer(gateway: RunningGateway, client: RawClient) -> None:
    client.send(post(chat(), version="1.0"))
    reply = await client.reply()
    assert (reply.status, tokens(reply.body)) == (200, 6)
    assert reply.headers["connection"] == "close"
    assert int(reply.headers["content-length"]) == len(reply.body)
    await client.closed()
    gateway.expect(Outcome.COMPLETED, output_tokens=6)


async def test_a_stream_over_http_1_0_has_no_chunks_and_ends_by_closing(
    gateway: RunningGateway, client: RawClient
) -> None:
    client.send(post(chat(stream=True), version="1.0"))
    reply = await client.reply()
    assert "transfer-encoding" not in reply.headers
    assert "content-length" not in reply.headers
    assert reply.body.startswith(b"data: {")
    assert reply.body.endswith(b"data: [DONE]\n\n")
    gateway.expect(Outcome.COMPLETED, output_tokens=6, stream=True)


async def test_errors_over_http_1_0(gateway: RunningGateway, client: RawClient) -> None:
    client.send(post(b"{", version="1.0"))
    reply = await client.reply()
    assert reply.error["code"] == "invalid_json"
    await client.closed()
    gateway.expect(Outcome.REJECTED_INVALID)


async def test_chunks_do_not_exist_in_http_1_0(gateway: RunningGateway, client: RawClient) -> None:
    client.send(CHUNKED.replace(b"1.1", b"1.0") + b"\r\n" + chunked(b"{}", 1))
    reply = await client.reply()
    assert (reply.status, reply.error["code"]) == (400, "transfer_encoding")
    await client.closed()
    gateway.expect(Outcome.REJECTED_INVALID)


async def test_connection_close_is_honoured(gateway: RunningGateway, client: RawClient) -> None:
    client.send(post(chat(stream=True), "connection: close"))
    reply = await client.reply()
    assert reply.headers["connection"] == "close"
    assert reply.chunks[-1].endswith(b"data: [DONE]\n\n")
    await client.closed()
    gateway.expect(Outcome.COMPLETED)


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_chunked_uploads(gateway: RunningGateway, client: RawClient, size: int) -> None:
    body = json.dumps(chat()).encode()
    client.send(CHUNKED + b"\r\n" + chunked(body, size))
    reply = await client.reply()
    assert (reply.status, tokens(reply.body)) == (200, 6)
    gateway.expect(Outcome.COMPLETED, request_bytes=len(body))


async def test_trailers_of_an_upload_are_dropped(
    gateway: RunningGateway, client: RawClient
) -> None:
    body = chunked(json.dumps(chat()).encode(), 50).removesuffix(b"\r\n")
    client.send(CHUNKED + b"\r\n" + body + b"authorization: Bearer evil\r\nx-trailer: 1\r\n\r\n")
    assert (await client.reply()).status == 200
    gateway.expect(Outcome.COMPLETED)


async def test_a_request_may_come_byte_by_byte(gateway: RunningGateway, client: RawClient) -> None:
    for byte in post(chat()):
        client.send(bytes((byte,)))
        await asyncio.sleep(0)  # so that bytes leave one by one
    assert (await client.reply()).status == 200
    gateway.expect(Outcome.COMPLETED)


async def test_blank_lines_before_a_request_are_ignored(
    gateway: RunningGateway, client: RawClient
) -> None:
    client.send(b"\r\n\r\n" + post(chat()))
    assert (await client.reply()).status == 200
    gateway.expect(Outcome.COMPLETED)


async def test_a_target_in_absolute_form(gateway: RunningGateway, client: RawClient) -> None:
    client.send(post(chat(), path="http://gateway/v1/chat/completions"))
    assert (await client.reply()).status == 200
    gateway.expect(Outcome.COMPLETED)


async def test_a_pipeline_is_answered_in_order(gateway: RunningGateway, client: RawClient) -> None:
    client.send(
        post(chat("three"))
        + post(chat("one", stream=True))
        + post(b"{")
        + b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
        + post(chat("two"))
    )
    assert tokens((await client.reply()).body) == 3
    assert (await client.reply()).body.endswith(b"data: [DONE]\n\n")
    assert (await client.reply()).error["code"] == "invalid_json"
    assert (await client.reply()).json() == {"status": "ok"}
    assert tokens((await client.reply()).body) == 2
    outcomes = [line["outcome"] for line in gateway.requests()]
    assert outcomes == ["completed", "completed", "rejected_invalid", "completed"]


async def test_a_pipeline_that_breaks_is_answered_as_far_as_it_was_good(
    gateway: RunningGateway, client: RawClient
) -> None:
    client.send(post(chat("two")) + b"\x00garbage\r\n\r\n" + post(chat("one")))
    assert tokens((await client.reply()).body) == 2
    assert (await client.reply()).status == 400
    await client.closed()
    assert gateway.metric("alise_gateway_requests_total", outcome="completed") == 1


async def test_a_long_pipeline_waits_in_the_socket(
    gateway: RunningGateway, client: RawClient
) -> None:
    count = 60
    client.send(post(chat("one")) * count)
    for _ in range(count):
        assert tokens((await client.reply()).body) == 1
    gateway.expect(Outcome.COMPLETED)
    assert len(gateway.requests()) == count


async def test_expect_continue_is_invited(gateway: RunningGateway, client: RawClient) -> None:
    head, _, body = post(chat(), "expect: 100-continue").partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert await client.reader.readexactly(len(CONTINUE)) == CONTINUE
    client.send(body)
    assert (await client.reply()).status == 200
    gateway.expect(Outcome.COMPLETED)


async def test_expect_continue_of_what_is_refused_is_not_invited(
    gateway: RunningGateway, client: RawClient
) -> None:
    head, _, _ = post(chat(), "expect: 100-continue", path="/v1/nothing").partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    reply = await client.reply()
    assert (reply.status, reply.error["code"]) == (404, "unknown_url")
    await client.closed()
    gateway.expect(Outcome.REJECTED_INVALID)


async def test_a_refused_upload_still_reads_its_error(
    gateway: RunningGateway, client: RawClient
) -> None:
    # The client sends megabytes before it looks; a reset would destroy the reply.
    client.send(post(b" " * 2_000_000, path="/v1/nothing"))
    reply = await client.reply()
    assert reply.status == 404
    gateway.expect(Outcome.REJECTED_INVALID)


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
async def test_an_upgrade_is_declined_by_answering(
    gateway: RunningGateway, client: RawClient, protocol: str
) -> None:
    asking = post(chat(), "connection: upgrade, http2-settings", f"upgrade: {protocol}")
    client.send(asking)
    reply = await client.reply()
    assert (reply.status, tokens(reply.body)) == (200, 6)
    # The connection speaks HTTP/1.1 as before, however the bytes are cut.
    for byte in asking:
        client.send(bytes((byte,)))
        await asyncio.sleep(0)
    assert tokens((await client.reply()).body) == 6
    client.send(asking * 30)
    for _ in range(30):
        assert tokens((await client.reply()).body) == 6
    gateway.expect(Outcome.COMPLETED)


@pytest.mark.parametrize("target", [b"gateway:443", b"/healthz", b"/v1/chat/completions"])
async def test_nobody_is_connected_through(
    gateway: RunningGateway, client: RawClient, target: bytes
) -> None:
    client.send(b"CONNECT " + target + b" HTTP/1.1\r\nhost: a\r\n\r\nrest")
    reply = await client.reply()
    assert reply.status in {404, 405}
    await client.closed()


async def test_keep_alive_serves_many_requests_on_one_connection(
    gateway: RunningGateway, engine: RunningEngine
) -> None:
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=gateway.url, limits=limits) as http:
        for number in range(20):
            body: Any = chat("one", stream=number % 2 == 0)
            assert (await http.post("/v1/chat/completions", json=body)).status_code == 200
        assert gateway.app.listener.connections == 1
    # One for the requests, one for probing, one for reading metrics.
    assert engine.connections() == 3
    gateway.expect(Outcome.COMPLETED)


async def test_an_idle_connection_is_closed_after_its_time(
    gateway: RunningGateway, client: RawClient
) -> None:
    clock = gateway.app.clock
    assert isinstance(clock, FakeClock)
    client.send(post(chat()))
    assert (await client.reply()).status == 200
    clock.advance(74)
    gateway.sweep()
    assert gateway.app.listener.connections == 1
    clock.advance(2)
    gateway.sweep()
    await client.closed()
    await eventually(lambda: gateway.app.listener.connections == 0)


async def test_too_many_connections_are_told_so() -> None:
    async with (
        running_gateway(limits={"max_connections": 1}) as gateway,
        connected(gateway.port) as first,
    ):
        first.send(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await first.reply()).status == 200
        async with connected(gateway.port) as second:
            reply = await second.reply()
            await second.closed()
        assert reply.status == 503
        assert reply.headers["x-alise-dropped-reason"] == "rejected_saturated"
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.error["type"] == "rate_limit_error"
