"""Requests that must be refused: each with its status, its error, its outcome, and no trace."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from alise_core.outcome import SPECS, Outcome
from fakes.clock import FakeClock
from fakes.engine import running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.raw_client import RawReply, chat, connected, post

INVALID = Outcome.REJECTED_INVALID
TOO_LARGE = Outcome.REJECTED_TOO_LARGE
LIMITS = {"max_body_bytes": 4096, "max_header_bytes": 4096, "max_headers": 20}
MESSAGES = '"messages":[{"role":"user","content":"hi"}]'


@pytest.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    async with (
        running_engine() as engine,
        running_gateway(engine.url, clock=FakeClock(), limits=LIMITS) as running,
    ):
        yield running
        assert engine.metric("vllm:prompt_tokens_total") == 0, "the engine was bothered"


async def ask(gateway: RunningGateway, data: bytes, *, closes: bool = False) -> RawReply:
    """Send ``data`` on a connection of its own; the connection must stay usable or close."""
    async with connected(gateway.port) as client:
        client.send(data)
        reply = await client.reply()
        assert (reply.headers.get("connection") == "close") == closes
        if closes:
            await client.closed()
        else:
            client.send(post(b"{"))
            assert (await client.reply()).error["code"] == "invalid_json"
    return reply


def check(
    gateway: RunningGateway, reply: RawReply, outcome: Outcome, status: int, code: str
) -> dict[str, Any]:
    """The reply's error, which must agree with the log line."""
    assert reply.status == status
    error = reply.error
    assert error["code"] == code
    assert error["type"] == SPECS[outcome].error_type
    line = next(line for line in gateway.requests() if line["status"] == status)
    assert line["outcome"] == outcome
    assert line["attempts"] == 0
    assert gateway.metric("alise_gateway_requests_total", outcome=outcome) >= 1
    return error


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "missing_body", None),
        (b"{", "invalid_json", None),
        (b'{"model":"alise-sim",}', "invalid_json", None),
        (b"nonsense", "invalid_json", None),
        (b'{"model":"alise-sim"} trailing', "invalid_json", None),
        (b"\x00\x01\x02", "invalid_json", None),
        (b'{"model":"alise-sim","a":' + b"[" * 4000, "invalid_json", None),
        (b'{"a":' * 600 + b"1" + b"}" * 600 + b" ", "missing_model", "model"),
        (b"[]", "invalid_type", None),
        (b'"text"', "invalid_type", None),
        (b"null", "invalid_type", None),
        (b"{}", "missing_model", "model"),
        (b'{"model":null}', "missing_model", "model"),
        (b'{"model":""}', "missing_model", "model"),
        (b'{"model":5}', "invalid_type", "model"),
        (b'{"model":["alise-sim"]}', "invalid_type", "model"),
        (b'{"model":"' + b"m" * 600 + b'"}', "invalid_model", "model"),
        (b'{"model":"alise-sim","stream":"yes"}', "invalid_type", "stream"),
        (b'{"model":"alise-sim","stream":1}', "invalid_type", "stream"),
        (b'{"model":"alise-sim","stream_options":7}', "invalid_type", "stream_options"),
        (b'{"model":"alise-sim","max_tokens":"many"}', "invalid_type", "max_tokens"),
        (b'{"model":"alise-sim","max_tokens":1.5}', "invalid_type", "max_tokens"),
        (b'{"model":"alise-sim","max_tokens":-1}', "invalid_max_tokens", "max_tokens"),
        (
            b'{"model":"alise-sim","max_completion_tokens":99999999999}',
            "invalid_max_tokens",
            "max_completion_tokens",
        ),
        (
            b'{"model":"alise-sim","max_output_tokens":' + b"9" * 300 + b"}",
            "invalid_max_tokens",
            "max_output_tokens",
        ),
        (b'{"model":"alise-sim","user":"\xff\xfe"}', "invalid_encoding", None),
        (b'{"model":"alise-sim","user":"\xed\xa0\x80"}', "invalid_encoding", None),
    ],
)
async def test_a_body_that_makes_no_sense(
    gateway: RunningGateway, body: bytes, code: str, param: str | None
) -> None:
    reply = await ask(gateway, post(body))
    error = check(gateway, reply, INVALID, 400, code)
    assert error["param"] == param
    assert "x-request-id" in reply.headers
    assert "retry-after" not in reply.headers


async def test_an_unknown_model(gateway: RunningGateway) -> None:
    reply = await ask(gateway, post(chat(model="gpt-9")))
    error = check(gateway, reply, INVALID, 404, "model_not_found")
    assert error["param"] == "model"
    assert "gpt-9" in error["message"]


async def test_the_last_of_two_equal_keys_counts(gateway: RunningGateway) -> None:
    body = '{"model":"alise-sim",' + MESSAGES + ',"model":"other"}'
    reply = await ask(gateway, post(body.encode()))
    assert "other" in check(gateway, reply, INVALID, 404, "model_not_found")["message"]


async def test_errors_of_messages_have_the_shape_that_their_clients_parse(
    gateway: RunningGateway,
) -> None:
    reply = await ask(gateway, post(chat(model="gpt-9"), path="/v1/messages"))
    assert reply.status == 404
    document = reply.json()
    assert document["type"] == "error"
    assert document["error"]["type"] == "not_found_error"
    gateway.requests()


async def test_a_body_that_announces_too_much_is_refused_before_it_comes(
    gateway: RunningGateway,
) -> None:
    async with connected(gateway.port) as client:
        client.send(
            post(b"")[:-5].replace(b"content-length: ", b"content-length: 5000") + b"\r\n\r\n"
        )
        reply = await client.reply()
        await client.closed()
    check(gateway, reply, TOO_LARGE, 413, "body_too_large")


