"""The middleware in front of an app that answers when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from alise_vllm.control.middleware import Drain

TOKEN = "an-admin-token"
ADMIN = {"authorization": f"Bearer {TOKEN}"}
WORK = "/v1/chat/completions"


class Engine:
    """The app behind; inference takes until ``finish``."""

    def __init__(self) -> None:
        self.started = asyncio.Semaphore(0)
        self.finish = asyncio.Event()
        self.lifespans = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            self.lifespans += 1
            return
        self.started.release()
        if scope["path"].endswith("/failing"):
            raise RuntimeError("a defect")
        if scope["path"].endswith(WORK):
            await self.finish.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


class Server:
    """The middleware with its surroundings."""

    def __init__(
        self,
        config: object = None,
        servers: int | None = None,
        scheduler: object = None,
    ) -> None:
        self.engine = Engine()
        self.terminate: list[Callable[[], None]] = []
        self.drain = Drain(self.engine, self._hook)
        vllm_config = SimpleNamespace(additional_config=config or {})
        args = SimpleNamespace(api_server_count=servers, scheduler_cls=scheduler)
        self.client_of_engine = SimpleNamespace(errored=False)
        state = {"vllm_config": vllm_config, "args": args, "engine_client": self.client_of_engine}
        self.app = SimpleNamespace(state=SimpleNamespace(**state))
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.drain, raise_app_exceptions=False),
            base_url="http://engine",
        )

    def _hook(self, callback: Callable[[], None]) -> bool:
        self.terminate.append(callback)
        return True

    async def live(self) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = []

        async def receive() -> dict[str, str]:
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            said.append(message)

        await self.drain({"type": "lifespan", "app": self.app}, receive, send)
        return said

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        reply = await self.client.request(method, path, **options)
        return reply.status_code, reply.json()

    async def ready(self) -> tuple[int, str | None, int]:
        status, said = await self.ask("GET", "/alise/ready")
        assert said["plugin"] == "alise"
        assert said["ready"] is (status == 200)
        return status, said["reason"], said["in_progress"]

    async def begin(self) -> asyncio.Task[httpx.Response]:
        task = asyncio.create_task(self.client.post(WORK))
        await self.engine.started.acquire()
        return task


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    assert await made.live() == []
    assert made.engine.lifespans == 1
    yield made
    await made.client.aclose()


@pytest.mark.parametrize(
    ("scheduler", "orders"),
    [("alise_vllm.scheduler.AliseScheduler", True), (None, False), ("other.Scheduler", False)],
)
async def test_it_says_whether_the_engine_orders_its_queue(scheduler: object, orders: bool) -> None:
    made = Server(scheduler=scheduler)
    await made.live()
    assert (await made.ask("GET", "/alise/ready"))[1]["orders"] is orders
    await made.client.aclose()


async def test_a_drain_refuses_what_is_new_and_lets_the_rest_finish(server: Server) -> None:
    running = await server.begin()
    assert await server.ready() == (200, None, 1)

    assert await server.ask("POST", "/alise/drain") == (200, {"draining": True, "in_progress": 1})
    refused = await server.client.post(WORK)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["code"] == "draining"
    assert await server.ready() == (503, "draining", 1)
    assert (await server.client.get("/v1/models")).text == "done"

    server.engine.finish.set()
    assert (await running).text == "done"
    assert await server.ready() == (503, "draining", 0)

    assert (await server.ask("POST", "/alise/undrain"))[1] == {"draining": False, "in_progress": 0}
    assert (await server.client.post(WORK)).status_code == 200
    assert await server.ready() == (200, None, 0)


async def test_whoever_drains_can_wait_for_the_end(server: Server) -> None:
    running = await server.begin()
    waiting = asyncio.create_task(server.ask("POST", "/alise/drain?wait_seconds=60"))
    await settled()
    assert await server.ready() == (503, "draining", 1)
    assert not waiting.done()

    server.engine.finish.set()
    assert await waiting == (200, {"draining": True, "in_progress": 0})
    await running
    assert await server.ask("POST", "/alise/drain?wait_seconds=60") == await waiting


async def test_a_wait_ends_with_its_time_and_with_the_drain(server: Server) -> None:
    running = await server.begin()
    late = await server.ask("POST", "/alise/drain?wait_seconds=0.001")
    assert late == (200, {"draining": True, "in_progress": 1})

    waiting = asyncio.create_task(server.ask("POST", "/alise/drain?wait_seconds=60"))
    await settled()
    await server.ask("POST", "/alise/undrain")
    assert (await waiting)[1] == {"draining": False, "in_progress": 1}
    server.engine.finish.set()
    await running


async def test_a_request_that_fails_has_ended(server: Server) -> None:
    reply = await server.client.post("/v1/failing")

    assert reply.status_code == 500
    assert await server.ready() == (200, None, 0)


async def test_a_client_that_goes_has_ended(server: Server) -> None:
    running = await server.begin()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert await server.ready() == (200, None, 0)


@pytest.mark.parametrize("asked", ["x", "-1", "nan", "inf", "3601"])
async def test_a_wait_that_is_none_is_refused(server: Server, asked: str) -> None:
    status, said = await server.ask("POST", f"/alise/drain?wait_seconds={asked}")

    assert (status, said["error"]["param"]) == (400, "wait_seconds")
    assert (await server.ready())[0] == 200


async def test_a_dead_engine_is_not_ready(server: Server) -> None:
    server.client_of_engine.errored = True
    assert await server.ready() == (503, "engine_dead", 0)


async def test_a_server_without_an_engine_is_ready() -> None:
    server = Server()
    server.app.state.engine_client = None
    await server.live()
    assert await server.ready() == (200, None, 0)
    await server.client.aclose()


async def test_a_shutdown_is_for_good(server: Server) -> None:
    (terminate,) = server.terminate
    terminate()

    assert await server.ready() == (503, "shutting_down", 0)
    assert (await server.client.post(WORK)).json()["error"]["code"] == "shutting_down"
    assert (await server.ask("POST", "/alise/undrain"))[0] == 409
    assert await server.ready() == (503, "shutting_down", 0)


async def test_a_path_behind_a_proxys_prefix_is_the_same(server: Server) -> None:
    transport = httpx.ASGITransport(server.drain, root_path="/model-a")
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        assert (await client.post("/model-a/alise/drain")).status_code == 200
        assert (await client.post("/model-a" + WORK)).status_code == 503


@pytest.mark.parametrize("closed", [False, True])
async def test_websockets_are_let_in_or_closed(server: Server, closed: bool) -> None:
    said = []

    async def send(message: Any) -> None:
        said.append(message["type"])

    if closed:
        await server.ask("POST", "/alise/drain")
    await server.drain({"type": "websocket", "path": "/v1/realtime"}, None, send)  # type: ignore[arg-type]

    assert said == (
        ["websocket.close"] if closed else ["http.response.start", "http.response.body"]
    )


@pytest.mark.usefixtures("server")
async def test_an_open_port_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert "may drain the server: name a file with the admin token" in str(
        [record.getMessage() for record in caplog.get_records("setup")]
    )


async def test_only_the_token_drains(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN, encoding="utf-8")
    server = Server({"alise": {"admin": {"token_file": str(path)}}})
    await server.live()

    for route in ("/alise/drain", "/alise/undrain"):
        assert (await server.ask("POST", route))[0] == 401
    assert await server.ready() == (200, None, 0)
    assert (await server.ask("POST", "/alise/drain", headers=ADMIN))[0] == 200
    assert (await server.ask("POST", "/alise/undrain"))[0] == 401
    assert await server.ready() == (503, "draining", 0)
    assert (await server.ask("POST", "/alise/undrain", headers=ADMIN))[0] == 200
    await server.client.aclose()


async def test_a_drain_that_would_reach_one_of_several_servers_is_refused() -> None:
    server = Server(servers=4)
    await server.live()

    status, said = await server.ask("POST", "/alise/drain")
    assert (status, said["error"]["code"]) == (409, "several_api_servers")
    assert (await server.ready())[0] == 200
    await server.client.aclose()


async def test_wrong_settings_keep_the_server_from_starting() -> None:
    server = Server({"alise": {"admin": {"tokenfile": "x"}}})

    (said,) = await server.live()
    assert said["type"] == "lifespan.startup.failed"
    assert "'admin' has no setting 'tokenfile'" in said["message"]
    assert server.engine.lifespans == 0
    await server.client.aclose()
