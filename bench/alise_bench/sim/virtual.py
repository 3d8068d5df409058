"""Virtual time: runs the scheduler and the step model as a discrete-event simulation.

In: requests with arrival times. Out: one finished sequence each, with its marks in virtual
seconds. No event loop, no sleeping: a step costs what the model says and time jumps.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from alise_bench.sim.scheduler import Emitted, Scheduler, StepPlan
from alise_bench.sim.sequence import Sequence, SequenceRequest
from alise_bench.sim.step_model import Profile
from alise_core.units import Seconds


@dataclass(order=True, slots=True)
class Arrival:
    """A request and when it arrives."""

    time: Seconds
    number: int
    request: SequenceRequest = field(compare=False)


class VirtualEngine:
    """One engine in virtual time; a larger simulation may hold many and interleave them.

    Attributes:
        now: Virtual seconds; the end of the last step, or the last arrival handled while idle.
        busy_seconds: Time spent in steps.
        steps: How many.
    """

    def __init__(self, scheduler: Scheduler, profile: Profile, now: float = 0.0) -> None:
        self.scheduler = scheduler
        self.profile = profile
        self.now = Seconds(now)
        self.busy_seconds = 0.0
        self.steps = 0
        self._plan: StepPlan | None = None

    def submit(self, request: SequenceRequest, now: Seconds) -> Sequence:
        """Queue a request at ``now``, which is at most the end of the current step."""
        return self.scheduler.add(request, now)

    def begin_step(self, now: Seconds) -> Seconds | None:
        """Plan a step at ``now``; returns when it ends, ``None`` when there is nothing to do."""
        plan = self.scheduler.schedule(now)
        self.now = now
        if not plan.tokens:
            return None
        duration = self.profile.step_seconds(plan.batch)
        self._plan = plan
        self.busy_seconds += duration
        self.steps += 1
        return Seconds(now + duration)

    def end_step(self, now: Seconds) -> list[Emitted]:
        """Book the planned step at its end."""
        if self._plan is None:
            raise RuntimeError("no step was begun")
        plan, self._plan = self._plan, None
        self.now = now
        return self.scheduler.complete(plan, now)


def run(engine: VirtualEngine, arrivals: Iterable[tuple[float, SequenceRequest]]) -> list[Sequence]:
    """Serve all arrivals to the end.

    Returns: The sequences in order of finishing.
    """
    pending = [Arrival(Seconds(time), n, request) for n, (time, request) in enumerate(arrivals)]
    heapq.heapify(pending)
    done: list[Sequence] = []
    now = engine.now
    while pending or engine.scheduler.sequences:
        if not engine.scheduler.sequences:
            now = max(now, pending[0].time)
        _submit_until(engine, pending, now)
        end = engine.begin_step(now)
        # A step may preempt its only sequence; the next one resumes it.
        if end is not None:
            now = end
            done += [item.sequence for item in engine.end_step(now) if item.finish is not None]
    return done


def _submit_until(engine: VirtualEngine, pending: list[Arrival], now: Seconds) -> None:
    while pending and pending[0].time <= now:
        arrival = heapq.heappop(pending)
        engine.submit(arrival.request, arrival.time)
