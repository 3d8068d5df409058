"""Clients that never stop asking, and what each request came to."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai

from running.cluster.objects import MODEL
from running.scrape import eventually

COMPLETE = "complete"
REQUEST_SECONDS = 60.0
"""An answer that takes longer counts as hanging."""
STARTED_SECONDS = 60.0
AFTER_FAILURE_SECONDS = 1.0
"""A hundred clients of a server that is gone, asking ten times a second each, take the machine."""
TURN: list[Any] = [{"role": "user", "content": "Name a module."}]


@dataclass(frozen=True, slots=True)
class Ending:
    """One request: when it was, on the monotonic clock, and how it ended."""

    started: float
    ended: float
    outcome: str


@dataclass(slots=True)
class Load:
    """What the clients have seen so far."""

    endings: list[Ending] = field(default_factory=list)

    @property
    def failed(self) -> list[Ending]:
        return [each for each in self.endings if each.outcome != COMPLETE]

    @property
    def counts(self) -> Counter[str]:
        return Counter(each.outcome for each in self.endings)

    def more(self, number: int, seconds: float = REQUEST_SECONDS) -> None:
        """Wait until so many more requests have ended well."""
        wanted = self.counts[COMPLETE] + number
        eventually(
            lambda: self.counts[COMPLETE] >= wanted, seconds, f"{number} more: {self.counts}"
        )


@contextmanager
def load(
    base_url: str,
    clients: int = 4,
    *,
    key: str = "unused",
    tokens: int = 40,
    streamed: bool = True,
    first: int | None = None,
) -> Iterator[Load]:
    """Send without a pause while the block runs; waits for the last answers.

    Nothing is retried: a request that a client would have to send again has failed.

    Args:
        base_url: Of the API.
        clients: How many; each has one request at a time.
        key: Of all of them.
        tokens: Of each answer.
        streamed: Every other client streams; none does otherwise, which takes less of the machine.
        first: Answers that are waited for before the block runs; one for each client by default.
    """
    seen = Load()
    stop = threading.Event()

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(clients):
                streams = streamed and number % 2 == 0
                tasks.create_task(_client(base_url, key, tokens, streams, seen, stop))

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        seen.more(clients if first is None else first, STARTED_SECONDS)
        yield seen
    finally:
        stop.set()
        thread.join()


async def _client(
    base_url: str, key: str, tokens: int, stream: bool, seen: Load, stop: threading.Event
) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        while not stop.is_set():
            started = time.monotonic()
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    outcome = await _ask(client, tokens, stream)
            except (openai.OpenAIError, httpx.HTTPError, TimeoutError) as error:
                outcome = f"{type(error).__name__}: {error}"
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
            seen.endings.append(Ending(started, time.monotonic(), outcome))


async def _ask(client: openai.AsyncOpenAI, tokens: int, stream: bool) -> str:
    wanted: dict[str, Any] = {
        "model": MODEL,
        "messages": TURN,
        "max_tokens": tokens,
        "extra_body": {"ignore_eos": True},
    }
    if not stream:
        answer = await client.chat.completions.create(**wanted)
        whole = answer.usage is not None and answer.usage.completion_tokens == tokens
        return COMPLETE if whole else "cut short"
    chunks = await client.chat.completions.create(**wanted, stream=True)
    last = None
    async for chunk in chunks:
        last = chunk
    whole = last is not None and last.choices[0].finish_reason == "length"
    return COMPLETE if whole else "cut short"
