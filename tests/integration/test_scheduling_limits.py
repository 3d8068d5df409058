"""What tenants and deadlines forbid, and who gives way when the queue is full."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alise_core.outcome import Outcome
from alise_gateway.identity.keys import create_key
from fakes.clock import FakeClock
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import eventually, running_gateway
from fakes.keys import identity, keys_file
from fakes.raw_client import RawReply, connected
from fakes.waiting_line import LENGTHS, ONE_PLACE, asked, in_line, occupied, reply_to

VIP, PLAIN, LIMITED = (create_key() for _ in range(3))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=LENGTHS)) as running:
        yield running


def tenants(path: Path, **limits: Any) -> dict[str, Any]:
    """Identity with a tenant that has these limits, one without any and one of a better class."""
    keys_file(
        path,
        vip=(VIP, {"highest_class": "priority", "default_class": "priority"}),
        plain=(PLAIN, {}),
        limited=(LIMITED, limits),
    )
    return identity(path)


def assert_told(reply: RawReply, outcome: Outcome, code: str) -> int:
    """A refusal says why and when to come back; returns those seconds."""
    assert reply.status == 429
    assert reply.error["type"] == "rate_limit_error"
    assert reply.error["code"] == code
    assert reply.headers["x-alise-dropped-reason"] == outcome
    return int(reply.headers["retry-after"])


# Deadlines


async def test_a_deadline_that_cannot_be_met_is_refused_at_once(
    engine: RunningEngine, clock: FakeClock
) -> None:
    async with (
        running_gateway(
            engine.url, clock=clock, queue=ONE_PLACE, scheduling={"ordering": "fcfs"}
        ) as gateway,
        occupied(gateway) as first,
        in_line(gateway, asked("before", max_tokens=2000)) as (before,),
    ):
        late = asked("late", "x-alise-slo-ttft-ms: 100", max_tokens=2000)
        seconds = assert_told(await reply_to(gateway, late), Outcome.REJECTED_SATURATED, "deadline")
        assert seconds >= 1
        gateway.expect(Outcome.REJECTED_SATURATED, attempts=0, service_class="default")
        drops = "alise_gateway_drops_total"
        assert gateway.metric(drops, service_class="default", reason="deadline") == 1
        patient = asked("patient", "x-alise-slo-ttft-ms: 60000", max_tokens=2000)
        async with in_line(gateway, patient) as (client,):
            first.reset()
            assert (await before.reply()).status == 200
            assert (await client.reply()).status == 200


@pytest.mark.parametrize("name", ["x-alise-slo-ttft-ms", "x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"])
async def test_a_deadline_that_passes_ends_the_wait(
    engine: RunningEngine, clock: FakeClock, name: str
) -> None:
    async with (
        running_gateway(engine.url, clock=clock, queue=ONE_PLACE) as gateway,
        occupied(gateway),
        in_line(gateway, asked("one", f"{name}: 1500")) as (client,),
    ):
        clock.advance(1.4)
        gateway.sweep()
        assert gateway.app.queue.waiting == 1
        clock.advance(0.2)
        gateway.sweep()
        assert_told(await client.reply(), Outcome.EVICTED_TTL, "deadline")
        gateway.expect(Outcome.EVICTED_TTL, finished_s=1.6)


@pytest.mark.parametrize("value", ["soon", "-5", "0", "1e3", "", "999999999", "1,5", "\xff"])
async def test_a_deadline_that_is_none_is_refused(engine: RunningEngine, value: str) -> None:
    async with running_gateway(engine.url) as gateway:
        reply = await reply_to(gateway, asked("one", f"x-alise-slo-ttft-ms: {value}"))
        assert (reply.status, reply.error["code"]) == (400, "invalid_slo")
        assert reply.error["param"] == "x-alise-slo-ttft-ms"
        gateway.expect(Outcome.REJECTED_INVALID)


# Tenants


async def test_requests_per_minute(engine: RunningEngine, clock: FakeClock, tmp_path: Path) -> None:
    who = tenants(tmp_path / "keys.yaml", requests_per_minute=2)
    async with running_gateway(engine.url, clock=clock, identity=who) as gateway:
        for _ in range(2):
            assert (await reply_to(gateway, asked("one", key=LIMITED))).status == 200
        refused = await reply_to(gateway, asked("one", key=LIMITED))
        seconds = assert_told(refused, Outcome.REJECTED_RATE_LIMITED, "request_rate")
        assert 30 <= seconds <= 38
        gateway.expect(Outcome.REJECTED_RATE_LIMITED, tenant="limited")
        assert (await reply_to(gateway, asked("one", key=PLAIN))).status == 200
        clock.advance(29)
        assert (await reply_to(gateway, asked("one", key=LIMITED))).status == 429
        clock.advance(seconds - 29)
        assert (await reply_to(gateway, asked("one", key=LIMITED))).status == 200


async def test_tokens_per_minute(engine: RunningEngine, clock: FakeClock, tmp_path: Path) -> None:
    """Taken as predicted, put right by what the answer was."""
    who = tenants(tmp_path / "keys.yaml", tokens_per_minute=700)
    request = asked("one", key=LIMITED, max_tokens=2000)  # some 290 tokens, of which 4 come
    async with running_gateway(engine.url, clock=clock, identity=who, queue=ONE_PLACE) as gateway:
        for _ in range(10):
            assert (await reply_to(gateway, request)).status == 200
        clock.advance(60)
        async with (
            occupied(gateway, PLAIN) as first,
            in_line(gateway, request, request) as clients,
        ):
            refused = await reply_to(gateway, request)
            seconds = assert_told(refused, Outcome.REJECTED_RATE_LIMITED, "token_rate")
            clock.advance(seconds)
            async with in_line(gateway, request) as (later,):
                first.reset()
                for client in (*clients, later):
                    assert (await client.reply()).status == 200


async def test_who_leaves_the_queue_gets_its_tokens_back(
    engine: RunningEngine, clock: FakeClock, tmp_path: Path
) -> None:
    who = tenants(tmp_path / "keys.yaml", tokens_per_minute=500)
    request = asked("one", key=LIMITED, max_tokens=2000)
    async with (
        running_gateway(engine.url, clock=clock, identity=who, queue=ONE_PLACE) as gateway,
        occupied(gateway, PLAIN),
    ):
        for _ in range(3):
            async with in_line(gateway, request) as (client,):
                client.reset()
                await eventually(lambda: gateway.app.queue.waiting == 0)


async def test_places_in_the_queue(engine: RunningEngine, clock: FakeClock, tmp_path: Path) -> None:
    who = tenants(tmp_path / "keys.yaml", max_waiting=1)
    async with (
        running_gateway(engine.url, clock=clock, identity=who, queue=ONE_PLACE) as gateway,
        occupied(gateway, PLAIN) as first,
        in_line(gateway, asked("one", key=LIMITED), asked("two", key=PLAIN)) as clients,
    ):
        refused = await reply_to(gateway, asked("three", key=LIMITED))
        assert_told(refused, Outcome.REJECTED_SATURATED, "tenant_queue_full")
        first.reset()
        for client in clients:
            assert (await client.reply()).status == 200
        assert (await reply_to(gateway, asked("four", key=LIMITED))).status == 200


async def test_places_on_backends(engine: RunningEngine, clock: FakeClock, tmp_path: Path) -> None:
    who = tenants(tmp_path / "keys.yaml", max_in_flight=1)
    async with (
        running_gateway(engine.url, clock=clock, identity=who) as gateway,
        occupied(gateway, LIMITED) as first,
        in_line(gateway, asked("one", key=LIMITED), asked("two", key=LIMITED)) as clients,
    ):
        assert (await reply_to(gateway, asked("other", key=PLAIN))).status == 200
        assert gateway.app.queue.waiting == 2
        first.reset()
        for client in clients:
            assert (await client.reply()).status == 200


# A full queue


async def test_a_better_class_takes_the_place_of_a_worse_one(
    engine: RunningEngine, clock: FakeClock, tmp_path: Path
) -> None:
    who = tenants(tmp_path / "keys.yaml")
    queue = {**ONE_PLACE, "max_waiting": 2}
    async with (
        running_gateway(engine.url, clock=clock, identity=who, queue=queue) as gateway,
        occupied(gateway, PLAIN) as first,
        in_line(gateway, asked("one", key=PLAIN), asked("two", key=PLAIN)) as (one, two),
        connected(gateway.port) as vip,
    ):
        refused = await reply_to(gateway, asked("equal", key=PLAIN))
        assert_told(refused, Outcome.REJECTED_SATURATED, "queue_full")
        vip.send(asked("vip", key=VIP))
        assert assert_told(await two.reply(), Outcome.EVICTED_PRIORITY, "shed") >= 1
        gateway.expect(Outcome.EVICTED_PRIORITY, request_id="two", attempts=0)
        drops = "alise_gateway_drops_total"
        assert gateway.metric(drops, service_class="default", reason="shed") == 1
        assert gateway.app.queue.waiting == 2
        first.reset()
        assert (await vip.reply()).status == 200
        assert (await one.reply()).status == 200
        assert [line["request_id"] for line in gateway.requests()][-2:] == ["vip", "one"]


async def test_a_class_has_places_of_its_own(engine: RunningEngine, clock: FakeClock) -> None:
    scheduling = {"classes": {"flex": {"max_waiting": 1, "ttl_seconds": 100}}}
    async with (
        running_gateway(engine.url, clock=clock, queue=ONE_PLACE, scheduling=scheduling) as gateway,
        occupied(gateway),
        in_line(gateway, asked("one", service_tier="flex"), asked("two")) as (flex, default),
    ):
        refused = await reply_to(gateway, asked("three", service_tier="flex"))
        assert_told(refused, Outcome.REJECTED_SATURATED, "class_full")
        clock.advance(61)
        gateway.sweep()
        assert_told(await default.reply(), Outcome.EVICTED_TTL, "evicted_ttl")
        assert gateway.app.queue.waiting == 1
        clock.advance(40)
        gateway.sweep()
        assert_told(await flex.reply(), Outcome.EVICTED_TTL, "evicted_ttl")


# An engine's memory


@pytest.mark.slow
async def test_an_engine_gets_what_fits_its_memory(clock: FakeClock) -> None:
    """What does not waits at the gateway, where it has an order; nothing is computed twice."""
    memory = {"num_blocks": 1_001, "block_size": 1, "prefix_caching": False}
    prompt = "hello " * 20
    config = fast_engine(0.002, lengths=replaying(**{prompt: 60}), **memory)
    waiting: list[float] = []
    running: list[float] = []
    async with (
        running_engine(config) as engine,
        # With time standing still, all in flight are expected to be longest at the same moment.
        running_gateway(engine.url, clock=clock) as gateway,
    ):
        assert gateway.backend(engine.name).admission.capacity_tokens == 1_000
        asking = [
            asyncio.ensure_future(reply_to(gateway, asked(f"{n}", content=prompt, max_tokens=60)))
            for n in range(40)
        ]

        def done() -> bool:
            waiting.append(engine.metric("vllm:num_requests_waiting"))
            running.append(engine.metric("vllm:num_requests_running"))
            return all(one.done() for one in asking)

        await eventually(done, 20)
        assert {one.result().status for one in asking} == {200}
        assert max(running) == 10, "of 38 and 60 tokens each"
        # What has just come waits for the next step; what waits through many found no room.
        waits = [min(waiting[at : at + 25]) for at in range(len(waiting))]
        assert max(waits) <= gateway.app.settings.scheduling.run_ahead
        assert engine.metric("vllm:num_preemptions_total") == 0
        assert gateway.metric("alise_gateway_queue_duration_seconds_count") == 40
