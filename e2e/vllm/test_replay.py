"""Answers of recorded length from real vLLM, by prompt alone: directly and through the gateway.

The engine's KV cache is too small for what is sent at once, so that requests are preempted and
come back: an answer keeps its length through that.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

from alise_bench.demo.workload import read_sample
from alise_vllm.lengths import RecordedLength, prompt_key
from running.gateway import GatewayServer, start_gateway
from running.process import ServerProcess
from running.vllm import (
    MODEL,
    PLUGIN,
    VllmEnvironment,
    VllmServer,
    save_tokenizer,
    start_vllm,
)

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
PREEMPTIONS = "vllm:num_preemptions_total"
PROMPTS = 64
LONGEST_PROMPT_TOKENS = 500
LONGEST_ANSWER_TOKENS = 300
CONCURRENCY = 16
FLAGS = (
    "--logits-processors=alise_vllm.replay:ReplayLengths",
    "--max-model-len=1024",
    "--block-size=32",
    # Room for one request of the longest kind and a few short ones.
    "--num-gpu-blocks-override=80",
    "--no-enable-prefix-caching",
)
TWICE = "import os, sys, json, re"
TWICE_LENGTHS = (7, 160)
"""A prompt that was recorded with two answers."""
CHOICES = "import asyncio"
CHOICE_LENGTHS = (11, 29, 90)
TURN = [{"role": "user", "content": "Name a module."}]
CHAT_LENGTH = 41
UNKNOWN = "A prompt that no file knows."


@dataclass(frozen=True, slots=True)
class Recording:
    """A prompt and what was recorded of its answer."""

    prompt: str
    token_ids: tuple[int, ...]
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Replaying:
    """An engine that replays and a gateway in front of it."""

    engine: VllmServer
    gateway: GatewayServer
    recordings: Sequence[Recording]


@pytest.fixture(scope="module")
def tokenizer(environment: VllmEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    save_tokenizer(environment, path)
    return Tokenizer.from_file(str(path))


@pytest.fixture(scope="module")
def recordings(tokenizer: Tokenizer) -> list[Recording]:
    found = []
    for row in read_sample():
        ids = tokenizer.encode(row.prompt).ids
        if len(ids) <= LONGEST_PROMPT_TOKENS:
            length = min(row.output_tokens, LONGEST_ANSWER_TOKENS)
            found.append(Recording(row.prompt, tuple(ids), length))
    return found[:PROMPTS]


@pytest.fixture(scope="module")
def replay_file(
    tokenizer: Tokenizer, recordings: list[Recording], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    rows = [RecordedLength(prompt_key(row.token_ids), row.output_tokens) for row in recordings]
    for prompt, lengths in ((TWICE, TWICE_LENGTHS), (CHOICES, CHOICE_LENGTHS)):
        key = prompt_key(tokenizer.encode(prompt).ids)
        rows += [RecordedLength(key, length) for length in lengths]
    # What the chat template makes of the turn; the server's own answer is compared in its test.
    chat = "<|im_start|>user\nName a module.<|im_end|>\n<|im_start|>assistant\n"
    rows.append(RecordedLength(prompt_key(tokenizer.encode(chat).ids), CHAT_LENGTH))
    path = tmp_path_factory.mktemp("replay") / "lengths.jsonl"
    path.write_text("".join(row.line() + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def replaying(
    environment: VllmEnvironment,
    recordings: list[Recording],
    replay_file: Path,
    logs: Path,
    processes: list[ServerProcess],
) -> Iterator[Replaying]:
    named = json.dumps({"alise": {"replay_file": str(replay_file)}})
    flags = (*FLAGS, f"--additional-config={named}")
    engine = start_vllm(environment, "vllm-replay", logs, 1, flags, PLUGIN)
    processes.append(engine.process)
    engine.wait_until_ready()
    gateway = start_gateway("gateway-replay", [engine.url], logs)
    processes.append(gateway.process)
    yield Replaying(engine, gateway, recordings)
    gateway.process.stop()
    engine.process.stop()


async def ask_all(url: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers in the order of the bodies, ``CONCURRENCY`` asked at a time."""
    room = asyncio.Semaphore(CONCURRENCY)
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:

        async def ask(body: dict[str, Any]) -> dict[str, Any]:
            async with room:
                reply = await client.post(COMPLETIONS, json={"model": MODEL, **body})
            assert reply.status_code == httpx.codes.OK, reply.text
            answer: dict[str, Any] = reply.json()
            return answer

        return await asyncio.gather(*map(ask, bodies))


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = httpx.post(url, json={"model": MODEL, **body}, timeout=60)
    assert reply.status_code == httpx.codes.OK, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def ending(answer: dict[str, Any]) -> tuple[int, str]:
    return answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]


