"""Scheduler, host KV tier and admin routes in one engine: each sees what the others do."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

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
FLAGS = (
    "--block-size=32",
    "--max-model-len=1024",
    "--max-num-seqs=2",
    "--scheduler-cls=alise_vllm.scheduler.AliseScheduler",
    "--middleware=alise_vllm.control.middleware.Drain",
    f"--kv-transfer-config={json.dumps(CONNECTOR)}",
)
BLOCKS = 56
"""Of the device: room for what two long requests hold and for a short one, and not for what those
had that gave way to it."""
CAPACITY = 64 * 1_048_576
GENERATED = "vllm:generation_tokens_total"
LONG, SHORT = 700, 16
CHANGES = (
    {"tier": {"level": "int4"}},
    {"scheduler": {"policy": "fcfs"}, "tier": {"eviction": "arc"}},
    {"tier": {"level": "none", "eviction": "ewt"}},
    {"scheduler": {"policy": "gittins", "max_preemptions": 4}},
    {"tier": {"level": "int8"}, "scheduler": {"margin": 0.2}},
)


@dataclass(frozen=True, slots=True)
class Whole:
    """An engine with everything."""

    server: VllmServer

    def state(self) -> dict[str, Any]:
        reply = httpx.get(f"{self.server.url}/alise/state", headers=ADMIN, timeout=60)
        (engine,) = reply.raise_for_status().json()["engines"]
        found: dict[str, Any] = engine
        return found

    def idle(self) -> dict[str, Any]:
        """Nobody runs and nothing is copied; returns the state."""

        def is_idle() -> bool:
            core = self.state()["core"]
            return not core["running"] and not core["waiting"]

        eventually(is_idle, 30, "the engine is idle")
        return self.state()


@pytest.fixture(scope="module")
def whole(
    environment: VllmEnvironment,
    logs: Path,
    processes: list[ServerProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Whole]:
    variables = plugin_variables(tmp_path_factory.mktemp("plugin"))
    token = tmp_path_factory.mktemp("admin") / "token"
    token.write_text(TOKEN, encoding="utf-8")
    settings = {
        "admin": {"token_file": str(token)},
        "scheduler": {"policy": "gittins"},
        "tier": {"capacity_bytes": CAPACITY, "level": "int8", "eviction": "ewt"},
    }
    flags = (
        *FLAGS,
        f"--num-gpu-blocks-override={BLOCKS}",
        f"--additional-config={json.dumps({'alise': settings})}",
    )
    server = start_vllm(environment, "vllm-whole", logs, 1, flags, variables)
    processes.append(server.process)
    server.wait_until_ready()
    yield Whole(server)
    server.process.stop()


async def ask(client: httpx.AsyncClient, number: int, tokens: int) -> int:
    """Tokens of the answer to a request whose length is predicted right."""
    body = {
        "model": MODEL,
        "prompt": f"{number} " + "import os " * 20,
        "max_tokens": tokens,
        "ignore_eos": True,
        "temperature": 0,
        "vllm_xargs": {"alise_p50": tokens, "alise_p90": tokens + 1},
    }
    reply = await client.post("/v1/completions", json=body)
    found: int = reply.raise_for_status().json()["usage"]["completion_tokens"]
    return found


async def under_load(whole: Whole, rounds: int) -> list[int]:
    """Two long requests at a time, short ones beside them, and changes meanwhile."""
    async with httpx.AsyncClient(base_url=whole.server.url, timeout=300) as client:
        tasks = []
        for number in range(rounds):
            tasks += [asyncio.create_task(ask(client, 100 * number + it, LONG)) for it in range(2)]
            for it in range(2, 8):
                tasks.append(asyncio.create_task(ask(client, 100 * number + it, SHORT)))
                changes = CHANGES[(number + it) % len(CHANGES)]
                reply = await client.post("/alise/tune", json=changes, headers=ADMIN)
                assert reply.status_code == httpx.codes.OK, reply.text
            # The long ones of this round are in the middle when those of the next come.
            await asyncio.wait(tasks[-6:])
        return list(await asyncio.gather(*tasks))


async def interrupted(whole: Whole, number: int) -> list[int]:
    """Two long requests, and short ones when those are past their middle."""

    def is_past_the_middle() -> bool:
        return whole.server.metrics().sum(GENERATED) - before > LONG * 1.2

    before = whole.server.metrics().sum(GENERATED)
    async with httpx.AsyncClient(base_url=whole.server.url, timeout=300) as client:
        tasks = [asyncio.create_task(ask(client, 100 * number + it, LONG)) for it in range(2)]
        await asyncio.to_thread(eventually, is_past_the_middle, 60, "past the middle")
        tasks += [asyncio.create_task(ask(client, 100 * number + it, SHORT)) for it in range(2, 8)]
        return list(await asyncio.gather(*tasks))


def test_what_gives_way_is_found_again(whole: Whole) -> None:
    before = whole.idle()
    assert set(before) >= {"core", "scheduler", "tier"}
    for number in range(1, 4):
        assert asyncio.run(interrupted(whole, number)) == [LONG] * 2 + [SHORT] * 6
    after = whole.idle()
    scheduler = after["scheduler"]
    assert scheduler["preemptions_total"]["slot"] > 0
    restored = scheduler["restored_tokens_total"]
    assert restored >= 0.9 * (restored + scheduler["recomputed_tokens_total"])


def test_everything_is_changed_under_load_and_nothing_is_lost(whole: Whole) -> None:
    answers = asyncio.run(under_load(whole, 6))
    assert sorted(answers) == [SHORT] * 36 + [LONG] * 12
    state = whole.idle()
    assert state["core"]["kv_cache_usage_ratio"] == 0.0
    assert state["scheduler"]["waiting"] == 0


def test_a_change_of_two_parts_is_all_or_nothing(whole: Whole) -> None:
    before = whole.idle()
    changes = {"tier": {"level": "int4"}, "scheduler": {"policy": "lottery"}}
    url = f"{whole.server.url}/alise/tune"
    reply = httpx.post(url, json=changes, headers=ADMIN, timeout=60)
    assert reply.status_code == httpx.codes.BAD_REQUEST
    assert reply.json()["error"]["param"] == "scheduler.policy"
    after = whole.state()
    assert after["tier"]["level"] == before["tier"]["level"]
    assert after["scheduler"]["policy"] == before["scheduler"]["policy"]
