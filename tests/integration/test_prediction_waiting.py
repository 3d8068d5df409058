"""Requests that wait are predicted better meanwhile; those that do not, cost nothing more."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alise_core.outcome import Outcome
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.predictor import SHOWN, bundle, predictor, send
from fakes.raw_client import RawClient, chat, connected, post

LONG: dict[str, Any] = {"content": "hello", "stream": True, "max_tokens": 3_000}
REFINEMENTS = "alise_gateway_prediction_refinements_total"


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=replaying(hello=3_000))) as running:
        yield running


@pytest.fixture
async def gateway(engine: RunningEngine, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    settings = predictor(bundle(tmp_path / "b", tier1=True))
    queue = {"max_in_flight_per_backend": 1}
    async with running_gateway(engine.url, predictor=settings, queue=queue) as running:
        yield running


async def occupy(gateway: RunningGateway, client: RawClient) -> None:
    client.send(post(chat(**LONG)))
    await client.head()
    assert gateway.app.queue.in_flight == 1


async def test_a_request_that_waits_is_refined(gateway: RunningGateway) -> None:
    async with connected(gateway.port) as first, connected(gateway.port) as second:
        await occupy(gateway, first)
        second.send(post(chat("write an essay about the sea", max_tokens=1_000)))
        await eventually(lambda: gateway.metric(REFINEMENTS, result="done") == 1)
        first.reset()
        reply = await second.reply()
    line = gateway.expect(Outcome.COMPLETED, prediction_source="tier1")
    assert abs(int(reply.headers[SHOWN]) - line["predicted_p50"]) <= 0.55
    assert gateway.metric("alise_gateway_predictor_tier_loaded", tier="tier1") == 1


async def test_the_queue_knows_the_refined_prediction(gateway: RunningGateway) -> None:
    async with connected(gateway.port) as first, connected(gateway.port) as second:
        await occupy(gateway, first)
        second.send(post(chat("write an essay", max_tokens=1_000)))
        await eventually(lambda: gateway.metric(REFINEMENTS, result="done") == 1)
        pools = gateway.app.queue._state._pools
        (ticket,) = (ticket for pool in pools for ticket in pool.everybody())
        assert ticket.prediction is not None
        (exchange,) = (e for e in gateway.app.pipeline._active if e._ticket is ticket)
        assert exchange._pending is not None
        assert ticket.prediction is exchange._pending.prediction.distribution
        assert ticket.work.median_tokens == pytest.approx(ticket.prediction.quantile(0.5))
        first.reset()
        await second.reply()


async def test_a_request_that_does_not_wait_is_not_refined(gateway: RunningGateway) -> None:
    assert (await send(gateway, post(chat(max_tokens=5)))).status == 200
    gateway.expect(Outcome.COMPLETED, prediction_source="tier0")
    assert gateway.metric(REFINEMENTS) == 0


async def test_a_client_that_leaves_the_queue_takes_its_refinement_along(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gateway.app.predicting is not None
    refiner = gateway.app.predicting.predictor.refiner
    # No thread is free, as far as it knows.
    monkeypatch.setattr(refiner, "_running", 1)
    async with connected(gateway.port) as first, connected(gateway.port) as second:
        await occupy(gateway, first)
        second.send(post(chat("write", max_tokens=1_000)))
        await eventually(lambda: refiner.pending == 1)
        second.reset()
        await eventually(lambda: gateway.app.queue.waiting == 0)
        assert refiner.pending == 0
        assert gateway.metric(REFINEMENTS, result="cancelled") == 1
        first.reset()
    monkeypatch.undo()
