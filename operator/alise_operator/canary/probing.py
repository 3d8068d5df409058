"""Rounds of probes beside the looks at a pool: one takes longer than a look may.

A round is asked for, runs by itself, and is collected at a later look. There is one at a time for
each canary, and none goes on for one that is not looked at any more.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from alise_operator.canary.probe import (
    NotProbed,
    Prober,
    probe_pair,
    probe_prompts,
    served_model,
)
from alise_operator.canary.quality import TokenScore

PROBE_TOKENS = 48
"""That the unchanged engine draws per prompt: 16 prompts are some 1,200 tokens a round, with which
a dtype that is misread is told from one that is rounded (docs/results/quality-gate.md)."""

Scores = list[tuple[TokenScore, ...]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two engines that serve the same model.

    Attributes:
        unchanged: Where it is, without a path.
        changed: The canary.
        key: Of their API, if they have one.
    """

    unchanged: str
    changed: str
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one.

    Attributes:
        unchanged: Scores, text by text.
        changed: Of the same texts.
        problem: Why there are none; empty where there are.
    """

    unchanged: Scores = field(default_factory=list)
    changed: Scores = field(default_factory=list)
    problem: str = ""


class Probing:
    """All rounds that are under way.

    Args:
        create_client: Makes the HTTP client, on first use.
    """

    def __init__(self, create_client: Callable[[], httpx.AsyncClient] | None = None) -> None:
        self._create_client = create_client or _create_client
        self._client: httpx.AsyncClient | None = None
        self._rounds: dict[str, asyncio.Task[Round]] = {}

    def begin(self, canary: str, pair: Pair, number: int) -> None:
        """Start the round with this number, unless one is under way.

        Args:
            canary: Stands for the canary in all calls.
            pair: Whom to ask.
            number: Each draws other continuations.
        """
        if canary not in self._rounds:
            self._rounds[canary] = asyncio.create_task(self._run(pair, number), name="probes")

    def collect(self, canary: str) -> Round | None:
        """A round that has ended, once."""
        task = self._rounds.get(canary)
        if task is None or not task.done():
            return None
        del self._rounds[canary]
        return task.result()

    def drop(self, canary: str) -> None:
        """Nobody looks at this canary any more."""
        task = self._rounds.pop(canary, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """End everything that is under way."""
        tasks = list(self._rounds.values())
        for canary in tuple(self._rounds):
            self.drop(canary)
        await asyncio.gather(*tasks, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _run(self, pair: Pair, number: int) -> Round:
        client = self._client = self._client or self._create_client()
        prompts = probe_prompts()
        try:
            model = await served_model(client, pair.unchanged, key=pair.key)
            unchanged, changed = (
                Prober(client, url, model, key=pair.key) for url in (pair.unchanged, pair.changed)
            )
            seed = number * len(prompts)
            found = await probe_pair(unchanged, changed, prompts, PROBE_TOKENS, seed)
        except NotProbed as problem:
            return Round(problem=str(problem))
        return Round(*found)


def _create_client() -> httpx.AsyncClient:
    """No proxies or credentials from the environment."""
    # Each exchange is bounded as a whole, which httpx's timeouts per read do not do.
    return httpx.AsyncClient(timeout=None, trust_env=False)  # noqa: S113
