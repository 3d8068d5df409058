"""A pool over a day in virtual time: requests, engines, restarts, and looks at regular times.

Requests go at once to the serving pod that has the fewest, as a load balancer sends them: the
gateway, which would hold back what does not fit, is left out, so that all of the pressure meets
the engines. A pod that restarts takes nothing new, finishes what it has up to a deadline, hands
the rest to others, and is away for as long as a start takes. There is no spare accelerator.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from alise_bench.sim.counted_state import CountedRequest, EventKind
from alise_bench.sim.step_model import Profile
from alise_bench.tuner.day import Asked
from alise_bench.tuner.pool import PodState, SimPod, make_pod, restart
from alise_bench.tuner.profiles import H100_24B
from alise_bench.tuner.rows import Start
from alise_core.units import Seconds

TOKEN_SECONDS = 0.03
"""A token's time in a busy pod with exact KV, for what loads are measured by and what the oracle is
told: 22 ms, the batch's sequences and 127,000 positions read, by the step model."""
_PACE_WEIGHT = 0.02
"""Of one more answer in the pace that gateways learn."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What all rows share.

    Attributes:
        profile: Of a pod with exact KV.
        pods: How many.
        look_seconds: Between two scrapes, and two decisions.
        start_seconds: From a pod's end until its successor serves: loading 47 GB of weights,
            compiling, warming up. An assumption; a tiny model on a CPU takes 23 to 32 s.
        drain_seconds: That requests may go on in a pod that is to restart
            (``terminationGracePeriodSeconds``).
        fp8_slowdown: Of steps with packed KV.
    """

    profile: Profile = H100_24B
    pods: int = 4
    look_seconds: float = 10.0
    start_seconds: float = 120.0
    drain_seconds: float = 600.0
    fp8_slowdown: float = 1.0


class _Kind(IntEnum):
    """Events of one moment are handled in this order."""

    STEP_END = 0
    READY = 1
    ARRIVAL = 2
    LOOK = 3


@dataclass(slots=True)
class Marks:
    """What became of one request; times in seconds of the day."""

    first_token: float | None = None
    last_token: float | None = None
    preemptions: int = 0
    cut: int = 0
    """Times that its pod went away before it was answered: begun anew elsewhere."""
    exact: bool = True
    """Its KV was never quantized on the device."""


