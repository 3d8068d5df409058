"""The client leaves at any stage: the work for it stops at once, and its place is free."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from alise_bench.sim.faults import Fault, FaultKind
from alise_core.outcome import Outcome
from alise_gateway.proxy.body import chunk
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.raw_client import RawClient, chat, connected, post
from fakes.scripted_backend import Received, scripted_backend

EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
ERROR_EVENT = b'data: {"error":{"message":"engine died","type":"x","code":500}}\n\n'
DONE = b"data: [DONE]\n\n"
GONE = Outcome.CLIENT_CANCELLED
LONG = {"max_tokens": 2000}


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    lengths = replaying(hello=4, long=2000)
    async with running_engine(fast_engine(0.002, lengths=lengths)) as running:
        yield running


@pytest.fixture
async def gateway(engine: RunningEngine) -> AsyncIterator[RunningGateway]:
    limits = {"max_in_flight_per_backend": 1}
    async with running_gateway(engine.url, queue=limits) as running:
        yield running
        # Whatever happened before, the one place is free.
        async with connected(running.port) as client:
            client.send(post(chat()))
            assert (await client.reply()).status == 200
        running.expect(Outcome.COMPLETED)


@pytest.fixture(params=["close", "reset", "half-close"])
def leave(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def go(client: RawClient, how: str) -> None:
    if how == "reset":
        client.reset()
    elif how == "half-close":
        client.send_eof()
    else:
        client.writer.close()


async def test_while_the_head_comes(gateway: RunningGateway, leave: str) -> None:
    async with connected(gateway.port) as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost")
        await eventually(lambda: gateway.app.listener.connections == 1)
        go(client, leave)
        await eventually(lambda: gateway.app.listener.connections == 0)
    assert gateway.requests() == [], "nothing was asked"


async def test_while_the_body_comes(
    gateway: RunningGateway, engine: RunningEngine, leave: str
) -> None:
    async with connected(gateway.port) as client:
        client.send(post(chat())[:-5])
        await eventually(lambda: gateway.app.listener.connections == 1)
        go(client, leave)
        await eventually(lambda: gateway.app.listener.connections == 0)
    assert not engine.open_requests()


async def test_while_it_waits_in_the_queue(
    gateway: RunningGateway, engine: RunningEngine, leave: str
) -> None:
    async with connected(gateway.port) as first, connected(gateway.port) as second:
        first.send(post(chat("long", **LONG)))
        await eventually(lambda: gateway.app.queue.in_flight == 1)
        second.send(post(chat()))
        await eventually(lambda: gateway.app.queue.waiting == 1)
        go(second, leave)
        await gateway.ended(GONE, attempts=0, status=499, backend=None)
        assert gateway.app.queue.waiting == 0
        assert gateway.app.queue.in_flight == 1
        go(first, leave)
        await gateway.ended(GONE, 2, attempts=1)
    await engine.until_idle()


async def test_while_the_backend_says_nothing(
    gateway: RunningGateway, engine: RunningEngine, leave: str
) -> None:
    engine.faults.arm(Fault(FaultKind.HANG_BEFORE_HEADERS))
    before = engine.connections()
    async with connected(gateway.port) as client:
        client.send(post(chat(stream=True)))
        await eventually(lambda: not engine.faults.armed())
        go(client, leave)
        await gateway.ended(GONE, attempts=1, status=499, first_token_s=None)
    await engine.until(lambda: engine.connections() == before)


async def test_while_a_whole_answer_is_made(
    gateway: RunningGateway, engine: RunningEngine, leave: str
) -> None:
    async with connected(gateway.port) as client:
        client.send(post(chat("long", **LONG)))
        await engine.until(engine.open_requests)
        go(client, leave)
        await gateway.ended(GONE, attempts=1, status=499)
    await engine.until_idle()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"])
async def test_in_the_middle_of_a_stream(
    gateway: RunningGateway, engine: RunningEngine, leave: str, path: str
) -> None:
    body = {"model": "alise-sim", "stream": True, "max_tokens": 2000, "ignore_eos": True}
    body |= {"messages": [{"role": "user", "content": "long"}]} if "chat" in path else {}
    body |= {"prompt": "long"} if path == "/v1/completions" else {}
    body |= {"input": "long", "max_output_tokens": 2000} if "responses" in path else {}
    async with connected(gateway.port) as client:
        client.send(post(body, path=path))
        status, _, _ = await client.head()
        assert status == 200
        for _ in range(3):
            await client.event()
        assert len(engine.open_requests()) == 1
        go(client, leave)
        line = await gateway.ended(GONE, attempts=1, status=499, stream=True)
    assert line["first_token_s"] is not None
    await engine.until_idle()
    assert engine.metric("vllm:generation_tokens_total") < 2000


@pytest.mark.parametrize(
    ("last", "outcome"),
    [(b"", Outcome.COMPLETED), (ERROR_EVENT, Outcome.FAILED_BACKEND_ERROR)],
    ids=["answered", "failed"],
)
async def test_after_the_last_event_but_before_the_end_of_the_body(
    leave: str, last: bytes, outcome: Outcome
) -> None:
    """SDKs stop reading at ``[DONE]``; vLLM sends the last chunk of the body a moment later."""
    seen, ended = asyncio.Event(), asyncio.Event()

    async def script(request: Received, writer: asyncio.StreamWriter) -> None:
        del request
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        writer.write(head + b"transfer-encoding: chunked\r\n\r\n" + chunk(EVENT))
        await seen.wait()
        writer.write(chunk(last) + chunk(DONE))
        await ended.wait()

    async with (
        scripted_backend(script) as backend,
        running_gateway(backend.url) as gateway,
        connected(gateway.port) as client,
    ):
        client.send(post(chat(stream=True)))
        assert (await client.head())[0] == 200
        assert await client.event() == EVENT
        seen.set()
        told = b""
        while not told.endswith(DONE):
            told += await client.event()
        go(client, leave)
        line = await gateway.ended(outcome, attempts=1, status=200, stream=True)
        assert line["last_token_s"] is not None
        assert gateway.app.queue.in_flight == 0
        ended.set()


async def test_with_others_behind_it_in_the_pipeline(
    gateway: RunningGateway, engine: RunningEngine
) -> None:
    async with connected(gateway.port) as client:
        client.send(post(chat("long", **LONG)) + post(chat("long", **LONG)))
        await engine.until(engine.open_requests)
        client.reset()
        await gateway.ended(GONE)
    await engine.until_idle()


@pytest.mark.slow
async def test_a_hundred_at_once(gateway: RunningGateway, engine: RunningEngine) -> None:
    async def come_and_go(number: int) -> None:
        async with connected(gateway.port) as client:
            client.send(post(chat("long", stream=number % 2 == 0, **LONG)))
            for _ in range(number % 7):
                await asyncio.sleep(0)  # leave in different stages
            go(client, ("close", "reset", "half-close")[number % 3])

    await asyncio.gather(*(come_and_go(number) for number in range(100)))
    await eventually(lambda: not gateway.app.listener.connections)
    await engine.until_idle()
    outcomes = {line["outcome"] for line in gateway.requests()}
    assert outcomes <= {"client_cancelled"}


async def test_a_client_that_leaves_while_its_backend_is_dialled(gateway: RunningGateway) -> None:
    body = json.dumps(chat("long", **LONG)).encode()
    async with connected(gateway.port) as client:
        # Sent and gone in one go: request and end of connection arrive together.
        client.send(post(body))
        client.writer.close()
        await gateway.ended(GONE)
