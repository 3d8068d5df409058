"""The host KV tier in real vLLM: what the device drops comes back, packed and unpacked.

The device has room for one long prompt and little more, so that every other prompt evicts it.
"""

import asyncio
import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import httpx
import pytest

from running import tier_plugin
from running.process import ServerProcess
from running.scrape import eventually
from running.vllm import MODEL, PLUGIN, ROOT, VllmEnvironment, VllmServer, start_vllm

COMPLETIONS = "/v1/completions"
CACHED = "vllm:prompt_tokens_cached_by_source_total"
PREEMPTIONS = "vllm:num_preemptions_total"
BLOCKS = 80
BLOCK_TOKENS = 32
CHUNK_BYTES = 65_536
CAPACITY = 24 * 1_048_576
FLAGS = (
    f"--block-size={BLOCK_TOKENS}",
    f"--num-gpu-blocks-override={BLOCKS}",
    "--max-model-len=2048",
    "--max-num-seqs=8",
)
CONNECTOR = {
    "kv_connector": "HostTier",
    "kv_connector_module_path": "alise_vllm.tier.connector",
    "kv_role": "kv_both",
}
WORDS = ("import", "os", "sys", "json", "class", "def", "return", "self", "value", "list", "name")


@dataclass(frozen=True, slots=True)
class Tiered:
    """A server with the tier, and the test's own way into it."""

    server: VllmServer

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.server.url}/tier", timeout=60).json()
        return found

    def change(self, **changes: Any) -> float:
        """Milliseconds that it took inside the engine."""
        answer = httpx.post(f"{self.server.url}/tier", json=changes, timeout=60).json()
        assert "error" not in answer, answer
        return float(answer["milliseconds"])

    def ask(self, prompt: str, tokens: int = 8, **fields: Any) -> dict[str, Any]:
        body = request(prompt, tokens, **fields)
        answer = httpx.post(self.server.url + COMPLETIONS, json=body, timeout=300)
        found: dict[str, Any] = answer.raise_for_status().json()["choices"][0]
        return found

    def cached(self, source: str) -> float:
        return self.server.metrics().sum(CACHED, source=source)

    def wait_until_idle(self) -> dict[str, Any]:
        """Nothing is copied and nobody is served; returns the state."""
        eventually(lambda: not self.state()["jobs"], 30, "copies end")
        return self.state()


def request(prompt: str, tokens: int, **fields: Any) -> dict[str, Any]:
    fixed = {"model": MODEL, "temperature": 0, "ignore_eos": True}
    return {**fixed, "prompt": prompt, "max_tokens": tokens, **fields}


def text(seed: int, words: int = 400) -> str:
    chosen = random.Random(seed)  # noqa: S311
    return " ".join(chosen.choice(WORDS) for _ in range(words))


