"""The engine in real time: one task that steps the scheduler and wakes the readers.

In: sequence requests from the HTTP handlers. Out: per request an ``OutputStream`` that tells
how many tokens each choice has gained. The loop is the only owner of the scheduler's progress;
it sleeps to absolute deadlines, so rounding of single sleeps does not accumulate, and waits on
an event while there is nothing to compute.
"""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from alise_bench.sim.metrics import EngineMetrics
from alise_bench.sim.scheduler import Emitted, Scheduler, SchedulerConfig
from alise_bench.sim.sequence import FinishReason, Sequence, SequenceRequest
from alise_bench.sim.step_model import Profile
from alise_core.clock import Clock
from alise_core.units import Seconds

SHORTEST_SLEEP_SECONDS = 0.0005
"""Below the event loop's timer resolution; a shorter wait is taken with the next step's."""
FALLEN_BEHIND_SECONDS = 0.25
"""An engine this late starts counting anew instead of racing to catch up."""


class QueueFull(Exception):
    """The engine's admission limits refuse a request; ``reason`` names the limit."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Pacer(Protocol):
    """How the engine lets time pass."""

    async def sleep_until(self, deadline: Seconds) -> None:
        """Return at or shortly before ``deadline`` on the engine's clock; always yields once."""


class RealPacer:
    """Sleeps on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def sleep_until(self, deadline: Seconds) -> None:
        """Sleep; waits below the timer resolution only yield."""
        delay = deadline - self._clock.now()
        await asyncio.sleep(delay if delay > SHORTEST_SLEEP_SECONDS else 0)


@dataclass(slots=True)
class Gain:
    """Tokens that one choice gained since its reader last looked."""

    choice: int
    start: int
    """Index of the first new token."""
    count: int
    finish: FinishReason | None = None


class OutputStream:
    """What one HTTP request reads: gains of its choices, merged while the reader is slow."""

    def __init__(self, sequences: list[Sequence]) -> None:
        self.sequences = sequences
        self.unfinished = len(sequences)
        self._gains: dict[int, Gain] = {}
        self._waiter: asyncio.Future[None] | None = None

    def put(self, choice: int, index: int, finish: FinishReason | None) -> None:
        """Add one token; called by the engine only."""
        gain = self._gains.get(choice)
        if gain is None:
            self._gains[choice] = Gain(choice, index, 1, finish)
        else:
            gain.count += 1
            gain.finish = finish
        if finish is not None:
            self.unfinished -= 1
        self.wake()

    def wake(self) -> None:
        """Let the reader look."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    async def take(self) -> Collection[Gain]:
        """Wait for gains and take them."""
        while not self._gains:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        gains, self._gains = self._gains, {}
        return gains.values()


@dataclass(frozen=True, slots=True)
class Admission:
    """vLLM's queue limits; ``None`` admits everything."""

    max_num_queued_reqs: int | None = None
    """Requests waiting or running."""
    max_num_queued_tokens: int | None = None
    """Prompt tokens of requests that have no output yet."""


