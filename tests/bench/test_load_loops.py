import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from alise_bench.load.loops import ClosedLoop, OpenLoop, run_closed, run_open
from alise_bench.load.request import Address, LoadRequest, get, post
from alise_bench.load.result import ErrorKind, RequestResult
from alise_bench.overhead.mock import CHAT_BODY, MockEngine

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ERROR_EVENTS = b'data: {"error":{"message":"no"}}\n\ndata: [DONE]\n\n'
ERROR_CHUNK = b"%x\r\n%b\r\n" % (len(ERROR_EVENTS), ERROR_EVENTS)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture
async def engine() -> AsyncIterator[MockEngine]:
    mock = MockEngine()
    await mock.start()
    yield mock
    await mock.stop()


def chat(address: Address, extra: bytes = b"", **options: bool) -> LoadRequest:
    body = b'{"model":"mock","messages":[]' + extra + b"}"
    return LoadRequest(post(address, "/v1/chat/completions", body), **options)


@asynccontextmanager
async def serve(handler: Handler) -> AsyncIterator[Address]:
    handled: set[asyncio.Task[None] | None] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handled.add(asyncio.current_task())
        try:
            await reader.readuntil(b"\r\n\r\n")
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()
    await asyncio.gather(*(task for task in handled if task is not None))
    await server.wait_closed()


async def closed(
    address: Address, request: LoadRequest, plan: ClosedLoop
) -> list[ErrorKind | None]:
    run = await run_closed(address, lambda _: request, plan, time.monotonic)
    return [result.error for result in run.results]


async def test_every_request_of_a_closed_loop_is_reported_once(engine: MockEngine) -> None:
    address = Address("127.0.0.1", engine.port)
    request = chat(address, reads_usage=True)
    run = await run_closed(address, lambda _: request, ClosedLoop(4, 50, 5), time.monotonic)
    assert sorted(result.number for result in run.results) == list(range(50))
    assert run.errors() == {}
    assert engine.requests == 50
    first = run.results[0]
    assert (first.status, first.body_bytes, first.tokens) == (200, len(CHAT_BODY), 8)
    assert 0 < first.ttfb <= first.total


async def test_streams_are_counted_event_by_event(engine: MockEngine) -> None:
    address = Address("127.0.0.1", engine.port)
    extra = b',"stream":true,"max_tokens":9,"stream_options":{"include_usage":true}'
    request = chat(address, extra, streamed=True, reads_usage=True)
    run = await run_closed(address, lambda _: request, ClosedLoop(3, 7, 5), time.monotonic)
    assert run.errors() == {}
    # 9 tokens, the usage event and [DONE]
    assert {(result.events, result.tokens) for result in run.results} == {(11, 9)}


async def test_an_open_loop_sends_at_the_planned_times(engine: MockEngine) -> None:
    address = Address("127.0.0.1", engine.port)
    request = chat(address)
    offsets = [0.0, 0.02, 0.04, 0.04, 0.06]
    seen: list[RequestResult] = []
    before = time.monotonic()
    run = await run_open(
        address, lambda _: request, OpenLoop(offsets), time.monotonic, observe=seen.append
    )
    assert run.errors() == {}
    assert seen == list(run.results)
    started = sorted(result.started - before for result in run.results)
    assert all(at >= offset for at, offset in zip(started, offsets, strict=True)), "none is early"


async def test_offsets_must_ascend(engine: MockEngine) -> None:
    address = Address("127.0.0.1", engine.port)
    with pytest.raises(ValueError, match="ascend"):
        await run_open(address, lambda _: chat(address), OpenLoop([0.2, 0.1]), time.monotonic)


async def test_an_open_loop_keeps_to_its_connections(engine: MockEngine) -> None:
    address = Address("127.0.0.1", engine.port)
    engine.interval_seconds = 0.01
    request = chat(address, b',"stream":true,"max_tokens":5', streamed=True)
    run = await run_open(
        address, lambda _: request, OpenLoop([0.0] * 5, max_connections=2), time.monotonic
    )
    assert run.errors() == {"connect": 3}
    assert len(run.results) == 5


async def test_a_closed_port_is_a_connect_error() -> None:
    async with serve(lambda _reader, _writer: asyncio.sleep(0)) as address:
        pass
    errors = await closed(address, chat(address), ClosedLoop(2, 6, 1))
    assert errors == [ErrorKind.CONNECT] * 2


async def test_a_status_other_than_200_is_an_error(engine: MockEngine) -> None:
    address = Address("127.0.0.1", engine.port)
    request = LoadRequest(get(address, "/nowhere"))
    assert await closed(address, request, ClosedLoop(1, 2, 1)) == [ErrorKind.STATUS] * 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", ErrorKind.RESET),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", ErrorKind.TRUNCATED),
        (b"nonsense\r\n\r\n", ErrorKind.PROTOCOL),
        (STREAM_HEAD + b"8\r\ndata: {}\r\n0\r\n\r\n", ErrorKind.TRUNCATED),
        (STREAM_HEAD + ERROR_CHUNK + b"0\r\n\r\n", ErrorKind.STREAM_ERROR),
    ],
)
async def test_a_broken_reply_has_its_kind(reply: bytes, error: ErrorKind) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()

    async with serve(answer) as address:
        request = chat(address, b',"stream":true', streamed=True, reads_usage=True)
        assert await closed(address, request, ClosedLoop(1, 1, 1)) == [error]


async def test_a_server_that_closes_after_each_reply_is_dialled_again() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()

    async with serve(answer) as address:
        assert await closed(address, chat(address), ClosedLoop(2, 8, 2)) == [None] * 8


async def test_a_run_ends_although_the_server_hangs() -> None:
    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serve(hang) as address:
        plan = ClosedLoop(3, 100, issue_seconds=0.02, drain_seconds=0.02)
        assert await closed(address, chat(address), plan) == [ErrorKind.UNFINISHED] * 3


@pytest.mark.parametrize("url", ["https://a:1", "http://a", "a:1"])
def test_an_address_needs_scheme_host_and_port(url: str) -> None:
    with pytest.raises(ValueError, match="must look like"):
        Address.parse(url)


def test_an_address_is_read_from_its_url() -> None:
    assert Address.parse("http://127.0.0.1:80").url == "http://127.0.0.1:80"
