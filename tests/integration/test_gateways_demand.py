"""What the operator's tuner hears from a gateway that serves requests."""

from alise_operator.tuning.engines import Engines
from alise_operator.tuning.gateways import Gateways
from fakes.clock import FakeClock
from fakes.engine import fast_engine, replaying, running_engine
from fakes.gateway import eventually, running_gateway
from fakes.raw_client import chat, connected, post


async def test_the_operator_reads_the_peak_that_a_gateway_predicts() -> None:
    clock = FakeClock()
    engines = Engines(clock, 30.0)
    async with (
        running_engine(fast_engine(lengths=replaying(long=2000))) as engine,
        running_gateway(engine.url, clock=clock, queue={"max_in_flight_per_backend": 1}) as gateway,
        connected(gateway.port) as first,
        connected(gateway.port) as second,
    ):
        gateways = Gateways(lambda: [f"127.0.0.1:{gateway.port}"], engines.page, clock, 5.0)
        idle = await gateways.demand({engine.model: 1.0})
        assert idle is not None
        assert (idle.peak_tokens, idle.gateways, idle.missing) == (0.0, 1, 0)

        # A model has series from its first finished request on.
        second.send(post(chat()))
        assert (await second.reply()).status == 200
        first.send(post(chat("long", stream=True, max_tokens=2000)))
        await first.head()
        second.send(post(chat()))
        await eventually(lambda: gateway.app.queue.waiting == 1)
        clock.advance(5)
        busy = await gateways.demand({engine.model: 1.0})
        others = await gateways.demand({"another-model": 1.0})

        assert busy is not None
        assert others is not None
        assert busy.high_tokens > busy.peak_tokens > 0
        assert {name: count for name, count in busy.waiting.items() if count} == {"default": 1}
        assert others.peak_tokens == 0.0
        first.reset()
        second.reset()
        await engines.close()
