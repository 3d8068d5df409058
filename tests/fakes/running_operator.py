"""A whole operator against a fake API server, with engines that are a small HTTP server."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from alise_cluster.client import ClusterClient
from alise_cluster.config import ClusterConfig
from alise_cluster.pacing import Pacing
from alise_cluster.resources import Resource
from alise_operator.app import Operator, Surroundings
from alise_operator.settings import load_settings
from alise_operator.tending import Tuner
from fakes.api_server import FakeApiServer

PAGE = (
    'vllm:cache_config_info{block_size="16",cache_dtype="fp8",engine="0",num_gpu_blocks="101"} 1\n'
    'vllm:num_requests_running{engine="0",model_name="org/model"} 0\n'
)


class FakeEngine:
    """Answers ``/metrics`` on loopback; counts who asks."""

    def __init__(self, page: str = PAGE) -> None:
        self.page = page
        self.asked = 0
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> "FakeEngine":
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(text=self.page)


class RunningOperator:
    """An operator process in a task.

    Args:
        server: The cluster.
        identity: Who it is in the election.
        tuner: See ``Operator``.
        pacing: Waiting for the API server; retries come at once without.
        settings: Besides what makes it run here.
    """

    def __init__(
        self,
        server: FakeApiServer,
        identity: str = "op-0",
        tuner: Tuner | None = None,
        pacing: Pacing | None = None,
        **settings: Any,
    ) -> None:
        whole = {"metrics_port": 0, "settle_seconds": 0.0, "identity": identity} | settings
        self.stop_asked = asyncio.Event()
        client = ClusterClient(ClusterConfig(server.url, namespace="ns"), request_seconds=5)
        # What is tested is that retries come, not how long they wait.
        world = Surroundings(pacing=pacing or Pacing(chance=lambda: 0.0))
        self.operator = Operator(load_settings(whole), tuner, client, world)
        self.registry = world.registry
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "RunningOperator":
        self._task = asyncio.create_task(self.operator.run(self.stop_asked))
        return self

    async def stop(self) -> None:
        """As SIGTERM does; passes on what ended it otherwise."""
        self.stop_asked.set()
        if self._task is not None:
            task, self._task = self._task, None
            await task

    async def ended(self) -> None:
        """Wait until it ends by itself; passes on why."""
        if self._task is not None:
            await self._task

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


async def until(
    server: FakeApiServer,
    resource: Resource,
    name: str,
    holds: Callable[[dict[str, Any]], bool],
    namespace: str = "ns",
) -> dict[str, Any]:
    """Wait until an object's status is as expected."""
    changed = asyncio.Event()
    before = server.store.on_entry

    def on_entry(entry: Any) -> None:
        before(entry)
        changed.set()

    server.store.on_entry = on_entry
    try:
        while True:
            changed.clear()
            status: dict[str, Any] = server.read(resource, name, namespace).get("status", {})
            if status and holds(status):
                return status
            await changed.wait()
    finally:
        server.store.on_entry = before