async def test_a_chunked_body_is_cut_where_it_becomes_too_large(gateway: RunningGateway) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    async with connected(gateway.port) as client:
        client.send(head)
        for _ in range(5):
            client.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        reply = await client.reply()
        await client.closed()
    check(gateway, reply, TOO_LARGE, 413, "body_too_large")


async def test_a_body_of_the_largest_size_is_taken(gateway: RunningGateway) -> None:
    body = b'{"model":"gpt-9"}'.ljust(4096)
    check(gateway, await ask(gateway, post(body)), INVALID, 404, "model_not_found")


@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        (["x-big: " + "a" * 5000], 431, "headers_too_large"),
        ([f"x-{i}: 1" for i in range(30)], 431, "too_many_headers"),
    ],
)
async def test_headers_beyond_the_limits(
    gateway: RunningGateway, lines: list[str], status: int, code: str
) -> None:
    reply = await ask(gateway, post(chat(), *lines), closes=True)
    check(gateway, reply, TOO_LARGE, status, code)


async def test_headers_that_never_end(gateway: RunningGateway) -> None:
    async with connected(gateway.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\n" + b"x-a: b\r\n" * 600)
        reply = await client.reply()
        await client.closed()
    check(gateway, reply, TOO_LARGE, 431, "headers_too_large")


async def test_a_target_that_never_ends(gateway: RunningGateway) -> None:
    async with connected(gateway.port) as client:
        client.send(b"GET /" + b"a" * 9000)
        reply = await client.reply()
        await client.closed()
    assert reply.status in {414, 431}
    gateway.expect(TOO_LARGE)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x00\x00\x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"\xff" * 64,
        b"EHLO mail.example\r\n",
        b"POST /v1/chat/completions\r\n\r\n",
        b"POST /v1/chat/completions HTTP/9.9\r\nhost: a\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost : a\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx: \x00\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n"
        b"content-length: 2\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n"
        b"transfer-encoding: chunked\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        b"xyz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ],
    ids=lambda data: repr(data[-24:]),
)
async def test_bytes_that_are_not_http(gateway: RunningGateway, garbage: bytes) -> None:
    async with connected(gateway.port) as client:
        client.send(garbage)
        reply = await client.reply()
        assert reply.headers["connection"] == "close"
        await client.closed()
    assert reply.status in {400, 505}
    assert reply.error["type"] == "invalid_request_error"
    gateway.expect(INVALID, status=reply.status)


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"POST /v1/chat/completions HTTP/1.1\r\n\r\n", 400, "invalid_host"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "invalid_host"),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n"
            b"transfer-encoding: gzip, chunked\r\n\r\n",
            501,
            "transfer_encoding",
        ),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\n\r\n",
            417,
            "unknown_expectation",
        ),
        (b"GET /v1/chat/completions HTTP/1.1\r\nhost: a\r\n\r\n", 405, "method_not_allowed"),
        (b"DELETE /v1/chat/completions HTTP/1.1\r\nhost: a\r\n\r\n", 405, "method_not_allowed"),
        (b"POST /v1/nothing HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", 404, "unknown_url"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 404, "unknown_url"),
        (b"GET /v1/chat/completions/../models HTTP/1.1\r\nhost: a\r\n\r\n", 404, "unknown_url"),
        (b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 404, "unknown_url"),
        (b"GET /alise/backends HTTP/1.1\r\nhost: a\r\n\r\n", 404, "unknown_url"),
    ],
)
async def test_heads_that_are_refused(
    gateway: RunningGateway, head: bytes, status: int, code: str
) -> None:
    check(gateway, await ask(gateway, head, closes=True), INVALID, status, code)


async def test_slow_headers_end_after_their_time(gateway: RunningGateway) -> None:
    clock = gateway.app.clock
    assert isinstance(clock, FakeClock)
    async with connected(gateway.port) as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n")
        await drip(gateway, clock, client.send, b"x-slow: 1\r\n", 10)
        reply = await client.reply()
        await client.closed()
    check(gateway, reply, INVALID, 408, "request_timeout")


async def test_a_slow_body_ends_after_its_time(gateway: RunningGateway) -> None:
    clock = gateway.app.clock
    assert isinstance(clock, FakeClock)
    async with connected(gateway.port) as client:
        client.send(post(b" " * 1000)[:-900])
        await drip(gateway, clock, client.send, b" ", 60)
        reply = await client.reply()
        await client.closed()
    check(gateway, reply, INVALID, 408, "request_timeout")


async def test_a_connection_that_says_nothing_is_closed_without_a_word(
    gateway: RunningGateway,
) -> None:
    clock = gateway.app.clock
    assert isinstance(clock, FakeClock)
    async with connected(gateway.port) as client:
        await eventually_connected(gateway)
        clock.advance(11)
        gateway.sweep()
        await client.closed()
    assert gateway.requests() == []


async def drip(
    gateway: RunningGateway, clock: FakeClock, send: Any, piece: bytes, limit_seconds: float
) -> None:
    """Send a little every now and then until the time is over: steady progress buys nothing."""
    await eventually_connected(gateway)
    for _ in range(4):
        send(piece)
        await asyncio.sleep(0.002)  # one exchange with the kernel; time itself does not matter
        gateway.sweep()
        assert not gateway.requests()
        clock.advance(limit_seconds / 4)
    gateway.sweep()


async def eventually_connected(gateway: RunningGateway) -> None:
    await eventually(lambda: gateway.app.listener.connections == 1)
