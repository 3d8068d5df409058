"""Predictions follow what each tenant's requests turn out to be, also over a restart."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alise_core.errors import ConfigError
from alise_core.outcome import Outcome
from alise_gateway.identity.keys import create_key
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.predictor import bundle, predict, predictor, tenants
from fakes.predictor_bundle import flip_byte
from fakes.raw_client import chat, connected, post

TERSE, VERBOSE = create_key(), create_key()
ANSWERS = 80
LEARNED = "alise_gateway_learned_answers_total"


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    lengths = replaying(terse=2, verbose=300)
    async with running_engine(fast_engine(0.0001, lengths=lengths)) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    keys = tenants(tmp_path / "keys.yaml", terse=(TERSE, False), verbose=(VERBOSE, False))
    snapshot = tmp_path / "learned.bin"
    return {
        "identity": {"keys_file": keys},
        "predictor": predictor(bundle(tmp_path / "bundle"), snapshot_file=snapshot),
    }


async def teach(
    gateway: RunningGateway, key: str, prompt: str, count: int = ANSWERS, **fields: Any
) -> None:
    before = gateway.metric(LEARNED, result="learned")
    async with connected(gateway.port) as client:
        for _ in range(count):
            fields = {"max_tokens": 1_000, **fields}
            client.send(post(chat(prompt, **fields), f"authorization: Bearer {key}"))
            assert (await client.reply()).status == 200
    await eventually(lambda: gateway.metric(LEARNED, result="learned") == before + count)


async def median(gateway: RunningGateway, key: str, prompt: str = "anything else") -> float:
    found = await predict(gateway, f"authorization: Bearer {key}", content=prompt, max_tokens=1_000)
    return float(found["tokens"]["p50"])


@pytest.mark.slow
async def test_each_tenants_predictions_follow_its_own_answers_and_survive_a_restart(
    engine: RunningEngine, settings: dict[str, Any]
) -> None:
    async with running_gateway(engine.url, **settings) as gateway:
        start = await median(gateway, TERSE)
        assert await median(gateway, VERBOSE) == start
        await teach(gateway, TERSE, "terse")
        low = await median(gateway, TERSE)
        assert low < start / 2
        assert await median(gateway, VERBOSE) == start, "tenants are kept apart"
        await teach(gateway, VERBOSE, "verbose", 60)
        high = await median(gateway, VERBOSE)
        assert high > 2 * start
        assert await median(gateway, TERSE) == low
        labels = {"tenant": "terse", "model": "alise-sim"}
        assert gateway.metric("alise_gateway_prediction_trusted", **labels) == 1
        assert gateway.metric("alise_gateway_learned_pairs") == 2
    async with running_gateway(engine.url, **settings) as gateway:
        assert await median(gateway, TERSE) == pytest.approx(low, rel=0.02)
        assert await median(gateway, VERBOSE) == pytest.approx(high, rel=0.02)
        done = {"operation": "restore", "result": "success"}
        assert gateway.metric("alise_gateway_learning_snapshots_total", **done) == 1


async def test_a_corrupt_snapshot_costs_only_what_was_learned(
    engine: RunningEngine, settings: dict[str, Any]
) -> None:
    path: Path = settings["predictor"]["snapshot_file"]
    async with running_gateway(engine.url, **settings) as gateway:
        start = await median(gateway, TERSE)
        await teach(gateway, TERSE, "terse", 5)
    flip_byte(path, path.stat().st_size // 2)  # noqa: ASYNC240  nothing runs meanwhile
    async with running_gateway(engine.url, **settings) as gateway:
        assert await median(gateway, TERSE) == start
        failed = {"operation": "restore", "result": "failure"}
        assert gateway.metric("alise_gateway_learning_snapshots_total", **failed) == 1
        assert "snapshot_not_restored" in [event["event"] for event in gateway.events()]


async def test_a_bundle_that_comes_late_finds_what_was_learned_of_it(
    engine: RunningEngine, settings: dict[str, Any]
) -> None:
    async with running_gateway(engine.url, **settings) as gateway:
        await teach(gateway, TERSE, "terse", 5)
    directory: Path = settings["predictor"]["bundle_dir"]
    settings["predictor"] |= {"reload_seconds": 0.005}
    away = directory.with_name("away")
    directory.rename(away)  # noqa: ASYNC240  nothing runs meanwhile
    async with running_gateway(engine.url, **settings) as gateway:
        assert (await predict(gateway, f"authorization: Bearer {TERSE}"))["answers_learned"] == 0
        away.rename(directory)
        await eventually(lambda: gateway.app.status.predictor().learned_pairs == 1)
        assert (await predict(gateway, f"authorization: Bearer {TERSE}"))["answers_learned"] == 5


async def test_an_answer_that_the_limit_cut_counts_as_longer(
    engine: RunningEngine, settings: dict[str, Any]
) -> None:
    async with running_gateway(engine.url, **settings) as gateway:
        await teach(gateway, VERBOSE, "verbose", 30, max_tokens=20)
        line = gateway.expect(Outcome.COMPLETED, output_tokens=20)
        assert line["output_capped"] is True
        assert await median(gateway, VERBOSE, "verbose") > 20


async def test_what_was_cancelled_teaches_nothing(
    engine: RunningEngine, settings: dict[str, Any]
) -> None:
    async with running_gateway(engine.url, **settings) as gateway:
        async with connected(gateway.port) as client:
            body = chat("verbose", stream=True, max_tokens=3_000)
            client.send(post(body, f"authorization: Bearer {VERBOSE}"))
            await client.head()
            client.reset()
        await gateway.ended(Outcome.CLIENT_CANCELLED)
        assert gateway.app.status.predictor().learning_backlog == 0
        assert gateway.metric(LEARNED) == 0


async def test_learning_can_be_switched_off(
    engine: RunningEngine, settings: dict[str, Any]
) -> None:
    settings["predictor"] |= {"learning": False}
    async with running_gateway(engine.url, **settings) as gateway:
        async with connected(gateway.port) as client:
            client.send(post(chat("terse"), f"authorization: Bearer {TERSE}"))
            assert (await client.reply()).status == 200
        assert gateway.expect(Outcome.COMPLETED)["prediction_source"] == "tier0"
        assert gateway.app.status.predictor().learned_pairs == 0
    assert not settings["predictor"]["snapshot_file"].exists()


async def test_a_snapshot_that_could_not_be_written_is_a_wrong_setting(
    engine: RunningEngine, settings: dict[str, Any], tmp_path: Path
) -> None:
    settings["predictor"] |= {"snapshot_file": tmp_path / "missing" / "learned"}
    with pytest.raises(ConfigError, match="snapshot_file"):
        async with running_gateway(engine.url, **settings):
            pass
