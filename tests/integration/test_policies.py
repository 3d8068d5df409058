"""Policies and shares that change while a gateway serves."""

import asyncio

import pytest

from alise_core.policy import OrderingName, OrderingPolicy, SchedulingPolicy
from fakes.clock import FakeClock
from fakes.engine import fast_engine, running_engine
from fakes.gateway import running_gateway
from fakes.scripted_backend import Received, scripted_backend, whole
from fakes.waiting_line import LENGTHS, ONE_PLACE, asked, in_line, occupied, reply_to

FCFS = {"ordering": "fcfs"}
SJF = SchedulingPolicy(ordering=OrderingPolicy(OrderingName.SJF))


async def test_who_waits_is_served_in_the_new_order() -> None:
    async with (
        running_engine(fast_engine(lengths=LENGTHS)) as engine,
        running_gateway(engine.url, queue=ONE_PLACE, scheduling=FCFS) as gateway,
        occupied(gateway) as first,
        in_line(gateway, asked("long", max_tokens=2000), asked("short", max_tokens=8)) as clients,
    ):
        gateway.app.set_policies({engine.model: SJF})
        assert gateway.app.queue.waiting == 2
        first.reset()
        for client in clients:
            assert (await client.reply()).status == 200
        served = [line["request_id"] for line in gateway.requests()]
        assert [name for name in served if name != "first"] == ["short", "long"]


async def test_a_shared_backend_is_given_this_gateways_part() -> None:
    async with (
        running_engine(fast_engine(lengths=LENGTHS)) as engine,
        running_gateway(engine.url, queue={"max_in_flight_per_backend": 3}) as gateway,
    ):
        backend = gateway.backend(engine.name)
        backend.admission.figures = None  # an engine of which nothing is known
        gateway.app.set_share(0, 3)
        async with occupied(gateway) as first, in_line(gateway, asked("second")) as clients:
            assert backend.in_flight == 1
            gateway.app.set_share(0, 1)
            assert backend.in_flight == 2, "at once"
            assert (await clients[0].reply()).status == 200
            first.reset()


@pytest.mark.parametrize("half_life", [None, 30.0])
async def test_ranks_mean_the_same_to_engines_whichever_gateway_sends_them(
    half_life: float | None,
) -> None:
    """Whatever the gateways' own clocks count from."""

    async def script(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(b"{}"))

    scheduling = {"ordering": "sjf", "aging_half_life_seconds": half_life}
    async with scripted_backend(script) as backend:
        for started in (1_000.0, 5_000_000.0):
            clock = FakeClock(started, unix=1_800_000_000.0)
            async with running_gateway(backend.url, clock=clock, scheduling=scheduling) as gateway:
                await reply_to(gateway, asked("one", max_tokens=100))
        first, second = (int(*it.values("x-vllm-priority")) for it in backend.received)
        assert abs(first - second) <= 2
