"""Bundles change while requests run, and nobody notices but by better predictions."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alise_core.outcome import Outcome
from alise_predictor.artifact import TIER0
from fakes.engine import RunningEngine, fast_engine, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.predictor import SHOWN, bundle, predict, predictor
from fakes.predictor_bundle import edit_manifest, flip_byte
from fakes.raw_client import chat, connected, post

RELOADS = "alise_gateway_config_reloads_total"


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine()) as running:
        yield running


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return bundle(tmp_path / "bundle")


@pytest.fixture
async def gateway(engine: RunningEngine, directory: Path) -> AsyncIterator[RunningGateway]:
    settings = predictor(directory, reload_seconds=0.005)
    async with running_gateway(engine.url, predictor=settings) as running:
        yield running


def reloads(gateway: RunningGateway, result: str) -> float:
    return gateway.metric(RELOADS, source="predictor", result=result)


@pytest.mark.slow
async def test_a_swap_under_load_loses_nothing(gateway: RunningGateway, directory: Path) -> None:
    served = 0
    swapped = asyncio.Event()

    async def ask_until_swapped() -> None:
        nonlocal served
        async with connected(gateway.port) as client:
            while not swapped.is_set():
                client.send(post(chat(stream=served % 2 == 0)))
                reply = await client.reply()
                assert reply.status == 200
                assert int(reply.headers[SHOWN]) > 0
                served += 1

    clients = [asyncio.ensure_future(ask_until_swapped()) for _ in range(4)]
    for version in ("2", "3", "4"):
        before = served
        await eventually(lambda before=before: served > before + 20)  # type: ignore[misc]
        done = reloads(gateway, "success")
        edit_manifest(directory, version=version)
        await eventually(lambda done=done: reloads(gateway, "success") > done)  # type: ignore[misc]
    swapped.set()
    await asyncio.gather(*clients)
    await eventually(lambda: len(gateway.requests()) == served)
    assert {line["outcome"] for line in gateway.requests()} == {Outcome.COMPLETED}
    assert {line["prediction_source"] for line in gateway.requests()} == {"tier0"}
    assert (await predict(gateway))["bundle"]["version"] == "4"
    assert gateway.metric("alise_gateway_prediction_fallbacks_total") == 0


async def test_a_corrupt_bundle_is_refused_and_the_old_one_stays(
    gateway: RunningGateway, directory: Path
) -> None:
    edit_manifest(directory, version="2")
    flip_byte(directory / TIER0)
    await eventually(lambda: reloads(gateway, "failure") >= 1)
    found = await predict(gateway)
    assert (found["bundle"]["version"], found["source"]) == ("1", "tier0")
    refused = [event for event in gateway.events() if event["event"] == "predictor_refused"]
    assert "sha256" in refused[0]["reason"]
    assert gateway.app.status.predictor().error == refused[0]["reason"]
    flip_byte(directory / TIER0)
    await eventually(lambda: reloads(gateway, "success") == 2)
    assert (await predict(gateway))["bundle"]["version"] == "2"
    assert gateway.app.status.predictor().error is None


async def test_the_gateway_starts_without_a_bundle_and_takes_it_when_it_comes(
    engine: RunningEngine, tmp_path: Path
) -> None:
    settings = predictor(tmp_path / "later", reload_seconds=0.005)
    async with running_gateway(engine.url, predictor=settings) as gateway:
        found = await predict(gateway)
        assert (found["source"], found["bundle"]) == ("prior", None)
        assert gateway.app.status.readiness().ready
        assert gateway.metric("alise_gateway_predictor_tier_loaded", tier="tier0") == 0
        bundle(tmp_path / "later")
        await eventually(lambda: gateway.app.status.predictor().tiers == ("tier0",))
        assert (await predict(gateway))["source"] == "tier0"
