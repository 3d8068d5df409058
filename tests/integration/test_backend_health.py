"""Backends come and go: breakers, probes, drains."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from alise_bench.sim.faults import Fault, FaultKind
from alise_core.outcome import Outcome
from alise_core.units import BackendName
from alise_gateway.domain.backend import ProbeState
from alise_gateway.domain.breaker import BreakerState
from alise_gateway.settings import BackendSettings
from fakes.clock import FakeClock
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.raw_client import RawReply, chat, connected, post

LENGTHS = replaying(hello=4, long=2000)
QUICK_PROBES = {"probe_interval_seconds": 0.01, "unhealthy_after_failures": 2}


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=LENGTHS, drain_middleware=True)) as running:
        yield running


@pytest.fixture
async def other() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=LENGTHS)) as running:
        yield running


async def ask(gateway: RunningGateway, **fields: Any) -> RawReply:
    async with connected(gateway.port) as client:
        client.send(post(chat(**fields)))
        return await client.reply()


async def failing(gateway: RunningGateway, times: int) -> None:
    for _ in range(times):
        assert (await ask(gateway)).status == 500


def moves(gateway: RunningGateway) -> dict[BreakerState, float]:
    name = "alise_gateway_breaker_transitions_total"
    return {state: gateway.metric(name, state=state) for state in BreakerState}


async def test_a_breaker_opens_half_opens_and_closes(engine: RunningEngine) -> None:
    clock = FakeClock()
    async with running_gateway(
        engine.url, clock=clock, upstream={"max_retries": 0}, health={"breaker_failures": 3}
    ) as gateway:
        engine.faults.arm(Fault(FaultKind.STATUS, count=4, status=500))
        await failing(gateway, 3)
        reply = await ask(gateway)
        assert reply.status == 503
        assert reply.headers["x-alise-dropped-reason"] == "rejected_no_backends"
        gateway.expect(Outcome.REJECTED_NO_BACKENDS, attempts=0)
        assert len(engine.faults.armed()) == 1, "an open breaker lets nothing through"

        clock.advance(5)
        await failing(gateway, 1)  # the trial fails: open for twice as long
        clock.advance(9)
        assert (await ask(gateway)).status == 503
        clock.advance(1)
        assert (await ask(gateway)).status == 200
        assert (await ask(gateway)).status == 200
        expected = {BreakerState.OPEN: 2, BreakerState.HALF_OPEN: 2, BreakerState.CLOSED: 1}
        assert moves(gateway) == expected


async def test_a_trial_is_over_with_its_first_byte(engine: RunningEngine) -> None:
    clock = FakeClock()
    async with (
        running_gateway(
            engine.url, clock=clock, upstream={"max_retries": 0}, health={"breaker_failures": 1}
        ) as gateway,
        connected(gateway.port) as trial,
    ):
        engine.faults.arm(Fault(FaultKind.STATUS, status=500))
        await failing(gateway, 1)
        clock.advance(5)
        trial.send(post(chat("long", stream=True, max_tokens=2000)))
        await trial.head()
        # The trial's stream goes on; others need not wait for its end.
        assert (await ask(gateway)).status == 200
        trial.reset()
        await gateway.ended(Outcome.CLIENT_CANCELLED, 3)
        assert (await ask(gateway)).status == 200


async def test_a_trial_whose_client_leaves_makes_room_for_the_next(engine: RunningEngine) -> None:
    clock = FakeClock()
    async with running_gateway(
        engine.url, clock=clock, upstream={"max_retries": 0}, health={"breaker_failures": 1}
    ) as gateway:
        engine.faults.arm(Fault(FaultKind.STATUS, status=500))
        engine.faults.arm(Fault(FaultKind.HANG_BEFORE_HEADERS))
        await failing(gateway, 1)
        clock.advance(5)
        async with connected(gateway.port) as trial:
            trial.send(post(chat()))
            await eventually(lambda: not engine.faults.armed())
            assert (await ask(gateway)).status == 503, "one trial at a time"
        await eventually(lambda: len(gateway.requests()) == 3)
        assert (await ask(gateway)).status == 200


async def test_a_stream_that_breaks_again_and_again_opens_the_breaker(
    engine: RunningEngine,
) -> None:
    async with running_gateway(
        engine.url, clock=FakeClock(), health={"breaker_failures": 3}
    ) as gateway:
        engine.faults.arm(Fault(FaultKind.DIE_MIDSTREAM, count=None))
        for _ in range(3):
            assert (await ask(gateway, stream=True)).status == 200
        assert (await ask(gateway, stream=True)).status == 503


async def test_a_backend_vanishes_and_returns(engine: RunningEngine, other: RunningEngine) -> None:
    one_each = {"max_in_flight_per_backend": 1}
    async with running_gateway(
        engine.url, other.url, health=QUICK_PROBES, queue=one_each
    ) as gateway:
        backend = gateway.backend(other.name)
        await other.stop()
        await eventually(lambda: backend.probe is ProbeState.UNHEALTHY)
        for _ in range(3):
            assert (await ask(gateway)).status == 200
        assert {line["attempts"] for line in gateway.requests()} == {1}, "nobody tried it"
        await other.start()
        try:
            await eventually(lambda: backend.probe is ProbeState.HEALTHY)
            async with connected(gateway.port) as first, connected(gateway.port) as second:
                for client in (first, second):
                    client.send(post(chat("long", stream=True, max_tokens=2000)))
                for client in (first, second):
                    assert (await client.head())[0] == 200
                assert backend.in_flight == 1
        finally:
            await other.stop()
        results = "alise_gateway_probes_total"
        assert gateway.metric(results, backend=other.name, result="unhealthy") >= 2
        assert gateway.metric(results, backend=other.name, result="healthy") >= 1
        changes = [line["now"] for line in gateway.events() if line.get("backend") == other.name]
        assert changes[:3] == ["healthy", "unhealthy", "healthy"]


async def test_requests_wait_while_every_backend_is_away(engine: RunningEngine) -> None:
    queue = {"max_in_flight_per_backend": 1}
    async with (
        running_gateway(engine.url, health=QUICK_PROBES, queue=queue) as gateway,
        connected(gateway.port) as first,
        connected(gateway.port) as second,
    ):
        first.send(post(chat("long", stream=True, max_tokens=2000)))
        await first.head()
        second.send(post(chat()))
        await eventually(lambda: gateway.app.queue.waiting == 1)
        await engine.stop()
        assert b"backend_lost_midstream" in (await read_chunks(first)).rpartition(b"data: ")[2]
        await engine.start()
        try:
            # It waited or was tried in vain; either way the answer is clean.
            assert (await second.reply()).status in {200, 502}
        finally:
            await engine.stop()
        first.writer.close()
        second.writer.close()


async def read_chunks(client: Any) -> bytes:
    received = b""
    while chunk := await client.event():
        received += chunk
    return received


async def test_a_draining_backend_gets_no_new_work_and_finishes_the_old(
    engine: RunningEngine, other: RunningEngine
) -> None:
    async with (
        running_gateway(engine.url, other.url, health=QUICK_PROBES) as gateway,
        connected(engine.port) as switch,
        connected(gateway.port) as client,
    ):
        backend = gateway.backend(engine.name)
        other.faults.arm(Fault(FaultKind.STATUS, status=503))  # so that the engine has it
        client.send(post(chat("long", stream=True, max_tokens=500)))
        _, _, headers = await client.head()
        assert headers["x-alise-backend"] == engine.name
        switch.send(b"POST /alise/drain HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        assert (await switch.reply()).status == 200
        await eventually(lambda: backend.probe is ProbeState.DRAINING)
        other.faults.clear()
        for _ in range(3):
            assert (await ask(gateway)).headers["x-alise-backend"] == other.name
        received = await read_chunks(client)
        assert received.endswith(b"data: [DONE]\n\n")
        gateway.expect(Outcome.COMPLETED, output_tokens=500, backend=engine.name)
        switch.send(b"POST /alise/undrain HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        await switch.reply()
        await eventually(lambda: backend.probe is ProbeState.HEALTHY)
        client.writer.close()


async def test_a_backend_that_is_removed_is_forgotten_after_its_last_request(
    engine: RunningEngine, other: RunningEngine
) -> None:
    async with (
        running_gateway(engine.url, clock=FakeClock()) as gateway,
        connected(gateway.port) as client,
    ):
        client.send(post(chat("long", stream=True, max_tokens=500)))
        await client.head()
        gateway.app.registry.remove(BackendName(engine.name))
        gateway.sweep()
        assert len(gateway.app.pools) == 1
        assert (await ask(gateway)).status == 503
        assert (await read_chunks(client)).endswith(b"data: [DONE]\n\n")
        gateway.sweep()
        assert gateway.app.pools == {}
        assert engine.name not in gateway.metrics_text()
        added = gateway.app.registry.add(BackendSettings(url=other.url))
        await eventually(lambda: added.probe is ProbeState.HEALTHY)
        assert (await ask(gateway)).headers["x-alise-backend"] == other.name
        client.writer.close()


async def test_readiness_follows_the_backends(engine: RunningEngine) -> None:
    async with (
        running_gateway(engine.url, health=QUICK_PROBES) as gateway,
        connected(gateway.port) as client,
    ):
        ready = b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n"
        client.send(ready)
        assert (await client.reply()).status == 200
        await engine.stop()
        await eventually(lambda: gateway.backend(engine.name).probe is ProbeState.UNHEALTHY)
        client.send(ready)
        reply = await client.reply()
        assert (reply.status, json.loads(reply.body)["status"]) == (503, "not_ready")
        client.writer.close()
