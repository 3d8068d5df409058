"""The routes on a real FastAPI app, over engines in miniature."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY, generate_latest

from alise_vllm.control.endpoint import MOST_BYTES, AliseEndpoint
from alise_vllm.control.engine_access import STATE, ask
from alise_vllm.control.exposition import EngineSeries

TOKEN = "an-admin-token"
ADMIN = {"authorization": f"Bearer {TOKEN}"}


class Engines:
    """Two engines that hold one number each; ``limits`` says what each takes at most."""

    def __init__(self) -> None:
        self.values = [0, 0]
        self.limits = [10, 10]
        self.down: str | None = None
        self.asked: list[str] = []

    @property
    def engine_core(self) -> "Engines":
        return self

    async def call_utility_all_async(self, method: str, *args: str) -> list[str]:
        self.asked.append(method)
        if self.down is not None:
            raise RuntimeError(self.down)
        return [json.dumps(self._answer(rank, method, *args)) for rank in range(2)]

    def _answer(self, rank: int, method: str, changes: str = "") -> object:
        if method == "alise_state":
            return {"core": {"value": self.values[rank]}}
        value = json.loads(changes)["core"]["value"]
        if value > self.limits[rank]:
            return {"refused": f"core: 'value' is {value}; too much", "param": "core.value"}
        before = self.values[rank]
        if method == "alise_tune":
            self.values[rank] = value
        return {"changed": {"core": {"value": [before, value]}}}


class Server:
    """The endpoint in an app."""

    def __init__(self, engines: Engines | None, token: Path | None) -> None:
        self.engines = engines
        self.endpoint = AliseEndpoint()
        self.app = FastAPI()
        self.endpoint.attach_router(self.app)
        admin = {} if token is None else {"token_file": str(token)}
        config = SimpleNamespace(additional_config={"alise": {"admin": admin}})
        self.app.state.vllm_config = config
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://engine"
        )

    async def start(self) -> "Server":
        await self.endpoint.init_state(self.engines, self.app.state, None)
        await asyncio.sleep(0)
        return self

    async def stop(self) -> None:
        await self.client.aclose()
        for task in asyncio.all_tasks():
            if task.get_name() == "alise-engine-series":
                task.cancel()
        for collector in tuple(REGISTRY._collector_to_names):
            if isinstance(collector, EngineSeries):
                REGISTRY.unregister(collector)

    async def tune(self, body: bytes | str, **headers: str) -> tuple[int, Any]:
        reply = await self.client.post("/alise/tune", content=body, headers={**ADMIN, **headers})
        return reply.status_code, reply.json()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n", encoding="utf-8")
    return path


@pytest.fixture
async def engines() -> Engines:
    return Engines()


@pytest.fixture
async def server(engines: Engines, token: Path) -> AsyncIterator[Server]:
    made = await Server(engines, token).start()
    yield made
    await made.stop()


async def test_the_state_of_every_engine_is_shown(server: Server, engines: Engines) -> None:
    engines.values = [3, 4]
    reply = await server.client.get("/alise/state", headers=ADMIN)

    assert reply.status_code == 200
    assert reply.json() == {"engines": [{"core": {"value": 3}}, {"core": {"value": 4}}]}


async def test_a_change_answers_what_has_changed(server: Server, engines: Engines) -> None:
    engines.values = [1, 2]

    assert await server.tune('{"core": {"value": 5}}') == (
        200,
        {"engines": [{"core": {"value": [1, 5]}}, {"core": {"value": [2, 5]}}]},
    )
    assert engines.values == [5, 5]


async def test_one_engine_that_refuses_keeps_all_as_they_are(
    server: Server, engines: Engines
) -> None:
    engines.limits = [10, 3]
    status, said = await server.tune('{"core": {"value": 5}}')

    assert status == 400
    assert said["error"] == {
        "message": "core: 'value' is 5; too much",
        "type": "invalid_request_error",
        "param": "core.value",
        "code": "invalid_change",
    }
    assert engines.values == [0, 0]


async def test_changes_come_one_at_a_time(server: Server, engines: Engines) -> None:
    engines.asked.clear()
    await asyncio.gather(*(server.tune('{"core": {"value": 5}}') for _ in range(3)))

    assert engines.asked == ["alise_plan", "alise_tune"] * 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"core": NaN}',
        b'{"a": -Infinity}',
        b"[" * 30_000,
        b" " * MOST_BYTES + b"{}",
    ],
)
async def test_a_body_that_is_none_reaches_no_engine(
    server: Server, engines: Engines, body: bytes
) -> None:
    engines.asked.clear()
    status, said = await server.tune(body)

    assert (status, said["error"]["code"]) == (400, "invalid_change")
    assert engines.asked == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/alise/state"), ("POST", "/alise/tune")])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
async def test_without_the_token_nothing_is_shown_or_changed(
    server: Server, engines: Engines, method: str, path: str, headers: dict[str, str]
) -> None:
    engines.asked.clear()
    reply = await server.client.request(
        method, path, headers=headers, content=b'{"core": {"value": 5}}'
    )

    assert reply.status_code == 401
    assert TOKEN not in reply.text
    assert engines.asked == []


async def test_the_figures_are_series(server: Server, engines: Engines) -> None:
    line = b'alise_engine_core_value{engine="1"} 4.0'
    engines.values = [3, 4]
    page = await server.client.get("/alise/metrics")

    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert line in page.content
    # The registry shows what the engine said last, and that was before.
    assert line.replace(b"4.0", b"0.0") in generate_latest(REGISTRY)


async def test_series_follow_the_engine_and_vanish_with_it(engines: Engines) -> None:
    seen: list[int] = []

    async def look() -> Any:
        return await ask(engines, STATE)

    async def sleep(seconds: float) -> None:
        assert seconds > 0
        seen.append(sum(len(family.samples) for family in series.collect()))
        engines.down = "dead" if len(seen) == 1 else None
        if len(seen) == 3:
            raise asyncio.CancelledError

    series = EngineSeries(look, sleep)
    with pytest.raises(asyncio.CancelledError):
        await series.keep_fresh()

    assert seen == [2, 0, 2]


async def test_an_engine_that_is_down_is_said_to_be(server: Server, engines: Engines) -> None:
    engines.down = "EngineCore encountered an issue"
    for method, path in (
        ("GET", "/alise/state"),
        ("POST", "/alise/tune"),
        ("GET", "/alise/metrics"),
    ):
        reply = await server.client.request(method, path, headers=ADMIN, content=b"{}")
        assert reply.status_code == 503
        assert reply.headers["retry-after"]
        assert "EngineCore encountered" in reply.json()["error"]["message"]


async def test_a_server_without_an_engine_says_so(token: Path) -> None:
    server = await Server(None, token).start()
    reply = await server.client.get("/alise/state", headers=ADMIN)

    assert reply.status_code == 503
    assert "no engine" in reply.json()["error"]["message"]
    await server.stop()


@pytest.mark.parametrize("is_set", [True, False])
async def test_an_open_port_is_warned_of_and_no_token_is_shown(
    engines: Engines, token: Path, caplog: pytest.LogCaptureFixture, is_set: bool
) -> None:
    with caplog.at_level(logging.INFO):
        server = await Server(engines, token if is_set else None).start()
        status, _ = await server.tune('{"core": {"value": 5}}')

    assert status == 200
    assert ("Whoever reaches this port" in caplog.text) is not is_set
    assert "[0, 5]" in caplog.text
    assert TOKEN not in caplog.text
    await server.stop()