async def replayed(url: str, recordings: Sequence[Recording]) -> None:
    bodies = [
        {"prompt": row.prompt, "max_tokens": LONGEST_ANSWER_TOKENS + 100} for row in recordings
    ]
    answers = await ask_all(url, [*bodies, *({"prompt": TWICE, "max_tokens": 400},) * 4])

    expected = [(row.output_tokens, "stop") for row in recordings]
    assert [ending(answer) for answer in answers[: len(recordings)]] == expected
    twice = Counter(ending(answer) for answer in answers[len(recordings) :])
    assert twice == Counter({(length, "stop"): 2 for length in TWICE_LENGTHS})
    assert [answer["usage"]["prompt_tokens"] for answer in answers[: len(recordings)]] == [
        len(row.token_ids) for row in recordings
    ]


async def test_every_answer_has_its_recorded_length(replaying: Replaying) -> None:
    await replayed(replaying.engine.url, replaying.recordings)

    preempted = replaying.engine.metrics().sum(PREEMPTIONS)
    print(f"{len(replaying.recordings)} prompts, {preempted:g} preemptions")
    assert preempted > 0, "no request was preempted: the scenario proves too little"


async def test_every_answer_has_its_recorded_length_through_the_gateway(
    replaying: Replaying,
) -> None:
    await replayed(replaying.gateway.url, replaying.recordings)


def test_prompts_are_tokenized_as_the_engine_does(replaying: Replaying) -> None:
    for row in replaying.recordings[::8]:
        found = post(f"{replaying.engine.url}/tokenize", {"prompt": row.prompt})
        assert tuple(found["tokens"]) == row.token_ids


def test_chat_is_found_by_its_rendered_prompt(replaying: Replaying, replay_file: Path) -> None:
    rendered = post(f"{replaying.engine.url}/tokenize", {"messages": TURN})["tokens"]
    known = [json.loads(line) for line in replay_file.read_text(encoding="utf-8").splitlines()]
    assert known[-1]["prompt_sha256"] == prompt_key(rendered)

    for url in (replaying.engine.url, replaying.gateway.url):
        answer = post(url + CHAT, {"messages": TURN, "max_tokens": 200})
        assert ending(answer) == (CHAT_LENGTH, "stop")


def test_choices_of_one_request_take_the_rows_in_turn(replaying: Replaying) -> None:
    body = {"prompt": CHOICES, "max_tokens": 200, "n": len(CHOICE_LENGTHS)}
    answer = post(replaying.engine.url + COMPLETIONS, body)

    assert [choice["finish_reason"] for choice in answer["choices"]] == ["stop"] * 3
    assert answer["usage"]["completion_tokens"] == sum(CHOICE_LENGTHS)


def test_limits_of_the_client_hold(replaying: Replaying) -> None:
    recording = min(replaying.recordings, key=lambda row: abs(row.output_tokens - 50))
    url = replaying.engine.url + COMPLETIONS
    length = recording.output_tokens

    def ask(**fields: Any) -> tuple[int, str]:
        return ending(post(url, {"prompt": recording.prompt, **fields}))

    assert ask(max_tokens=length - 1) == (length - 1, "length")
    assert ask(max_tokens=length) == (length, "stop")
    assert ask(max_tokens=length + 60, min_tokens=length + 40) == (length + 40, "stop")
    assert ask(max_tokens=length + 10, ignore_eos=True) == (length + 10, "length")


def test_prompt_that_is_not_in_the_file_runs_as_it_likes(replaying: Replaying) -> None:
    # The likeliest token decides: random weights do not end an answer here.
    body = {"prompt": UNKNOWN, "max_tokens": LONGEST_ANSWER_TOKENS + 20, "temperature": 0}
    answer = post(replaying.engine.url + COMPLETIONS, body)

    assert ending(answer) == (LONGEST_ANSWER_TOKENS + 20, "length")
