"""The gateway as its control endpoints show it."""

from alise_bench.sim.faults import Fault, FaultKind
from alise_core.service_class import ServiceClass
from alise_gateway.domain.breaker import BreakerState
from alise_gateway.measure.gauges import UpstreamConnections
from fakes.clock import FakeClock
from fakes.engine import fast_engine, replaying, running_engine
from fakes.gateway import eventually, running_gateway
from fakes.raw_client import chat, connected, post


async def test_without_backends_it_is_not_ready_and_says_why() -> None:
    async with running_gateway() as gateway:
        assert gateway.app.status.readiness().reasons == ("no backend is configured",)


async def test_an_open_breaker_shows_everywhere() -> None:
    clock = FakeClock()
    async with (
        running_engine() as engine,
        running_gateway(
            engine.url, clock=clock, health={"breaker_failures": 1}, upstream={"max_retries": 0}
        ) as gateway,
    ):
        status = gateway.app.status
        assert status.readiness().ready
        engine.faults.arm(Fault(FaultKind.STATUS, status=500))
        async with connected(gateway.port) as client:
            client.send(post(chat()))
            assert (await client.reply()).status == 500
        assert status.readiness().reasons == ("no backend is usable",)
        (shown,) = status.backends()
        assert (shown.breaker, shown.usable) == (BreakerState.OPEN, False)
        assert gateway.metric("alise_gateway_backends", state="breaker_open") == 1
        clock.advance(5)
        assert status.readiness().ready
        assert status.backends()[0].breaker is BreakerState.HALF_OPEN


async def test_what_is_in_flight_and_what_waits() -> None:
    clock = FakeClock()
    lengths = replaying(long=2000)
    async with (
        running_engine(fast_engine(lengths=lengths)) as engine,
        running_gateway(engine.url, clock=clock, queue={"max_in_flight_per_backend": 1}) as gateway,
        connected(gateway.port) as first,
        connected(gateway.port) as second,
    ):
        first.send(post(chat("long", stream=True, max_tokens=2000)))
        await first.head()
        second.send(post(chat()))
        await eventually(lambda: gateway.app.queue.waiting == 1)
        clock.advance(3)
        queue = gateway.app.status.queue()
        assert (queue.waiting, queue.in_flight, queue.oldest_wait_seconds) == (1, 1, 3)
        gauges = gateway.app.status.gauges()
        assert gauges.in_flight == {engine.name: 1}
        assert gauges.upstream == {engine.name: UpstreamConnections(0, 1, 0)}
        assert {name: n for name, n in gauges.waiting.items() if n} == {"default": 1}
        assert {str(item) for item in ServiceClass} == set(gauges.waiting)
        assert queue.waiting_by_class == gauges.waiting
        assert queue.ordering == "boost"
        demand = gauges.demand[engine.model]
        assert demand.p90 > demand.p50 > 0
        assert 0 < demand.peak_p50 <= demand.peak_p90
        assert (gauges.client_connections, gauges.draining) == (2, False)
        assert gateway.app.status.backends()[0].in_flight == 1
        first.reset()
        second.reset()


async def test_models_and_aliases_are_listed() -> None:
    async with (
        running_engine() as engine,
        running_gateway(engine.url, aliases={"nick": engine.model}) as gateway,
    ):
        assert [card.id for card in gateway.app.status.models()] == [engine.model, "nick"]


async def test_a_drain_is_asked_for_and_not_done() -> None:
    async with running_gateway() as gateway:
        gateway.app.status.start_drain()
        assert gateway.app.drain_requested.is_set()
        assert not gateway.app.pipeline.is_draining, "the process decides"
