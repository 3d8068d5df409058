"""One of two vLLM servers dies under load: no client sees anything but a clean outcome."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from alise_core.outcome import Outcome
from running.gateway import GatewayServer, start_gateway
from running.process import ServerProcess
from running.scrape import eventually
from running.vllm import MODEL, VllmEnvironment, VllmServer, start_vllm

STREAMS = 8
PLAIN = 4
TOKENS = 600
TURN: list[Any] = [{"role": "user", "content": "Name a module."}]
MORE_SECONDS = 6.0
"""Load goes on for so long after the death."""
REQUEST_SECONDS = 60.0
"""An answer that takes longer counts as hanging."""


@pytest.fixture
def victim(
    environment: VllmEnvironment,
    engines: tuple[VllmServer, VllmServer],
    logs: Path,
    processes: list[ServerProcess],
) -> Iterator[VllmServer]:
    server = start_vllm(environment, "vllm-victim", logs, 1, ())
    processes.append(server.process)
    yield server.wait_until_ready()
    server.process.kill()


@pytest.fixture
def pair(
    victim: VllmServer,
    engines: tuple[VllmServer, VllmServer],
    logs: Path,
    processes: list[ServerProcess],
) -> Iterator[GatewayServer]:
    server = start_gateway("gateway-pair", [victim.url, engines[0].url], logs)
    processes.append(server.process)
    yield server
    server.process.stop()


class Load:
    """Clients that send one request after the other and write down how each ended."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client
        self.endings: Counter[str] = Counter()
        self.stop_at: float | None = None

    async def run(self, *, stream: bool) -> None:
        while self.stop_at is None or time.monotonic() < self.stop_at:
            ask = self._stream() if stream else self._plain()
            # A timeout, a broken connection, an answer cut short: all fail the test here.
            self.endings[await asyncio.wait_for(ask, REQUEST_SECONDS)] += 1

    async def _plain(self) -> str:
        try:
            answer = await self._client.chat.completions.create(
                model=MODEL, messages=TURN, max_tokens=TOKENS, extra_body={"ignore_eos": True}
            )
        except openai.APIStatusError as error:
            return clean(error)
        assert answer.usage
        assert answer.usage.completion_tokens == TOKENS
        return "complete"

    async def _stream(self) -> str:
        try:
            stream = await self._client.chat.completions.create(
                model=MODEL,
                messages=TURN,
                max_tokens=TOKENS,
                stream=True,
                extra_body={"ignore_eos": True},
            )
        except openai.APIStatusError as error:
            return clean(error)
        last = None
        try:
            async for chunk in stream:
                last = chunk
        except openai.APIConnectionError:
            raise
        except openai.APIError as error:
            # The client found an error event in the stream.
            check_shape(error)
            return "error event"
        assert last
        assert last.choices[0].finish_reason == "length"
        return "complete"


def clean(error: openai.APIStatusError) -> str:
    """An HTTP error that a client can act on."""
    check_shape(error)
    return f"HTTP {error.status_code}"


def check_shape(error: openai.APIError) -> None:
    assert isinstance(error.body, dict)
    assert error.body.keys() >= {"message", "type", "param", "code"}


async def test_death_of_a_backend(pair: GatewayServer, victim: VllmServer) -> None:
    async with openai.AsyncOpenAI(base_url=pair.api, api_key="unused", max_retries=0) as client:
        load = Load(client)
        async with asyncio.TaskGroup() as tasks:
            for number in range(STREAMS + PLAIN):
                tasks.create_task(load.run(stream=number < STREAMS))
            await asyncio.to_thread(
                eventually, lambda: load.endings["complete"] >= STREAMS, 120, "the load is going"
            )
            await asyncio.to_thread(
                eventually, lambda: victim.busy >= 4, 60, "the victim has work to lose"
            )
            victim.process.kill()
            load.stop_at = time.monotonic() + MORE_SECONDS
        afterwards = Load(client)
        afterwards.stop_at = time.monotonic() + 1
        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(afterwards.run(stream=number % 2 == 0))

    print(f"endings: {dict(load.endings)}; afterwards: {dict(afterwards.endings)}")
    assert load.endings["error event"] >= 1, "no stream was cut: the scenario proves nothing"
    assert load.endings.keys() <= {"complete", "error event", "HTTP 502", "HTTP 503"}
    assert afterwards.endings.keys() == {"complete"}
    total = sum(load.endings.values()) + sum(afterwards.endings.values())
    eventually(lambda: len(pair.finished_requests()) == total, 5, "every request has one log line")
    outcomes = Counter(line["outcome"] for line in pair.finished_requests())
    print(f"outcomes: {dict(outcomes)}")
    assert set(outcomes) <= set(Outcome)
    assert outcomes[Outcome.FAILED_BACKEND_LOST_MIDSTREAM] == load.endings["error event"]
    complete = load.endings["complete"] + afterwards.endings["complete"]
    assert outcomes[Outcome.COMPLETED] == complete
