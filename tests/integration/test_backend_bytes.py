"""Answers that no engine is made to give, byte by byte from a script."""

import asyncio

import pytest

from alise_core.outcome import Outcome
from fakes.asking import ask, check_refused, last_event
from fakes.gateway import eventually, running_gateway
from fakes.raw_client import chat, connected, post
from fakes.scripted_backend import Received, scripted_backend, sends, whole

ERROR = Outcome.FAILED_BACKEND_ERROR
LOST = Outcome.FAILED_BACKEND_LOST_MIDSTREAM
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
NO_RETRY = {"max_retries": 0}
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
ERROR_EVENT = b'data: {"error":{"message":"engine died","type":"x","code":500}}\n\n'
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
DONE = b"data: [DONE]\n\n"


async def test_an_error_event_in_the_middle_reaches_the_client_and_blames_the_backend() -> None:
    seen = asyncio.Event()
    rest = ERROR_EVENT + DONE

    async def script(request: Received, writer: asyncio.StreamWriter) -> None:
        del request
        length = b"content-length: %d\r\n\r\n" % len(EVENT + rest)
        writer.write(STREAM_HEAD + length + EVENT)
        await seen.wait()
        writer.write(rest)

    async with (
        scripted_backend(script) as backend,
        running_gateway(backend.url) as gateway,
        connected(gateway.port) as client,
    ):
        client.send(post(chat(stream=True)))
        assert (await client.head())[0] == 200
        assert await client.event() == EVENT
        seen.set()
        assert await client.event() == rest
        assert await client.event() == b""
        gateway.expect(ERROR, status=200)
        assert gateway.metric("alise_gateway_backend_failures_total", kind="error_event") == 1
        client.writer.close()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}", "backend_protocol"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}", None),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "backend_protocol"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n{}",
            "backend_protocol",
        ),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "backend_protocol"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}xx", "backend_protocol"),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", None),
        (b"HTTP/2 200\r\n\r\n", "backend_protocol"),
        (STREAM_HEAD + b"content-length: 0\r\n\r\n", "backend_lost"),
        (STREAM_HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", "backend_lost"),
        (STREAM_HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", "backend_protocol"),
    ],
    ids=lambda data: repr(data[-32:]) if isinstance(data, bytes) else None,
)
async def test_answers_that_break_the_rules(data: bytes, code: str | None) -> None:
    async with (
        scripted_backend(sends(data, close=True)) as backend,
        running_gateway(backend.url, upstream=NO_RETRY) as gateway,
    ):
        reply = await ask(gateway, stream=True)
        check_refused(reply, ERROR, 502, code or str(reply.error["code"]))
        gateway.expect(ERROR, status=502)


async def test_more_bytes_than_announced_do_not_reach_the_next_client() -> None:
    data = whole(b'{"a":1}') + whole(b'{"smuggled":1}')
    async with (
        scripted_backend(sends(data)) as backend,
        running_gateway(backend.url, upstream=NO_RETRY) as gateway,
    ):
        for _ in range(3):
            reply = await ask(gateway)
            assert b"smuggled" not in reply.body
        await eventually(lambda: not any(p.counts.busy for p in gateway.app.pools.values()))


async def test_interim_answers_are_not_the_answer() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    async with (
        scripted_backend(sends(interim + whole(b'{"a":1}'))) as backend,
        running_gateway(backend.url) as gateway,
    ):
        reply = await ask(gateway)
        assert (reply.status, reply.body) == (200, b'{"a":1}')
        gateway.expect(Outcome.COMPLETED)


@BOTH
async def test_answers_that_end_with_their_connection(stream: bool) -> None:
    body = EVENT + DONE if stream else b'{"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    head = STREAM_HEAD if stream else b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    async with (
        scripted_backend(sends(head + b"\r\n" + body, close=True)) as backend,
        running_gateway(backend.url) as gateway,
    ):
        reply = await ask(gateway, stream=stream)
        assert (reply.status, reply.body) == (200, body)
        gateway.expect(Outcome.COMPLETED, attempts=1)


async def test_a_stream_that_ends_with_its_connection_but_without_its_end() -> None:
    async with (
        scripted_backend(sends(STREAM_HEAD + b"\r\n" + EVENT, close=True)) as backend,
        running_gateway(backend.url) as gateway,
    ):
        error = last_event(await ask(gateway, stream=True))["error"]
        assert error["code"] == "backend_lost_midstream"
        gateway.expect(LOST)


@BOTH
async def test_a_connection_that_went_stale_costs_nothing(
    stream: bool,
) -> None:
    closing: set[asyncio.StreamWriter] = set()
    answer = STREAM_HEAD + b"content-length: %d\r\n\r\n" % len(DONE) + DONE

    async def script(request: Received, writer: asyncio.StreamWriter) -> None:
        # The second request on a connection finds it closed, as where both sides act at once.
        if writer in closing:
            raise ConnectionError
        closing.add(writer)
        writer.write(answer if b'"stream": true' in request.body else whole(b"{}"))

    async with (
        scripted_backend(script) as backend,
        running_gateway(backend.url, upstream=NO_RETRY) as gateway,
    ):
        for _ in range(4):
            assert (await ask(gateway, stream=stream)).status == 200
            gateway.expect(Outcome.COMPLETED, attempts=1)
        assert len(backend.received) == 7
        assert gateway.metric("alise_gateway_backend_failures_total") == 0
