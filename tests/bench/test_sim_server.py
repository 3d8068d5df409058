"""Life of one engine: start, disconnects, drain, end, metrics."""

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from alise_bench.sim.lengths import Lengths
from alise_bench.sim.server import EngineServer
from alise_core.errors import ConfigError
from alise_core.wire import engine_metrics
from fakes.engine import fast_engine, replaying, running_engine

HELLO: Any = [{"role": "user", "content": "hello"}]
LONG = Lengths(median_tokens=1e6)
CHAT = "/v1/chat/completions"


async def test_starts_serves_and_leaves_nothing_behind() -> None:
    async with running_engine() as engine, httpx.AsyncClient(base_url=engine.url) as client:
        reply = await client.post(CHAT, json={"messages": HELLO})
        assert reply.status_code == 200
        assert reply.json()["usage"]["completion_tokens"] >= 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stopped_engine_refuses_and_comes_back_on_its_port() -> None:
    async with running_engine() as engine:
        url = engine.url
        await engine.stop()
        async with httpx.AsyncClient(base_url=url) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("/health")
            await engine.start()
            assert (await client.get("/health")).status_code == 200
        assert engine.url == url


class BrokenPacer:
    async def sleep_until(self, deadline: float) -> None:
        raise ArithmeticError(f"no way to reach {deadline}")


async def test_a_dead_engine_loop_is_noticed() -> None:
    server = EngineServer(fast_engine(), pacer=BrokenPacer())
    await server.start()
    async with httpx.AsyncClient(base_url=server.url) as client:
        asking = asyncio.create_task(client.post(CHAT, json={"messages": HELLO}))
        with pytest.raises(ArithmeticError):
            await server.failed()
        with pytest.raises(ArithmeticError):
            await server.stop()
        with pytest.raises(httpx.TransportError):
            await asking


async def test_a_port_in_use_is_one_clear_error() -> None:
    async with running_engine() as first:
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{first.port}"):
            async with running_engine(fast_engine(port=first.port)):
                pass


async def test_many_engines_share_a_process_without_sharing_metrics() -> None:
    async with (
        running_engine(fast_engine(model="a")) as a,
        running_engine() as b,
        httpx.AsyncClient() as client,
    ):
        body = {"prompt": "x", "max_tokens": 3, "ignore_eos": True}
        await client.post(f"{a.url}/v1/completions", json=body)
        assert a.metric("vllm:generation_tokens_total") == 3
        assert b.metric("vllm:generation_tokens_total") == 0


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "running"])
async def test_a_leaving_client_aborts_its_request_at_once(*, stream: bool, waiting: bool) -> None:
    config = fast_engine(0.01, lengths=LONG, max_num_seqs=1)
    async with (
        running_engine(config) as engine,
        httpx.AsyncClient(base_url=engine.url) as stays,
        httpx.AsyncClient(base_url=engine.url) as leaves,
    ):
        async with asyncio.TaskGroup() as group:
            keeper = None
            if waiting:
                keeper = group.create_task(stays.post(CHAT, json={"messages": HELLO}))
                await engine.until(lambda: engine.scheduler.running)
            body = {"messages": HELLO, "stream": stream}
            leaver = group.create_task(leaves.post(CHAT, json=body))
            await engine.until(lambda: len(engine.open_requests()) == 1 + waiting)
            leaver.cancel()
            await engine.until(lambda: len(engine.open_requests()) == waiting, 0.3)
            engine.scheduler.check()
            if keeper is not None:
                keeper.cancel()
        await engine.until_idle(0.3)
        assert engine.metric("vllm:request_success_total", finished_reason="abort") == 0
        assert engine.scheduler.pool.usage_ratio == 0


async def test_without_a_timeout_termination_cuts_streams_unfinished() -> None:
    async with (
        running_engine(fast_engine(0.005, lengths=LONG)) as engine,
        httpx.AsyncClient(base_url=engine.url) as client,
    ):
        parts: list[str] = []

        async def read() -> None:
            body = {"messages": HELLO, "stream": True}
            async with client.stream("POST", CHAT, json=body) as reply:
                async for part in reply.aiter_text():
                    parts.append(part)
                    if len(parts) == 3:
                        await engine.server.terminate()

        with pytest.raises(httpx.TransportError):
            await read()
        received = "".join(parts)
        assert "[DONE]" not in received
        assert '"finish_reason":"' not in received


