"""Works off a queue of keys: a few tasks, each with one key at a time.

The queue decides what is next and when; this waits, works, and hands back how it went. A key whose
work fails is tried again after its backoff; a line in the log says so when it begins to fail, and
when the reason is another one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

import structlog

from alise_core.clock import Clock
from alise_core.errors import AliseError
from alise_operator.work_queue import WorkQueue

KeyT = TypeVar("KeyT", bound=Hashable)

Work = Callable[[KeyT], Awaitable[float | None]]
"""Looks at one key. Returns the seconds until it wants to look again, ``None`` for not by itself.
Raises AliseError where that could not be done now."""


class WorkResult(StrEnum):
    """How looking at a key went."""

    DONE = "done"
    FAILED = "failed"
    """As can happen: the API server was away, an object changed meanwhile."""
    CRASHED = "crashed"
    """A bug."""


Observe = Callable[[KeyT, WorkResult, float], None]
"""Told of every key that was worked on, how that went, and the seconds it took."""


async def wait_for(event: asyncio.Event, seconds: float | None) -> None:
    """Until the event is set, or so many seconds have passed."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


@dataclass(frozen=True, slots=True)
class Pace:
    """How time passes for workers; injected, so that tests need not wait.

    Attributes:
        clock: Says when keys are due.
        wait: Waits for an event at most so many seconds.
        tasks: Keys that are worked on at once, at most.
    """

    clock: Clock
    wait: Callable[[asyncio.Event, float | None], Awaitable[None]] = wait_for
    tasks: int = 4


class Workers(Generic[KeyT]):
    """Tasks that work off one queue while ``run`` runs.

    Args:
        name: Of the tasks, and in logs.
        queue: Of keys; nobody else takes from it.
        work: Looks at one key.
        pace: How to wait.
        observe: Told of every key that was worked on.
    """

    def __init__(
        self,
        name: str,
        queue: WorkQueue[KeyT],
        work: Work[KeyT],
        pace: Pace,
        observe: Observe[KeyT] | None = None,
    ) -> None:
        self.queue = queue
        self._name = name
        self._work = work
        self._pace = pace
        self._observe = observe
        self._more = asyncio.Event()
        self._failing: dict[KeyT, str] = {}
        self._log = structlog.get_logger("alise_operator")

    def add(self, key: KeyT, delay: float = 0.0) -> None:
        """Have a key looked at within so many seconds."""
        self.queue.add(key, self._pace.clock.now() + delay)
        self._more.set()

    def discard(self, key: KeyT) -> None:
        """Nobody wants to look at a key any more."""
        self.queue.discard(key)
        self._failing.pop(key, None)

    async def run(self) -> None:
        """Work until cancelled; what waits then is forgotten."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._pace.tasks):
                    group.create_task(self._toil(), name=f"{self._name}-{number}")
        finally:
            self.queue.clear()
            self._failing.clear()

    async def _toil(self) -> None:
        clock = self._pace.clock
        while True:
            key = self.queue.take(clock.now())
            if key is not None:
                await self._look_at(key)
                continue
            due = self.queue.next_due()
            # Cleared before waiting and after looking: what comes in between sets it again.
            self._more.clear()
            await self._pace.wait(self._more, None if due is None else max(0, due - clock.now()))

    async def _look_at(self, key: KeyT) -> None:
        clock, began = self._pace.clock, self._pace.clock.now()
        again: float | None = None
        result = WorkResult.CRASHED
        try:
            again = await self._work(key)
            result = WorkResult.DONE
            self._failing.pop(key, None)
        except AliseError as error:
            result = WorkResult.FAILED
            self._note_failure(key, str(error))
        except Exception:
            # The boundary of one key's work: the next try starts afresh.
            self._log.exception(f"{self._name}_crashed", key=str(key))
        finally:
            now = clock.now()
            self.queue.finish(key, now, failed=result is not WorkResult.DONE)
            self._more.set()
        if again is not None:
            self.add(key, again)
        if self._observe is not None:
            self._observe(key, result, now - began)

    def _note_failure(self, key: KeyT, reason: str) -> None:
        before, self._failing[key] = self._failing.get(key), reason
        log = self._log.debug if before == reason else self._log.warning
        log(f"{self._name}_failed", key=str(key), reason=reason)
