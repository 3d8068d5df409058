"""Probing over real sockets: whatever a peer does, an answer or a reason comes back in time."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from alise_core.units import BackendName
from alise_gateway.discovery import probe
from alise_gateway.discovery.probe import ProbeFailed, client_factory, fetch
from alise_gateway.domain.backend import BackendAddress

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_factory()() as made:
        yield made


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[BackendAddress]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield BackendAddress(BackendName("engine"), "127.0.0.1", port, api_key="secret")
    finally:
        server.close()


def answering(answer: bytes, *, hang: bool = False) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if hang:
            await reader.read()

    return handler


async def test_answers_come_back_over_one_connection(client: httpx.AsyncClient) -> None:
    requests: list[bytes] = []
    connections: list[None] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(None)
        while True:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK)

    async with serving(handler) as address:
        for _ in range(3):
            assert await fetch(client, address, "/health", 5) == (200, b"ok")
        await client.aclose()
    assert len(connections) == 1
    assert requests[0].startswith(b"GET /health HTTP/1.1\r\n")
    assert b"\r\nauthorization: bearer secret\r\n" in requests[0].lower()
    assert b"\r\naccept-encoding: identity\r\n" in requests[0].lower()


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (answering(b""), "RemoteProtocolError"),
        (answering(b"SSH-2.0-OpenSSH_9.6\r\n"), "RemoteProtocolError"),
        (answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"), "RemoteProtocolError"),
        (answering(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"), "RemoteProtocolError"),
        (answering(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200_000), "RemoteProtocolError"),
        (answering(b"", hang=True), "no answer within 0.05 s"),
        (answering(b"HTTP/1.1 200 OK\r\n", hang=True), "no answer within 0.05 s"),
        (answering(OK[:-1], hang=True), "no answer within 0.05 s"),
        (answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2048, hang=True), "larger than 1024 bytes"),
    ],
)
async def test_misbehaviour_is_a_reason(
    client: httpx.AsyncClient, handler: Handler, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "MAX_BYTES", 1024)
    async with serving(handler) as address:
        with pytest.raises(ProbeFailed, match=reason) as failed:
            # Only an answer that does not come is waited for.
            await fetch(client, address, "/health", 0.05 if "0.05 s" in reason else 30)
        await client.aclose()
    assert str(failed.value).startswith("GET /health: ")
    assert len(str(failed.value)) <= 200


async def test_compressed_bytes_are_not_blown_up(client: httpx.AsyncClient) -> None:
    body = gzip.compress(b"\0" * 10_000_000)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with serving(answering(head + body)) as address:
        status, received = await fetch(client, address, "/v1/models", 5)
        await client.aclose()
    assert (status, received) == (200, body)


async def test_a_closed_port_is_a_reason(client: httpx.AsyncClient) -> None:
    async with serving(answering(OK)) as address:
        pass
    with pytest.raises(ProbeFailed, match="ConnectError"):
        await fetch(client, address, "/health", 5)