async def test_with_a_timeout_streams_finish_while_new_requests_get_500() -> None:
    config = fast_engine(0.005, lengths=replaying(hello=10), shutdown_timeout_seconds=5.0)
    async with (
        running_engine(config) as engine,
        httpx.AsyncClient(base_url=engine.url) as client,
    ):
        body = {"messages": HELLO, "stream": True}
        async with client.stream("POST", CHAT, json=body) as reply:
            ending = asyncio.create_task(engine.server.terminate())
            await engine.until(lambda: engine.server.app.control.shut_down)
            assert (await client.get("/health")).status_code == 200
            refused = await client.post(CHAT, json=body)
            assert refused.status_code == 500
            assert "shutdown" in refused.json()["error"]["message"]
            assert (await reply.aread()).endswith(b"data: [DONE]\n\n")
        await ending
        with pytest.raises(httpx.ConnectError):
            await client.get("/health")


async def test_the_drain_middleware_refuses_new_requests_and_finishes_the_old() -> None:
    config = fast_engine(0.005, lengths=replaying(hello=10), drain_middleware=True)
    async with (
        running_engine(config) as engine,
        httpx.AsyncClient(base_url=engine.url) as client,
    ):
        assert (await client.get("/alise/ready")).status_code == 200
        body = {"messages": HELLO, "stream": True}
        async with client.stream("POST", CHAT, json=body) as reply:
            assert (await client.post("/alise/drain")).status_code == 200
            assert (await client.get("/alise/ready")).status_code == 503
            assert (await client.get("/health")).status_code == 200
            refused = await client.post(CHAT, json=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert (await reply.aread()).endswith(b"data: [DONE]\n\n")
        await client.post("/alise/undrain")
        assert (await client.post(CHAT, json=body)).status_code == 200


async def test_metrics_have_vllms_names_labels_and_values() -> None:
    config = fast_engine(0.002, lengths=replaying(hello=9))
    async with (
        running_engine(config) as engine,
        httpx.AsyncClient(base_url=engine.url) as client,
    ):
        for _ in range(2):
            await client.post(CHAT, json={"messages": HELLO * 5})
        page = await client.get("/metrics")
        state = (await client.get("/sim/state")).json()
    samples = [
        sample for family in text_string_to_metric_families(page.text) for sample in family.samples
    ]
    names = {sample.name for sample in samples}
    expected = {
        value
        for key, value in vars(engine_metrics).items()
        if key.isupper() and isinstance(value, str)
    }
    assert not {name for name in expected if name not in names and f"{name}_count" not in names}
    for sample in samples:
        if "admission_rejections" not in sample.name:
            assert sample.labels["engine"] == "0"
        if sample.name != engine_metrics.CACHE_CONFIG_INFO:
            assert sample.labels["model_name"] == "alise-sim"
    values = {
        (sample.name, sample.labels.get("finished_reason")): sample.value for sample in samples
    }
    assert values[engine_metrics.GENERATION_TOKENS, None] == 18
    assert values[engine_metrics.REQUEST_SUCCESS, "stop"] == 2
    assert values[f"{engine_metrics.INTER_TOKEN_LATENCY}_count", None] == 16
    assert values[f"{engine_metrics.TIME_TO_FIRST_TOKEN}_count", None] == 2
    assert values[engine_metrics.PREFIX_CACHE_HITS, None] > 0
    assert values[engine_metrics.KV_CACHE_USAGE_RATIO, None] == 0
    info = next(item for item in samples if item.name == engine_metrics.CACHE_CONFIG_INFO)
    assert (info.labels["num_gpu_blocks"], info.labels["block_size"]) == ("1024", "16")
    assert state["running"] == state["waiting"] == []


@pytest.mark.slow
async def test_gauges_follow_the_queue_and_preemptions_show_late() -> None:
    config = fast_engine(0.004, lengths=LONG, num_blocks=12, max_model_len=160, max_num_seqs=2)
    async with (
        running_engine(config) as engine,
        httpx.AsyncClient(base_url=engine.url) as client,
    ):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    client.post("/v1/completions", json={"prompt": f"p{n}", "max_tokens": 100})
                )
                for n in range(3)
            ]
            await engine.until(lambda: engine.metric(engine_metrics.REQUESTS_WAITING) == 1)
            assert engine.metric(engine_metrics.REQUESTS_RUNNING) == 2
            by_reason = engine_metrics.REQUESTS_WAITING_BY_REASON
            assert engine.metric(by_reason, reason="capacity") == 1
            await engine.until(
                lambda: any(item.unreported_preemptions for item in engine.scheduler.waiting)
            )
            assert engine.metric(engine_metrics.PREEMPTIONS) == 0
            assert engine.metric(engine_metrics.KV_CACHE_USAGE_RATIO) > 0.5
        assert {task.result().json()["usage"]["completion_tokens"] for task in tasks} == {100}
        assert engine.metric(engine_metrics.PREEMPTIONS) >= 1
        assert engine.metric(engine_metrics.REQUEST_SUCCESS, finished_reason="length") == 3