@dataclass(slots=True)
class World:
    """See the module.

    Attributes:
        asked: The day's requests.
        start: What pods start with; the dtype of a restarted pod is given then.
        setup: Shared by all rows.
        look: Called at regular times with the world and the time.
        sent: When each request that is not answered was given to its pod, or began to wait for
            one.
        token_seconds: Between two tokens of an answer, as those of late had it.
    """

    asked: Sequence[Asked]
    start: Start
    setup: Setup
    look: Callable[["World", float], None]
    pods: list[SimPod] = field(default_factory=list)
    marks: list[Marks] = field(default_factory=list)
    sent: dict[int, float] = field(default_factory=dict)
    token_seconds: float = TOKEN_SECONDS
    now: float = 0.0
    _heap: list[tuple[float, int, int, int, int]] = field(default_factory=list)
    _parked: list[int] = field(default_factory=list)
    _wanted: dict[int, str] = field(default_factory=dict)
    _count: int = 0
    _left: int = 0

    def run(self) -> "World":
        """Serve the whole day, to the last answer."""
        setup = self.setup
        self.pods = [
            make_pod(place, self.start, setup.profile, setup.fp8_slowdown)
            for place in range(setup.pods)
        ]
        self.marks = [Marks() for _ in self.asked]
        self._left = len(self.asked)
        if self.asked:
            self._after(self.asked[0].at, _Kind.ARRIVAL, 0)
        self._after(0.0, _Kind.LOOK, 0)
        while self._left and self._heap:
            self.now, kind, _, place, life = heapq.heappop(self._heap)
            if kind == _Kind.STEP_END:
                self._end_step(self.pods[place], life)
            elif kind == _Kind.ARRIVAL:
                self._arrive(place)
            elif kind == _Kind.READY:
                self._ready(self.pods[place])
            else:
                self._look()
        return self

    def tune(
        self,
        pod: SimPod,
        *,
        cap: int | None,
        level: str | None,
        eviction: str | None,
        tier_bytes: int | None,
    ) -> None:
        """Change a running engine; ``None`` leaves a setting as it is."""
        if cap is not None:
            pod.engine.cap(cap, Seconds(self.now))
            self._go_on(pod)
        if pod.tier is not None:
            pod.tier.level = level or pod.tier.level
            pod.tier.eviction = eviction or pod.tier.eviction
            pod.tier.capacity_bytes = tier_bytes or pod.tier.capacity_bytes

    def drain(self, pod: SimPod, dtype: str) -> None:
        """Have a pod restart with a dtype once it is empty, or at the deadline."""
        pod.state = PodState.DRAINING
        pod.deadline = self.now + self.setup.drain_seconds
        self._wanted[pod.place] = dtype
        if not pod.outstanding:
            self._stop(pod)

    def _arrive(self, number: int) -> None:
        self._send(number)
        if number + 1 < len(self.asked):
            self._after(self.asked[number + 1].at, _Kind.ARRIVAL, number + 1)

    def _send(self, number: int) -> None:
        self.sent[number] = self.now
        serving = [pod for pod in self.pods if pod.state is PodState.SERVING]
        if not serving:
            self._parked.append(number)
            return
        pod = min(serving, key=lambda one: (len(one.outstanding), one.place))
        item = self.asked[number]
        pod.outstanding.add(number)
        if pod.dtype != "auto":
            self.marks[number].exact = False
        request = CountedRequest(number, item.prompt_tokens, item.output_tokens)
        pod.engine.submit(request, Seconds(self.now))
        self._go_on(pod)

    def _end_step(self, pod: SimPod, life: int) -> None:
        if pod.life != life or pod.end != self.now or pod.engine.next_end != self.now:
            return  # a submission has brought the end forward, or the engine is gone
        for event in pod.engine.end(Seconds(self.now)):
            marks = self.marks[event.number]
            if event.kind is EventKind.PREEMPTED:
                marks.preemptions += 1
            elif event.kind is EventKind.FIRST_TOKEN:
                marks.first_token = marks.first_token or event.time
            else:
                self._answer(pod, event.number, event.time)
        if pod.state is PodState.DRAINING and not pod.outstanding:
            self._stop(pod)
        else:
            self._go_on(pod)

    def _answer(self, pod: SimPod, number: int, time: float) -> None:
        item, marks = self.asked[number], self.marks[number]
        marks.first_token = marks.first_token or time
        marks.last_token = time
        pod.outstanding.discard(number)
        pod.finished += 1
        if pod.tier is not None:
            pod.tier.forget(number)
        took = (time - self.sent.pop(number)) / item.output_tokens
        self.token_seconds += _PACE_WEIGHT * (took - self.token_seconds)
        self._left -= 1

    def _look(self) -> None:
        for pod in self.pods:
            if pod.state is PodState.DRAINING and self.now >= pod.deadline:
                self._stop(pod)
        self.look(self, self.now)
        self._after(self.now + self.setup.look_seconds, _Kind.LOOK, 0)

    def _stop(self, pod: SimPod) -> None:
        """The pod's end; what it did not finish begins anew elsewhere."""
        pod.state = PodState.STARTING
        left = sorted(pod.outstanding)
        pod.outstanding.clear()
        start = replace(self.start, dtype=self._wanted.pop(pod.place))
        restart(pod, start, self.setup.profile, self.setup.fp8_slowdown)
        self._after(self.now + self.setup.start_seconds, _Kind.READY, pod.place, pod.life)
        for number in left:
            self.marks[number].cut += 1
            self._send(number)

    def _ready(self, pod: SimPod) -> None:
        pod.state, pod.serving_since = PodState.SERVING, self.now
        parked, self._parked = self._parked, []
        for number in parked:
            self._send(number)

    def _go_on(self, pod: SimPod) -> None:
        end = pod.engine.next_end
        if end is None:
            end = pod.engine.begin(Seconds(self.now))
        if end is not None and end != pod.end:
            self._after(end, _Kind.STEP_END, pod.place, pod.life)
        pod.end = end

    def _after(self, time: float, kind: _Kind, place: int, life: int = 0) -> None:
        self._count += 1
        heapq.heappush(self._heap, (time, kind, self._count, place, life))