@pytest.fixture(scope="module")
def tiered(
    environment: VllmEnvironment,
    logs: Path,
    processes: list[ServerProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Tiered]:
    directory = tmp_path_factory.mktemp("plugin")
    variables = tier_plugin.install(directory)
    path = f"{PLUGIN['PYTHONPATH']}:{ROOT / 'e2e'}:{directory}"
    settings = {"alise": {"tier": {"capacity_bytes": CAPACITY}}}
    flags = (
        *FLAGS,
        f"--kv-transfer-config={json.dumps(CONNECTOR)}",
        f"--additional-config={json.dumps(settings)}",
    )
    server = start_vllm(environment, "vllm-tier", logs, 0, flags, {**variables, "PYTHONPATH": path})
    processes.append(server.process)
    made = Tiered(server.wait_until_ready())
    made.change(always_loads=True)
    yield made
    server.process.stop()


def evict_from_device(tiered: Tiered, start: int) -> None:
    for seed in range(start, start + 4):
        tiered.ask(text(seed, 900), 1)


def test_a_prompt_that_the_device_dropped_is_loaded_and_says_the_same(tiered: Tiered) -> None:
    prompt = text(1)
    first = tiered.ask(prompt, 40)
    evict_from_device(tiered, 100)
    on_host, on_device = tiered.cached("host"), tiered.cached("device")
    second = tiered.ask(prompt, 40)

    assert second["text"] == first["text"]
    assert tiered.cached("host") - on_host >= 300
    assert tiered.cached("device") == on_device
    assert tiered.state()["loaded_tokens"] >= 300


def test_int8_and_int4_hold_more(tiered: Tiered) -> None:
    held = {}
    for level, first in (("none", 200), ("int8", 300), ("int4", 500)):
        tiered.change(level=level)
        for prompt in (text(seed, 900) for seed in itertools.count(first)):
            state = tiered.state()
            held[level] = state["chunks"][level]
            full = state["used_bytes"] > CAPACITY - 2 * CHUNK_BYTES
            if full and held[level] == sum(state["chunks"].values()):
                break
            tiered.ask(prompt, 1)
    print(f"chunks held in {CAPACITY} bytes: {held}")

    assert held["int8"] >= 1.9 * held["none"]
    assert held["int4"] >= 3.6 * held["none"]
    tiered.change(level="none")


CHANGES: Sequence[Mapping[str, Any]] = [
    {"level": "int8"},
    {"eviction": "ewt"},
    {"level": "int4", "eviction": "vllm:lru"},
    {"capacity_bytes": CAPACITY // 3},
    {"eviction": "arc"},
    {"level": "none"},
    {"eviction": "vllm:arc"},
    {"capacity_bytes": CAPACITY},
    {"level": "int8", "eviction": "lru"},
]


def test_changes_under_load_take_milliseconds_and_fail_nobody(tiered: Tiered) -> None:
    took, statuses = asyncio.run(change_under_load(tiered))
    print(f"{len(took)} changes, ms inside the engine: {sorted(round(ms, 3) for ms in took)}")

    assert len(took) == 3 * len(CHANGES)
    assert max(took) <= 10
    assert set(statuses) == {200}
    assert len(statuses) > 30
    state = tiered.wait_until_idle()
    assert state["capacity_bytes"] == CAPACITY
    assert state["used_bytes"] <= CAPACITY
    assert_at_rest(tiered)


async def change_under_load(tiered: Tiered) -> tuple[list[float], list[int]]:
    statuses: list[int] = []
    done = asyncio.Event()

    async def client(number: int) -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            hint = {"alise_p50": 40} if number % 2 else {"alise_p50": "no number"}
            prompt = text(1_000 + number * 7 + turn % 5)
            body = request(prompt, 12, vllm_xargs=hint)
            answer = await http.post(tiered.server.url + COMPLETIONS, json=body)
            statuses.append(answer.status_code)

    async with httpx.AsyncClient(timeout=300) as http, asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(client(number))
        took = []
        for change in [*CHANGES] * 3:
            took.append(await asyncio.to_thread(tiered.change, **change))
            await asyncio.sleep(0.3)
        done.set()
    return took, statuses


def assert_at_rest(tiered: Tiered) -> None:
    """No block and no chunk is held by anybody."""
    eventually(lambda: not tiered.state()["living"], 30, "requests are forgotten")
    state = tiered.wait_until_idle()
    assert state["pinned"] == 0
    # One block is vLLM's own.
    assert state["free_blocks"] == BLOCKS - 1


def test_a_change_that_is_wrong_is_refused_and_changes_nothing(tiered: Tiered) -> None:
    before = tiered.state()
    for wrong in ({"level": "int3"}, {"capacity_bytes": 10}, {"eviction": 1}, {"size": 1}):
        answer = httpx.post(f"{tiered.server.url}/tier", json=wrong, timeout=60).json()
        assert answer["error"].startswith("ConfigError: '")

    assert tiered.state() == before


def test_what_was_generated_comes_back_after_a_preemption(tiered: Tiered) -> None:
    tiered.change(level="none", eviction="ewt")
    before, preempted = tiered.state(), tiered.server.metrics().sum(PREEMPTIONS)
    asyncio.run(generate_more_than_fits(tiered))

    restored = tiered.wait_until_idle()["restored_tokens"] - before["restored_tokens"]
    preemptions = tiered.server.metrics().sum(PREEMPTIONS) - preempted
    print(f"{preemptions:.0f} preemptions, {restored} tokens restored from the host")
    assert preemptions > 0
    assert restored > 0
    assert_at_rest(tiered)


async def generate_more_than_fits(tiered: Tiered) -> None:
    async with httpx.AsyncClient(timeout=300) as http:
        answers = await asyncio.gather(
            *(
                http.post(
                    tiered.server.url + COMPLETIONS,
                    json=request(text(2_000 + seed, 60), 500, vllm_xargs={"alise_p50": 500}),
                )
                for seed in range(8)
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["usage"]["completion_tokens"] for answer in answers} == {500}


def test_clients_that_go_away_leave_nothing_behind(tiered: Tiered) -> None:
    for seed in range(6):
        body = request(text(3_000 + seed, 500), 400)
        with pytest.raises(httpx.TimeoutException):
            httpx.post(tiered.server.url + COMPLETIONS, json=body, timeout=0.2)

    assert_at_rest(tiered)


PROMPTS = 24
TOP = 20


def test_what_packing_does_to_what_is_said_next(tiered: Tiered) -> None:
    """Against the noise of the dtype: the same prompt, its last tokens computed apart."""
    off = {level: differences(tiered, level, number) for number, level in enumerate(LEVELS)}
    for level, found in off.items():
        print(f"{level}: mean {mean(found):.5f}, max {max(found):.5f} of {len(found)} logprobs")

    # Packing at 8 bits is not much more than what bfloat16 does by itself.
    assert mean(off["int8"]) < mean(off["int4"])
    assert mean(off["int8"]) < 2 * mean(off["none"]) + 0.02
    assert mean(off["int4"]) < 0.3


LEVELS = ("none", "int8", "int4")


def differences(tiered: Tiered, level: str, number: int) -> list[float]:
    """How far the logprobs of a prompt's next token are off when it is loaded from the host."""
    tiered.change(level=level, eviction="lru")
    prompts = [text(10_000 * (number + 1) + seed, 300) for seed in range(PROMPTS)]
    computed = [top_logprobs(tiered, prompt) for prompt in prompts]
    loaded_before = tiered.state()["loaded_tokens"]
    off = []
    for prompt, first in reversed(list(zip(prompts, computed, strict=True))):
        second = top_logprobs(tiered, prompt)
        off += [abs(first[token] - second[token]) for token in first.keys() & second.keys()]
    loaded = tiered.state()["loaded_tokens"] - loaded_before
    print(f"{level}: {loaded} tokens loaded of {PROMPTS} prompts")
    assert loaded > 200 * PROMPTS / 2
    return off


def top_logprobs(tiered: Tiered, prompt: str) -> dict[str, float]:
    found: dict[str, float] = tiered.ask(prompt, 1, logprobs=TOP)["logprobs"]["top_logprobs"][0]
    return found
