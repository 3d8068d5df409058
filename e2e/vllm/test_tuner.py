"""The operator's tuner on a real vLLM: it makes room when memory runs out, and gives it back.

What looks, decides and acts is the operator's own; the cluster around it is left out. How long
pressure lasts is not a matter of the machine's speed: clients go on asking until room was made.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from alise_cluster.pods import PodState
from alise_core.clock import MonotonicClock
from alise_core.crds.base import SecretRef
from alise_core.crds.book import ObjectBook
from alise_core.crds.governing import PoolRef
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.crds.names import API_VERSION, Kind
from alise_operator.decide.pods import Pod
from alise_operator.decide.tuning import TuningReport
from alise_operator.tending import TendedPool
from alise_operator.tuning.engines import Engines
from alise_operator.tuning.tender import KvTuner
from running.plugin import plugin_variables
from running.process import ServerProcess
from running.scrape import eventually
from running.vllm import MODEL, VllmEnvironment, VllmServer, start_vllm

TOKEN = "an-admin-token-of-the-test"
ADMIN = {"authorization": f"Bearer {TOKEN}"}
CONNECTOR = {
    "kv_connector": "HostTier",
    "kv_connector_module_path": "alise_vllm.tier.connector",
    "kv_role": "kv_both",
}
BLOCKS = 80
"""Of the device, 32 tokens each: half of what the clients' answers come to."""
CAPACITY = 4 * 1_048_576
"""Of the tier: less than what the device drops."""
FLAGS = (
    "--block-size=32",
    f"--num-gpu-blocks-override={BLOCKS}",
    "--max-model-len=1024",
    "--max-num-seqs=8",
    "--scheduler-cls=alise_vllm.scheduler.AliseScheduler",
    "--middleware=alise_vllm.control.middleware.Drain",
    f"--kv-transfer-config={json.dumps(CONNECTOR)}",
)
CLIENTS, ANSWER_TOKENS = 8, 500
LOOK_SECONDS = 2.0
POLICY = {
    "mode": "Auto",
    "hostTier": {"levels": ["none", "int8"], "evictionPolicies": ["lru", "ewt"]},
    "pressure": {"windowSeconds": 8},
    "pace": {"cooldownSeconds": 4, "stabilizationSeconds": 15, "maxChangesPerHour": 12},
}
"""As shipped but for the times, which would make the test one of a quarter of an hour."""
AT_BASE = ("none", "lru")
ROOM_MADE = ("int8", "ewt")
MADE_WITHIN_SECONDS = 30.0
PATIENCE_SECONDS = 240.0
REF = PoolRef("ns", Kind.MODEL_POOL, "chat")


