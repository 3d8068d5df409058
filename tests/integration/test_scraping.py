"""The gateway reads what its engines say of themselves."""

import httpx
import pytest

from alise_core.outcome import Outcome
from alise_gateway.domain.scrape import ScrapeResult
from fakes.engine import FAST, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.raw_client import chat, connected, post
from fakes.scripted_backend import scripted_backend, sends, whole

LENGTHS = replaying(hello=4, long=2000)
QUICK_SCRAPES = {"scrape_interval_seconds": 0.01}


def scrapes(gateway: RunningGateway, result: ScrapeResult) -> float:
    return gateway.metric("alise_gateway_scrapes_total", result=result)


async def test_what_an_engine_has_is_known_before_the_first_request() -> None:
    async with (
        running_engine(fast_engine(lengths=LENGTHS)) as engine,
        running_gateway(engine.url) as gateway,
    ):
        admission = gateway.backend(engine.name).admission
        assert admission.capacity_tokens == (FAST.num_blocks - 1) * FAST.block_size
        assert not admission.is_blind(gateway.app.clock.now())
        prefix = "alise_gateway_backend_"
        assert gateway.metric(f"{prefix}kv_capacity_tokens") == admission.capacity_tokens
        assert gateway.metric(f"{prefix}kv_used_ratio") == 0
        assert gateway.metric(f"{prefix}figures_stale") == 0
        assert gateway.metric(f"{prefix}in_flight_limit_requests") == 256
        assert scrapes(gateway, ScrapeResult.READ) == 1


async def test_what_runs_on_an_engine_shows_in_metrics_and_to_the_operator() -> None:
    async with (
        running_engine(fast_engine(lengths=LENGTHS)) as engine,
        running_gateway(engine.url, health=QUICK_SCRAPES, admin_port=0) as gateway,
        connected(gateway.port) as client,
    ):
        client.send(post(chat("long", stream=True, max_tokens=2000)))
        await client.head()
        figures = "alise_gateway_backend_kv_used_ratio"
        await eventually(lambda: gateway.metric(figures) > 0)
        url = f"http://127.0.0.1:{gateway.app.admin_port}/alise/backends"
        async with httpx.AsyncClient(verify=False) as operator:  # noqa: S501  plain HTTP
            (shown,) = (await operator.get(url)).json()["backends"]
        load = shown["load"]
        assert (load["engine_running"], load["engine_waiting"]) == (1, 0)
        assert load["kv_used_ratio"] > 0
        assert load["cache_dtype"] == FAST.cache_dtype
        assert load["figures_stale"] is False
        client.reset()


async def test_an_engine_that_is_away_keeps_its_capacity_and_is_read_again() -> None:
    async with running_engine(fast_engine(lengths=LENGTHS)) as engine:
        async with running_gateway(engine.url, health=QUICK_SCRAPES) as gateway:
            admission = gateway.backend(engine.name).admission
            await engine.stop()
            await eventually(lambda: scrapes(gateway, ScrapeResult.FAILED) > 0)
            assert admission.capacity_tokens == (FAST.num_blocks - 1) * FAST.block_size
            await engine.start()
            try:
                read = scrapes(gateway, ScrapeResult.READ)
                await eventually(lambda: scrapes(gateway, ScrapeResult.READ) > read)
            finally:
                await engine.stop()
        states = [
            (line["before"], line["now"])
            for line in gateway.events()
            if line["event"] == "backend_figures_changed"
        ]
        assert states == [("read", "failed"), ("failed", "read")]


@pytest.mark.parametrize(
    ("page", "result"),
    [
        (None, ScrapeResult.ABSENT),
        (b"vllm:num_requests_running NaN\n", ScrapeResult.ABSENT),
        (b"<html></html>", ScrapeResult.FAILED),
        (b"# TYPE " * 700_000, ScrapeResult.FAILED),
    ],
    ids=["none", "lies", "html", "too large"],
)
async def test_an_engine_whose_metrics_are_of_no_use_serves_all_the_same(
    page: bytes | None, result: ScrapeResult
) -> None:
    body = b'{"choices":[{"message":{"content":"a"}}]}'
    async with (
        scripted_backend(sends(whole(body)), metrics=page) as backend,
        running_gateway(backend.url) as gateway,
        connected(gateway.port) as client,
    ):
        assert scrapes(gateway, result) == 1
        assert gateway.metric("alise_gateway_backend_figures_stale") == 1
        client.send(post(chat()))
        assert (await client.reply()).status == 200
        gateway.expect(Outcome.COMPLETED)
