import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise

import httpx
import pytest

from alise_bench.load.request import Address
from alise_bench.overhead.mock import CHAT_BODY, MockEngine
from alise_bench.overhead.verify import WrongReply, verified_reply_bytes


@pytest.fixture
async def engine() -> AsyncIterator[MockEngine]:
    mock = MockEngine()
    await mock.start()
    yield mock
    await mock.stop()


async def test_it_looks_like_an_engine_to_a_proxy(engine: MockEngine) -> None:
    async with httpx.AsyncClient(base_url=engine.url) as client:
        assert (await client.get("/health")).status_code == 200
        models = (await client.get("/v1/models")).json()
        assert [model["id"] for model in models["data"]] == ["mock"]
        assert (await client.get("/version")).status_code == 404
        assert (await client.post("/v1/chat/completions", content=b"{")).status_code == 400
        reply = await client.post("/v1/chat/completions", json={"model": "mock"})
    assert reply.content == CHAT_BODY
    assert reply.json()["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize(("usage", "events"), [(False, 6), (True, 7)])
async def test_a_stream_has_the_events_that_were_asked_for(
    engine: MockEngine, usage: bool, events: int
) -> None:
    body = {"stream": True, "max_tokens": 5, "stream_options": {"include_usage": usage}}
    async with httpx.AsyncClient(base_url=engine.url) as client:
        reply = await client.post("/v1/chat/completions", json=body)
    found = reply.text.strip().split("\n\n")
    assert len(found) == events
    assert found[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in found[:-1]]
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks if "usage" in chunk] == (
        [5] if usage else []
    )
    assert chunks[4]["choices"][0]["finish_reason"] == "stop"
    assert len({len(event) for event in found[:4]}) == 1


async def test_neighbouring_events_differ(engine: MockEngine) -> None:
    async with httpx.AsyncClient(base_url=engine.url) as client:
        reply = await client.post("/v1/chat/completions", json={"stream": True, "max_tokens": 20})
    events = reply.text.split("\n\n")
    assert all(early != late for early, late in pairwise(events))


async def test_a_client_that_leaves_is_forgotten(engine: MockEngine) -> None:
    engine.interval_seconds = 0.01
    async with (
        httpx.AsyncClient(base_url=engine.url) as client,
        client.stream("POST", "/v1/chat/completions", json={"stream": True}) as reply,
    ):
        assert reply.status_code == 200
    for _ in range(10_000):
        if not engine.open_streams:
            break
        await asyncio.sleep(0)
    assert engine.open_streams == 0


async def test_a_right_server_is_verified(engine: MockEngine) -> None:
    address = Address("127.0.0.1", engine.port)
    assert await asyncio.to_thread(verified_reply_bytes, address, {}) == len(CHAT_BODY)


async def test_a_server_that_changes_replies_is_refused() -> None:
    body = CHAT_BODY.replace(b"forty-two", b"forty-one")
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]}")
        writer.write(head + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(WrongReply, match="message differs"):
            await asyncio.to_thread(verified_reply_bytes, address, {})