@dataclass
class Loop:
    """The tuner and the engine that it tunes.

    Attributes:
        reports: Of every look.
        recorded: What was put on record before something was done.
    """

    server: VllmServer
    tuner: KvTuner
    pool: TendedPool
    reports: list[TuningReport] = field(default_factory=list)
    recorded: list[TuningReport] = field(default_factory=list)

    async def publish(self, report: TuningReport) -> None:
        self.recorded.append(report)

    def settings(self) -> tuple[str, str]:
        """Level and eviction that the engine has."""
        reply = httpx.get(f"{self.server.url}/alise/state", headers=ADMIN, timeout=60)
        (engine,) = reply.raise_for_status().json()["engines"]
        return engine["tier"]["level"], engine["tier"]["eviction"]

    async def look_until(self, holds: Callable[[], bool], what: str) -> None:
        """Look again and again, as the operator's worker does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not await asyncio.to_thread(holds):
            said = self.reports[-1].status if self.reports else None
            assert time.monotonic() < deadline, f"{what}; the tuner: {said}"
            self.reports.append(await self.tuner.tend(self.pool, self.publish))
            await asyncio.sleep(LOOK_SECONDS)


@pytest.fixture(scope="module")
def server(
    environment: VllmEnvironment,
    logs: Path,
    processes: list[ServerProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[VllmServer]:
    variables = plugin_variables(tmp_path_factory.mktemp("plugin"))
    token = tmp_path_factory.mktemp("admin") / "token"
    token.write_text(TOKEN, encoding="utf-8")
    settings = {
        "admin": {"token_file": str(token)},
        "tier": {"capacity_bytes": CAPACITY, "level": "none", "eviction": "lru"},
    }
    flags = (*FLAGS, f"--additional-config={json.dumps({'alise': settings})}")
    started = start_vllm(environment, "vllm-tuned", logs, 0, flags, variables)
    processes.append(started.process)
    yield started.wait_until_ready()
    started.process.stop()


@asynccontextmanager
async def looping(server: VllmServer) -> AsyncIterator[Loop]:
    async def read_token(namespace: str, ref: SecretRef) -> str | None:
        return TOKEN if (namespace, ref.name) == ("ns", "engine-admin") else None

    clock = MonotonicClock()
    tuner = KvTuner(Engines(clock, 5.0), read_token, clock, LOOK_SECONDS)
    policies: ObjectBook[KVCachePolicySpec] = ObjectBook(Kind.KV_CACHE_POLICY)
    policies.put(
        {
            "apiVersion": API_VERSION,
            "kind": Kind.KV_CACHE_POLICY.value,
            "metadata": {"namespace": "ns", "name": "kv", "uid": "kv", "generation": 1},
            "spec": POLICY,
        }
    )
    (policy,) = policies.items()
    assert policy.spec is not None, policy.problems
    state = PodState("127.0.0.1", "Running", has_ready_condition=True)
    pod = Pod("ns", "chat-0", "uid-0", {}, state)
    secret = SecretRef(name="engine-admin")
    pool = TendedPool(REF, policy, (pod,), (server.port,), admin_token=secret)
    try:
        yield Loop(server, tuner, pool)
    finally:
        await tuner.close()


@dataclass
class Load:
    """Clients that ask one thing after the other, and what they were answered."""

    server: VllmServer
    over: bool = False
    answers: list[tuple[int, int]] = field(default_factory=list)

    async def run(self) -> None:
        async with (
            httpx.AsyncClient(base_url=self.server.url, timeout=PATIENCE_SECONDS) as client,
            asyncio.TaskGroup() as group,
        ):
            for number in range(CLIENTS):
                group.create_task(self._client(client, number))

    async def _client(self, client: httpx.AsyncClient, number: int) -> None:
        turn = 0
        while not self.over:
            turn += 1
            body: dict[str, Any] = {
                "model": MODEL,
                "prompt": f"{number} {turn} " + "import os " * 20,
                "max_tokens": ANSWER_TOKENS,
                "ignore_eos": True,
                "temperature": 0,
                "vllm_xargs": {"alise_p50": ANSWER_TOKENS, "alise_p90": ANSWER_TOKENS},
            }
            reply = await client.post("/v1/completions", json=body)
            tokens = reply.json().get("usage", {}).get("completion_tokens", 0)
            self.answers.append((reply.status_code, tokens))


def test_room_is_made_under_pressure_and_given_back_after_it(server: VllmServer) -> None:
    asyncio.run(pressure_and_calm(server))


async def pressure_and_calm(server: VllmServer) -> None:
    preemptions = "vllm:num_preemptions_total"
    async with looping(server) as loop:
        await loop.look_until(
            lambda: bool(loop.reports) and loop.reports[-1].status.waiting_for[:6] == "AtBase",
            "an idle engine is seen for as long as it takes to trust it",
        )
        assert loop.recorded == []

        load = Load(server)
        asking = asyncio.create_task(load.run())
        await asyncio.to_thread(
            eventually,
            lambda: server.metrics().sum(preemptions) > 0,
            PATIENCE_SECONDS,
            "a request loses its memory",
        )
        pressed_at = time.monotonic()
        await loop.look_until(lambda: loop.settings() == ROOM_MADE, "room is made")
        took = time.monotonic() - pressed_at
        preempted = server.metrics().sum(preemptions)
        load.over = True
        await asking

        await loop.look_until(lambda: loop.settings() == AT_BASE, "exactness is given back")
    calm = time.monotonic() - pressed_at - took
    print(f"room after {took:.1f} s, {preempted:.0f} preemptions by then; base {calm:.1f} s later")
    for report in loop.recorded:
        print(report.status.last_action)

    assert took <= MADE_WITHIN_SECONDS
    assert set(load.answers) == {(httpx.codes.OK, ANSWER_TOKENS)}
    assert len(load.answers) >= CLIENTS
    told = [
        report.status.last_action.action for report in loop.recorded if report.status.last_action
    ]
    assert sorted(told[:2]) == ["eviction lru -> ewt", "level none -> int8"]
    assert sorted(told[2:]) == ["eviction ewt -> lru", "level int8 -> none"]
    assert loop.reports[-1].status.rung == "base"
