"""Tier 1 for those who wait: on threads, newest first, and never for nobody.

In come waiting requests, out come better predictions, called back on the event loop. The backlog
is bounded: a newer request crowds the oldest out, because the oldest is the next to be served and
has the least use for a better rank. Without a queue nothing here runs, not even a thread.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from secrets import token_bytes
from typing import Protocol

from alise_core.clock import Clock
from alise_gateway.domain.prediction import Refinement
from alise_gateway.settings import PredictorSettings
from alise_predictor.prediction import RawPrediction
from alise_predictor.request import PredictionRequest

_DIGEST_BYTES = 16


class RefinementMeter(Protocol):
    """Who counts."""

    def refined(self, result: Refinement) -> None:
        """A refinement has ended."""
        ...


class RefinementTask:
    """One refinement that was asked for.

    Attributes:
        work: The refinement itself; runs on a thread.
        on_done: Told the result, on the event loop; emptied when nobody waits for it.
        asked: Monotonic mark.
    """

    __slots__ = ("asked", "on_done", "work")

    def __init__(
        self,
        work: Callable[[], RawPrediction],
        on_done: Callable[[RawPrediction], None],
        asked: float,
    ) -> None:
        self.work = work
        self.on_done: Callable[[RawPrediction], None] | None = on_done
        self.asked = asked


class Refiner:
    """See the module; used on the event loop only."""

    def __init__(self, settings: PredictorSettings, clock: Clock, meter: RefinementMeter) -> None:
        self._settings = settings
        self._clock = clock
        self._meter = meter
        self._backlog: dict[RefinementTask, None] = {}
        self._running = 0
        self._executor: ThreadPoolExecutor | None = None

    @property
    def pending(self) -> int:
        """Refinements asked for and not begun."""
        return len(self._backlog)

    def submit(
        self, work: Callable[[], RawPrediction], on_done: Callable[[RawPrediction], None]
    ) -> RefinementTask:
        """Refine when a thread is free.

        Args:
            work: Called on a thread.
            on_done: Called on the loop with the result, unless cancelled, late or failed.
        """
        task = RefinementTask(work, on_done, self._clock.now())
        self._backlog[task] = None
        if len(self._backlog) > self._settings.refine_backlog:
            self._drop(next(iter(self._backlog)), Refinement.CROWDED_OUT)
        self._start()
        return task

    def cancel(self, task: RefinementTask) -> None:
        """Nobody waits for it any more; one that is over already is left alone."""
        if task.on_done is not None:
            self._drop(task, Refinement.CANCELLED)

    async def close(self) -> None:
        """Begin nothing more and let threads end."""
        for task in list(self._backlog):
            self._drop(task, Refinement.CANCELLED)
        if self._executor is not None:
            await asyncio.to_thread(self._executor.shutdown)
            self._executor = None

    def _drop(self, task: RefinementTask, result: Refinement) -> None:
        task.on_done = None
        self._backlog.pop(task, None)
        self._meter.refined(result)

    def _start(self) -> None:
        while self._backlog and self._running < self._settings.refine_workers:
            task, _ = self._backlog.popitem()
            if self._is_late(task):
                self._drop(task, Refinement.LATE)
                continue
            if self._executor is None:
                self._executor = ThreadPoolExecutor(
                    self._settings.refine_workers, thread_name_prefix="refine"
                )
            self._running += 1
            future = asyncio.get_running_loop().run_in_executor(self._executor, task.work)
            future.add_done_callback(lambda done, task=task: self._finished(task, done))  # type: ignore[misc]

    def _finished(self, task: RefinementTask, done: "asyncio.Future[RawPrediction]") -> None:
        self._running -= 1
        error = None if done.cancelled() else done.exception()
        on_done = task.on_done
        if on_done is not None:
            if error is not None or done.cancelled():
                self._drop(task, Refinement.FAILED)
            elif self._is_late(task):
                self._drop(task, Refinement.LATE)
            else:
                task.on_done = None
                self._meter.refined(Refinement.DONE)
                on_done(done.result())
        self._start()

    def _is_late(self, task: RefinementTask) -> bool:
        return self._clock.now() - task.asked > self._settings.refine_deadline_seconds


class RefinementCache:
    """Refinements by a keyed hash of what was asked; holds no text, and its keys tell none.

    Args:
        entries: How many are kept, the most recently used ones.
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._found: OrderedDict[bytes, RawPrediction] = OrderedDict()
        self._secret = token_bytes(_DIGEST_BYTES)

    def __len__(self) -> int:
        return len(self._found)

    def key(self, request: PredictionRequest, artifact: str) -> bytes:
        """Identifies everything that a refinement depends on."""
        shape = (
            artifact,
            request.model,
            len(request.prompt),
            request.prompt_bytes,
            request.turns,
            request.tools,
            request.json_mode,
            request.after_tool,
        )
        digest = blake2b(repr(shape).encode(), digest_size=_DIGEST_BYTES, key=self._secret)
        digest.update(request.prompt)
        digest.update(request.system)
        return digest.digest()

    def get(self, key: bytes) -> RawPrediction | None:
        """What was remembered, without features."""
        found = self._found.get(key)
        if found is not None:
            self._found.move_to_end(key)
        return found

    def put(self, key: bytes, refined: RawPrediction) -> None:
        """Remember; ``refined`` is without features, which are large."""
        self._found[key] = refined
        if len(self._found) > self._entries:
            self._found.popitem(last=False)
