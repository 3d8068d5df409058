import asyncio

import httpx
import pytest

from fakes.engine import fast_engine, running_engine


async def test_starts_serves_and_leaves_nothing_behind() -> None:
    async with running_engine() as engine, httpx.AsyncClient(base_url=engine.url) as client:
        reply = await client.post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": "hello"}]}
        )
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


async def test_many_engines_share_a_process_without_sharing_metrics() -> None:
    async with running_engine(fast_engine(model="a")) as a, running_engine() as b:
        async with httpx.AsyncClient() as client:
            await client.post(
                f"{a.url}/v1/completions", json={"prompt": "x", "max_tokens": 3, "ignore_eos": True}
            )
        assert a.metric("vllm:generation_tokens_total") == 3
        assert b.metric("vllm:generation_tokens_total") == 0