class Engine:
    """One simulated engine.

    Args:
        model_name: Label of its metrics.
        profile: Step times and sizes.
        scheduler: Its limits.
        clock: Time.
        admission: Queue limits.
        pacer: How time passes; real sleeping unless given.
    """

    def __init__(
        self,
        model_name: str,
        profile: Profile,
        scheduler: SchedulerConfig,
        clock: Clock,
        admission: Admission = Admission(),
        pacer: Pacer | None = None,
    ) -> None:
        self.profile = profile
        self.scheduler = Scheduler(scheduler)
        self.clock = clock
        self.metrics = EngineMetrics(
            model_name,
            replace(
                profile,
                num_blocks=scheduler.num_blocks,
                block_size=scheduler.block_size,
                max_model_len=scheduler.max_model_len,
            ),
            self.scheduler,
        )
        self.steps = 0
        self._repeated = 0
        self._admission = admission
        self._pacer = RealPacer(clock) if pacer is None else pacer
        self._readers: dict[Sequence, tuple[OutputStream, int]] = {}
        self._slowdowns: list[float] = []
        self._work = asyncio.Event()

    def submit(self, requests: list[SequenceRequest]) -> OutputStream:
        """Queue the choices of one request.

        Raises:
            QueueFull: A queue limit is met; nothing was queued.
            ValueError: A request can never run; nothing was queued.
        """
        self._admit(len(requests))
        now = self.clock.now()
        stream = OutputStream([])
        for choice, request in enumerate(requests):
            sequence = self.scheduler.add(self._unique(request), now)
            stream.sequences.append(sequence)
            self._readers[sequence] = (stream, choice)
        stream.unfinished = len(requests)
        self._work.set()
        return stream

    def _unique(self, request: SequenceRequest) -> SequenceRequest:
        """The request under an id that is free: clients may repeat theirs, as retries do."""
        if request.request_id not in self.scheduler.sequences:
            return request
        self._repeated += 1
        return replace(request, request_id=f"{request.request_id}-r{self._repeated}")

    def abort(self, stream: OutputStream) -> None:
        """Forget what is unfinished of a stream; its blocks are free at once."""
        for sequence in stream.sequences:
            if self._readers.pop(sequence, None) is not None:
                self.scheduler.abort(sequence.request.request_id)
        self.metrics.sample()
        self._work.set()

    def abort_ids(self, request_ids: Iterable[str]) -> None:
        """Finish requests by engine id; unknown ids are ignored, as in vLLM."""
        for request_id in request_ids:
            sequence = self.scheduler.sequences.get(request_id)
            if sequence is not None and sequence in self._readers:
                stream, choice = self._readers.pop(sequence)
                self.scheduler.abort(request_id)
                stream.put(choice, sequence.generated, FinishReason.ABORT)

    def slow_down(self, factor: float) -> None:
        """Multiply step times until :meth:`speed_up` is called with the same factor."""
        self._slowdowns.append(factor)

    def speed_up(self, factor: float) -> None:
        """Undo one :meth:`slow_down`."""
        self._slowdowns.remove(factor)

    async def run(self) -> None:
        """Step for ever; ends by cancellation."""
        deadline = self.clock.now()
        while True:
            plan = self.scheduler.schedule(self.clock.now())
            if not plan.tokens:
                # A plan that only preempted is followed by one that resumes.
                if not plan.preempted:
                    self._work.clear()
                    self.metrics.sample()
                    await self._work.wait()
                    deadline = self.clock.now()
                continue
            factor = max(self._slowdowns, default=1.0)
            now = self.clock.now()
            if now - deadline > FALLEN_BEHIND_SECONDS:
                deadline = now
            deadline = Seconds(deadline + factor * self.profile.step_seconds(plan.batch))
            self.metrics.sample()
            await self._pacer.sleep_until(deadline)
            self._deliver(self.scheduler.complete(plan, self.clock.now()))

    def _deliver(self, emitted: list[Emitted]) -> None:
        self.steps += 1
        for output in emitted:
            sequence = output.sequence
            if output.finish is None:
                stream, choice = self._readers[sequence]
            else:
                stream, choice = self._readers.pop(sequence)
            stream.put(choice, sequence.generated - 1, output.finish)
        self.metrics.stepped(emitted)

    def _admit(self, count: int) -> None:
        limit = self._admission.max_num_queued_reqs
        if limit is not None and len(self.scheduler.sequences) + count > limit:
            self._refuse("max_num_queued_reqs", "in-flight requests", limit)
        limit = self._admission.max_num_queued_tokens
        if limit is not None and self._prefilling_tokens() >= limit:
            self._refuse("max_num_queued_tokens", "prompt tokens in prefill", limit)

    def _refuse(self, reason: str, noun: str, limit: int) -> None:
        self.metrics.rejected(reason)
        raise QueueFull(reason, f"Server is overloaded: {reason}={limit} {noun} reached.")

    def _prefilling_tokens(self) -> int:
        return sum(
            len(sequence.request.prompt)
            for sequence in self.scheduler.sequences.values()
            if sequence.first_token is None
        )
