"""Order, limits and patience of the queue, and the pace of clients."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from alise_bench.sim.faults import Fault, FaultKind
from alise_core.outcome import Outcome
from fakes.clock import FakeClock
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.raw_client import RawClient, chat, connected, post
from fakes.scripted_backend import Received, scripted_backend

LENGTHS = replaying(hello=4, long=2000)
LONG: dict[str, Any] = {"content": "long", "stream": True, "max_tokens": 2000}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(0.001, lengths=LENGTHS)) as running:
        yield running


@pytest.fixture
async def gateway(engine: RunningEngine, clock: FakeClock) -> AsyncIterator[RunningGateway]:
    """One place on the engine, two in the queue."""
    queue = {"max_in_flight_per_backend": 1, "max_waiting": 2, "ttl_seconds": 30}
    async with running_gateway(engine.url, clock=clock, queue=queue) as running:
        yield running


async def occupy(gateway: RunningGateway, client: RawClient) -> None:
    client.send(post(chat(**LONG)))
    await client.head()
    assert gateway.app.queue.in_flight == 1


async def test_who_comes_first_is_served_first(gateway: RunningGateway) -> None:
    async with (
        connected(gateway.port) as first,
        connected(gateway.port) as second,
        connected(gateway.port) as third,
    ):
        await occupy(gateway, first)
        second.send(post(chat(), "x-request-id: number-1"))
        await eventually(lambda: gateway.app.queue.waiting == 1)
        third.send(post(chat(), "x-request-id: number-2"))
        await eventually(lambda: gateway.app.queue.waiting == 2)
        assert gateway.app.status.queue().waiting == 2
        first.reset()
        assert (await second.reply()).status == 200
        assert (await third.reply()).status == 200
    ids = [line["request_id"] for line in gateway.requests()[1:]]
    assert ids == ["number-1", "number-2"]


@pytest.mark.slow
async def test_no_backend_gets_more_than_its_limit(engine: RunningEngine) -> None:
    async with running_gateway(engine.url, queue={"max_in_flight_per_backend": 3}) as gateway:
        seen = 0

        async def one() -> None:
            nonlocal seen
            async with connected(gateway.port) as client:
                client.send(post(chat("long", stream=True, max_tokens=30)))
                await client.head()
                seen = max(seen, len(engine.open_requests()))
                while await client.event():
                    pass

        await asyncio.gather(*(one() for _ in range(20)))
        assert seen == 3
        gateway.expect(Outcome.COMPLETED)


async def test_a_full_queue_refuses(gateway: RunningGateway) -> None:
    async with (
        connected(gateway.port) as first,
        connected(gateway.port) as second,
        connected(gateway.port) as third,
        connected(gateway.port) as fourth,
    ):
        await occupy(gateway, first)
        second.send(post(chat()))
        third.send(post(chat()))
        await eventually(lambda: gateway.app.queue.waiting == 2)
        fourth.send(post(chat()))
        reply = await fourth.reply()
        assert reply.status == 429
        assert reply.error["type"] == "rate_limit_error"
        assert reply.headers["x-alise-dropped-reason"] == "rejected_saturated"
        assert 1 <= int(reply.headers["retry-after"]) <= 75
        gateway.expect(Outcome.REJECTED_SATURATED, attempts=0, status=429)
        for client in (first, second, third):
            client.reset()


async def test_who_waits_too_long_is_told_when_to_come_back(
    gateway: RunningGateway, clock: FakeClock
) -> None:
    async with connected(gateway.port) as first, connected(gateway.port) as second:
        await occupy(gateway, first)
        second.send(post(chat()))
        await eventually(lambda: gateway.app.queue.waiting == 1)
        clock.advance(29)
        gateway.sweep()
        assert gateway.app.queue.waiting == 1
        clock.advance(2)
        gateway.sweep()
        reply = await second.reply()
        assert reply.status == 429
        assert reply.error["code"] == "evicted_ttl"
        assert reply.headers["x-alise-dropped-reason"] == "evicted_ttl"
        assert int(reply.headers["retry-after"]) >= 1
        gateway.expect(Outcome.EVICTED_TTL, attempts=0, finished_s=31.0)
        second.send(post(b"{"))
        assert (await second.reply()).status == 400, "the connection is still good"
        first.reset()


async def test_waiting_shows_in_the_answer_and_in_the_log(
    gateway: RunningGateway, clock: FakeClock
) -> None:
    async with connected(gateway.port) as first, connected(gateway.port) as second:
        await occupy(gateway, first)
        second.send(post(chat()))
        await eventually(lambda: gateway.app.queue.waiting == 1)
        clock.advance(7)
        first.reset()
        reply = await second.reply()
        assert reply.headers["x-alise-queue-ms"] == "7000"
        line = gateway.expect(Outcome.COMPLETED)
        assert line["dispatched_s"] - line["enqueued_s"] == 7


async def test_models_do_not_wait_for_each_other(engine: RunningEngine, clock: FakeClock) -> None:
    queue = {"max_in_flight_per_backend": 1}
    async with (
        running_engine(fast_engine(model="second-model", lengths=LENGTHS)) as second,
        running_gateway(engine.url, second.url, clock=clock, queue=queue) as gateway,
        connected(gateway.port) as first,
        connected(gateway.port) as waiting,
        connected(gateway.port) as third,
    ):
        await occupy(gateway, first)
        waiting.send(post(chat()))
        await eventually(lambda: gateway.app.queue.waiting == 1)
        third.send(post(chat(model="second-model")))
        reply = await third.reply()
        assert reply.headers["x-alise-backend"] == second.name
        for client in (first, waiting, third):
            client.reset()


@pytest.mark.slow
async def test_a_client_that_does_not_read_slows_its_backend_and_nothing_else(
    clock: FakeClock,
) -> None:
    event = b"data: " + b"x" * 16_000 + b"\n\n"
    chunk = b"%x\r\n%b\r\n" % (len(event), event)
    produced = 0

    async def script(request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal produced
        del request
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        while True:
            writer.write(chunk)
            await writer.drain()
            produced += len(event)

    async with (
        scripted_backend(script) as backend,
        running_gateway(backend.url, clock=clock) as gateway,
        connected(gateway.port, receive_buffer_bytes=4096) as client,
    ):
        probing = len(backend.writers)
        client.send(post(chat(stream=True)))
        await client.head()
        await settled(lambda: produced)
        before = produced
        assert before < 16 * 2**20, "the backend waits: what it may send ahead is bounded"
        assert held_bytes(gateway) < 2**20
        read = 0
        while produced == before:  # the kernel's buffers have to empty first
            data = await client.event()
            assert data == event * (len(data) // len(event))
            read += len(data)
        assert read < 2 * before, "who reads gets more"
        await settled(lambda: produced)
        # Reading ever more slowly is no way to hold a backend: after a minute it is over.
        clock.advance(61)
        gateway.sweep()
        await gateway.ended(Outcome.CLIENT_CANCELLED)
        await eventually(lambda: len(backend.writers) <= probing)


async def settled(value: Any) -> None:
    """Until a count stops rising, as seen over many turns of the loop."""
    last, same = value(), 0
    while same < 50:
        await asyncio.sleep(0.001)  # kernel buffers fill; the loop has nothing to await for that
        same = same + 1 if value() == last else 0
        last = value()


def held_bytes(gateway: RunningGateway) -> int:
    """What waits in the gateway's own buffers towards its clients."""
    connections = gateway.app.listener._connections
    return sum(one.transport.get_write_buffer_size() for one in connections)


@pytest.mark.slow
async def test_a_finished_request_leaves_no_garbage(gateway: RunningGateway) -> None:
    async with connected(gateway.port) as client:
        client.send(post(chat(stream=True)))
        await client.reply()
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                client.send(post(chat(stream=True)))
                await client.reply()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            kinds = {type(item).__name__ for item in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert kinds & {"RequestExchange", "Attempt", "StreamAnswer", "HttpRequest"} == set()


async def test_a_hanging_backend_does_not_hold_the_queue(
    gateway: RunningGateway, engine: RunningEngine, clock: FakeClock
) -> None:
    engine.faults.arm(Fault(FaultKind.HANG_BEFORE_HEADERS))
    async with connected(gateway.port) as first, connected(gateway.port) as second:
        first.send(post(chat(stream=True)))
        await eventually(lambda: not engine.faults.armed())
        clock.advance(290)
        second.send(post(chat()))
        await eventually(lambda: gateway.app.queue.waiting == 1)
        clock.advance(11)
        gateway.sweep()
        assert (await first.reply()).status == 504
        assert (await second.reply()).status == 200
