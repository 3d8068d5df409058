import asyncio

import httpx

from alise_operator.canary.probing import PROBE_TOKENS, Pair, Probing
from fakes.restarted_pool import KEY, EnginesOfPods, probes_ended
from fakes.rolling_workload import FakeWorkload

PAIR = Pair("http://10.0.0.1:8000", "http://10.0.0.2:8000", KEY)


def probing(engines: httpx.AsyncBaseTransport) -> Probing:
    return Probing(lambda: httpx.AsyncClient(transport=engines))


async def test_a_round_is_asked_for_once_and_collected_once() -> None:
    engines = EnginesOfPods(FakeWorkload(replicas=2))
    asked = probing(engines)
    asked.begin("canary", PAIR, 0)
    asked.begin("canary", PAIR, 1)
    assert asked.collect("canary") is None
    await probes_ended()

    found = asked.collect("canary")

    assert found is not None
    assert found.problem == ""
    assert len(found.unchanged) == len(found.changed) == 16
    assert sum(score.drawn for score in found.unchanged[0]) == PROBE_TOKENS
    assert engines.probed == 3 * 16
    assert asked.collect("canary") is None
    await asked.close()


async def test_an_engine_that_does_not_answer_is_named() -> None:
    engines = EnginesOfPods(FakeWorkload(replicas=2))
    asked = probing(engines)
    for pair, says in (
        (
            Pair(PAIR.unchanged, "http://10.0.0.9:8000", KEY),
            "10.0.0.9:8000/v1/completions: Connect",
        ),
        (Pair(PAIR.unchanged, PAIR.changed, "wrong"), "10.0.0.1:8000/v1/models answered 500"),
    ):
        asked.begin("canary", pair, 0)
        await probes_ended()
        found = asked.collect("canary")
        assert found is not None
        assert says in found.problem
        assert KEY not in found.problem
    await asked.close()


class Hanging(httpx.AsyncBaseTransport):
    """Answers never."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.given_up = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()
        raise AssertionError("nobody sets it")


async def test_a_canary_that_is_not_looked_at_any_more_is_not_asked_any_more() -> None:
    engine = Hanging()
    asked = probing(engine)
    asked.begin("canary", PAIR, 0)
    await engine.asked.wait()
    asked.drop("canary")
    await engine.given_up.wait()

    assert asked.collect("canary") is None
    await asked.close()


async def test_closing_ends_what_is_under_way() -> None:
    engine = Hanging()
    asked = probing(engine)
    asked.begin("canary", PAIR, 0)
    await engine.asked.wait()
    await asked.close()

    assert engine.given_up.is_set()
