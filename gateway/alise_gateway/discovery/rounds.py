"""Asking every listed backend something, again and again.

Each backend has a task of its own, so one that hangs delays nobody else. What is asked is the
business of the classes derived from ``BackendRounds``.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import httpx
import structlog

from alise_gateway.discovery.probe import ClientFactory, client_factory
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.domain.backend import Backend

_JITTER_RATIO = 0.1
"""Replicas of the gateway that start together must not ask together for ever."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """How to wait between rounds; injected, so that tests need not.

    Attributes:
        sleep: Waits some seconds.
        jitter: A number in [0, 1) that spreads the rounds of several gateways.
    """

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


MemoryT = TypeVar("MemoryT")
"""What is remembered of one backend from round to round."""


@dataclass(slots=True)
class _Loop:
    """Of one backend."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class BackendRounds(ABC, Generic[MemoryT]):
    """One task for each backend that the registry lists; additions and removals are followed.

    Args:
        registry: Whose backends are asked.
        interval_seconds: Between the end of a round and the next.
        create_client: Makes the HTTP client of one backend; the usual ones by default.
        pacing: How to wait.
    """

    asking: str
    """One word for it in task names and logs."""

    def __init__(
        self,
        registry: BackendRegistry,
        interval_seconds: float,
        create_client: ClientFactory | None,
        pacing: Pacing | None,
    ) -> None:
        self._registry = registry
        self._interval_seconds = interval_seconds
        self._create_client = create_client
        self._pacing = pacing or Pacing()
        self._is_running = False
        self._loops: dict[Backend, _Loop] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsubscribe: Callable[[], None] | None = None
        self._log = structlog.get_logger("alise_gateway.discovery")

    async def start(self) -> None:
        """Begin to ask every backend at once, and those that are added later."""
        if self._is_running:
            return
        self._is_running = True
        if self._create_client is None:
            self._create_client = client_factory()
        self._unsubscribe = self._registry.subscribe(self._follow_membership)
        self._follow_membership()

    async def first_round(self) -> None:
        """Wait until every backend that is known now has been asked once, well or not."""
        for loop in tuple(self._loops.values()):
            await loop.asked.wait()

    async def stop(self) -> None:
        """End all asking and close connections; may be called twice."""
        self._is_running = False
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        loops, self._loops = self._loops, {}
        for loop in loops.values():
            self._end(loop)
        # Includes the tasks of backends that were removed just now.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @abstractmethod
    def _remember(self, backend: Backend) -> MemoryT:
        """The memory that a backend begins with."""

    @abstractmethod
    async def _ask(self, memory: MemoryT, client: httpx.AsyncClient) -> None:
        """One round for one backend; bounds its own time."""

    def _follow_membership(self) -> None:
        create_client = self._create_client
        if not self._is_running or create_client is None:
            return
        current = set(self._registry.backends)
        for backend in [known for known in self._loops if known not in current]:
            self._end(self._loops.pop(backend))
        for backend in self._registry.backends:
            if backend not in self._loops:
                loop = self._loops[backend] = _Loop()
                loop.task = asyncio.create_task(
                    self._keep_asking(backend, loop, create_client()),
                    name=f"{self.asking}-{backend.name}",
                )
                self._tasks.add(loop.task)
                loop.task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _end(loop: _Loop) -> None:
        loop.asked.set()
        if loop.task is not None:
            loop.task.cancel()

    async def _keep_asking(self, backend: Backend, loop: _Loop, client: httpx.AsyncClient) -> None:
        memory = self._remember(backend)
        async with client:
            while True:
                try:
                    await self._ask(memory, client)
                except Exception:
                    # The boundary of a background loop: the next round starts afresh.
                    self._log.exception(f"{self.asking}_crashed", backend=backend.name)
                loop.asked.set()
                spread = _JITTER_RATIO * (2 * self._pacing.jitter() - 1)
                await self._pacing.sleep(self._interval_seconds * (1 + spread))
