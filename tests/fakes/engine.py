"""Simulated vLLM engines inside a test's own event loop, on real sockets.

    async with running_engine(fast_engine()) as engine:
        async with httpx.AsyncClient(base_url=engine.url) as client: ...

Starts in milliseconds on port 0 and leaves no task and no socket behind. On leaving, the
scheduler's invariants are asserted.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from alise_bench.sim.config import EngineConfig
from alise_bench.sim.faults import FaultPlan
from alise_bench.sim.lengths import Lengths, ReplayTable, prompt_key
from alise_bench.sim.scheduler import Scheduler
from alise_bench.sim.server import EngineServer
from alise_bench.sim.step_model import Profile

FAST = Profile(
    name="fast",
    overhead_seconds=0.0005,
    prefill_token_seconds=0.0,
    attention_pair_seconds=0.0,
    decode_sequence_seconds=0.0,
    kv_read_seconds=0.0,
    num_blocks=1024,
    block_size=16,
    max_model_len=4096,
    max_num_batched_tokens=2048,
    max_num_seqs=64,
    cache_dtype="auto",
    source="none: half a millisecond per step, so that tests are quick",
)


def fast_engine(step_seconds: float = 0.0005, **changes: Any) -> EngineConfig:
    """A configuration with a constant step time and short outputs; ``changes`` override it."""
    profile = replace(FAST, overhead_seconds=step_seconds)
    defaults: dict[str, Any] = {"profile": profile, "lengths": Lengths(median_tokens=12)}
    return EngineConfig(**{**defaults, **changes})


def replaying(**tokens_by_prompt: int) -> Lengths:
    """Output lengths by prompt text (for chat: the last user message)."""
    table = ReplayTable()
    for prompt, tokens in tokens_by_prompt.items():
        table.add(prompt_key(prompt), tokens)
    return Lengths(table, median_tokens=12)


class RunningEngine:
    """One engine that is listening.

    Attributes:
        server: The engine's server, for ``terminate`` and the like.
    """

    def __init__(self, server: EngineServer) -> None:
        self.server = server

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def name(self) -> str:
        """Host and port, as a gateway names the backend."""
        return f"{self.server.config.host}:{self.server.port}"

    @property
    def model(self) -> str:
        return self.server.config.model

    @property
    def faults(self) -> FaultPlan:
        return self.server.faults

    @property
    def scheduler(self) -> Scheduler:
        return self.server.engine.scheduler

    def open_requests(self) -> list[str]:
        """Engine ids of requests that are running or waiting."""
        return list(self.scheduler.sequences)

    def connections(self) -> int:
        """Open client connections, idle ones included."""
        return self.server.connections

    def metric(self, name: str, **labels: str) -> float:
        """Current value of a sample; 0 when it does not exist."""
        registry = self.server.engine.metrics.registry
        found = registry.get_sample_value(name, {"model_name": self.model, "engine": "0", **labels})
        if found is None:  # what the API server counts has no engine
            found = registry.get_sample_value(name, {"model_name": self.model, **labels})
        return found or 0.0

    async def stop(self) -> None:
        """Stop listening and cut every connection; ``start`` brings it back on the same port."""
        await self.server.stop()

    async def start(self) -> None:
        await self.server.start()

    async def until(self, condition: Callable[[], object], timeout_seconds: float = 2.0) -> None:
        """Let the loop run until ``condition()`` is true; fails after the timeout."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not reached within {timeout_seconds} s")
            await asyncio.sleep(0.001)

    async def until_idle(self, timeout_seconds: float = 2.0) -> None:
        """Until no request is open."""
        await self.until(lambda: not self.open_requests(), timeout_seconds)


@contextlib.asynccontextmanager
async def running_engine(config: EngineConfig | None = None) -> AsyncIterator[RunningEngine]:
    """Serve ``config`` (a fast engine unless given) for the length of the block."""
    server = EngineServer(fast_engine() if config is None else config)
    await server.start()
    try:
        yield RunningEngine(server)
    finally:
        await server.stop()
    server.engine.scheduler.check()
