"""Short requests behind long ones, on real vLLM servers: with our scheduler and with its own."""

import asyncio
import json
import statistics
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from running.process import ServerProcess
from running.vllm import MODEL, PLUGIN, VllmEnvironment, VllmServer, start_vllm

COMPLETIONS = "/v1/completions"
PREEMPTIONS = "vllm:num_preemptions_total"
USAGE = "vllm:kv_cache_usage_perc"
FLAGS = (
    "--max-num-seqs=2",
    "--scheduling-policy=priority",
    "--enable-per-request-metrics",
)
SCHEDULER = "--scheduler-cls=alise_vllm.scheduler.AliseScheduler"
LONG, SHORT = 1_200, 20
SHORTS = 3
STARTED_EVENTS = 100
"""Long requests are in the middle of their answers when the short ones come."""
LEAST_GAIN = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how long it waited for a slot, milliseconds."""

    tokens: int
    finish_reason: str
    queue_ms: float


def started(
    name: str,
    flags: tuple[str, ...],
    environment: VllmEnvironment,
    logs: Path,
    processes: list[ServerProcess],
) -> VllmServer:
    server = start_vllm(environment, name, logs, 1, (*FLAGS, *flags), PLUGIN)
    processes.append(server.process)
    return server.wait_until_ready()


@pytest.fixture(scope="module")
def ours(
    environment: VllmEnvironment, logs: Path, processes: list[ServerProcess]
) -> Iterator[VllmServer]:
    server = started("vllm-alise", (SCHEDULER,), environment, logs, processes)
    yield server
    server.process.stop()


@pytest.fixture
async def client(ours: VllmServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=ours.url, timeout=120) as made:
        yield made


def body(prompt: str, tokens: int, **fields: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "prompt": prompt,
        "max_tokens": tokens,
        "ignore_eos": True,
        "temperature": 0,
        **fields,
    }


def told(tokens: int, rank: int = 0) -> dict[str, Any]:
    said = {"alise_p50": tokens, "alise_p90": tokens + tokens // 4, "alise_class": rank}
    return {"vllm_xargs": said}


async def ask(client: httpx.AsyncClient, asked: dict[str, Any]) -> Answer:
    reply = await client.post(COMPLETIONS, json=asked)
    assert reply.status_code == httpx.codes.OK, reply.text
    found = reply.json()
    return Answer(
        found["usage"]["completion_tokens"],
        found["choices"][0]["finish_reason"],
        found["metrics"]["queue_time_ms"],
    )


async def stream(
    client: httpx.AsyncClient, asked: dict[str, Any], begun: asyncio.Event
) -> tuple[int, str]:
    """Tokens and how it ended; says when it is well under way."""
    events, tokens, ending = 0, 0, ""
    wanted = {**asked, "stream": True, "stream_options": {"include_usage": True}}
    async with client.stream("POST", COMPLETIONS, json=wanted) as reply:
        assert reply.status_code == httpx.codes.OK
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if event.get("usage") is not None:
                # One event may carry several tokens; the last one counts them.
                tokens = event["usage"]["completion_tokens"]
                continue
            ending = event["choices"][0]["finish_reason"] or ""
            events += 1
            if events >= STARTED_EVENTS:
                begun.set()
    return tokens, ending


async def short_behind_long(url: str) -> tuple[list[Answer], list[tuple[int, str]]]:
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        await ask(client, body("warm", SHORT))
        begun = [asyncio.Event() for _ in range(2)]
        longs = [
            asyncio.create_task(stream(client, body(f"long {at}", LONG, **told(LONG)), event))
            for at, event in enumerate(begun)
        ]
        for event in begun:
            await event.wait()
        shorts = await asyncio.gather(
            *(ask(client, body(f"short {at}", SHORT, **told(SHORT))) for at in range(SHORTS))
        )
        return shorts, await asyncio.gather(*longs)


async def test_short_requests_wait_a_tenth_at_most_of_what_they_do_with_vllms_own(
    ours: VllmServer, environment: VllmEnvironment, logs: Path, processes: list[ServerProcess]
) -> None:
    stock = started("vllm-stock", (), environment, logs, processes)
    try:
        before, long_before = await short_behind_long(stock.url)
    finally:
        stock.process.stop()
    preempted = ours.metrics().sum(PREEMPTIONS)
    after, long_after = await short_behind_long(ours.url)

    waited = [statistics.median(answer.queue_ms for answer in found) for found in (before, after)]
    print(f"median queue time of short requests: {waited[0]:.1f} ms, then {waited[1]:.1f} ms")
    assert waited[0] >= LEAST_GAIN * waited[1]
    assert max(answer.queue_ms for answer in after) * LEAST_GAIN <= waited[0]
    for found in (before, after):
        assert [(each.tokens, each.finish_reason) for each in found] == [(SHORT, "length")] * SHORTS
    assert long_before == long_after == [(LONG, "length")] * 2
    assert ours.metrics().sum(PREEMPTIONS) - preempted == 2
    assert ours.metrics().sum(USAGE) == 0


async def test_predictions_of_no_use_end_no_request(client: httpx.AsyncClient) -> None:
    garbage: list[dict[str, Any]] = [
        {"alise_p50": -1},
        {"alise_p50": "many", "alise_p90": [1, 2]},
        {"alise_p50": 1e300, "alise_p90": 1e308, "alise_class": -5},
        {"alise_p50": 50, "alise_p90": 1},
        {"alise_class": 10**12, "alise_call_seconds": -1.0},
        {"alise_p50": 1e-300},
    ]

    answers = await asyncio.gather(
        *(ask(client, body(f"garbage {at}", 30, vllm_xargs=it)) for at, it in enumerate(garbage))
    )

    assert [(each.tokens, each.finish_reason) for each in answers] == [(30, "length")] * 6


async def test_a_client_that_leaves_a_preempted_request_leaves_nothing(
    ours: VllmServer, client: httpx.AsyncClient
) -> None:
    begun = [asyncio.Event() for _ in range(2)]
    leaving = [
        asyncio.create_task(stream(client, body(f"leave {at}", LONG, **told(LONG, 1)), event))
        for at, event in enumerate(begun)
    ]
    for event in begun:
        await event.wait()
    # Of a better class, they take both slots for as long as they run.
    staying = [
        asyncio.create_task(ask(client, body(f"stay {at}", 400, **told(400)))) for at in range(2)
    ]
    # Another process tells it, when it is asked.
    while ours.metrics().sum("vllm:num_requests_waiting") < len(leaving):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    for task in leaving:
        task.cancel()
    answers = await asyncio.gather(*staying)

    assert [each.tokens for each in answers] == [400, 400]
    assert (await ask(client, body("last", SHORT))).tokens == SHORT
    assert ours.busy == 0
    assert ours.metrics().sum(USAGE) == 0
