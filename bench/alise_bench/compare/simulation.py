"""One row of a comparison in virtual time: the gateway's own decision code over simulated pods.

The queue, its controller, placement, admission, cost model and learner are the gateway's; the
engines are ``sim.counted``. What a real gateway does over a network takes ``HOP_SECONDS`` here.
Nothing waits in real time.
"""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from alise_bench.compare.guesses import Guesser
from alise_bench.compare.pods import Pod, make_pods
from alise_bench.compare.rows import Dispatcher, Row
from alise_bench.compare.served import ServedRequest
from alise_bench.sim.counted_state import CountedRequest, Event, EventKind
from alise_bench.sim.step_model import Profile
from alise_bench.sim.waiting import Policy
from alise_bench.workloads.traces import TraceRow
from alise_core.outcome import Outcome
from alise_core.service_class import class_of_tier
from alise_core.units import Seconds, TenantId
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.cost_model import Served
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.request import Tenant
from alise_gateway.placement.picker import BestBackend
from alise_gateway.queueing.controller import QueueController
from alise_gateway.queueing.events import ServedTokens, Ticket
from alise_gateway.queueing.state import QueueState

HOP_SECONDS = 0.001
"""From the gateway to an engine or back."""
TICK_SECONDS = 0.25
SCRAPE_SECONDS = 1.0
REFINE_SECONDS = 0.007
"""Of one core, one request after the other (docs/results/predictor-latency.md)."""
_REFINE_BACKLOG = 256


class _Kind(IntEnum):
    """Events of one moment are handled in this order."""

    STEP_END = 0
    ANSWERED = 1
    SUBMIT = 2
    ARRIVAL = 3
    REFINED = 4
    SCRAPE = 5
    TICK = 6


class VirtualClock:
    """A clock that the simulation sets."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> Seconds:
        """Seconds since the start."""
        return Seconds(self.time)

    def unix(self) -> Seconds:
        """The same."""
        return Seconds(self.time)


@dataclass(frozen=True, slots=True)
class Setup:
    """What all rows of a comparison share.

    Attributes:
        profile: Of each pod.
        pods: How many.
        engine_policy: vLLM's ``--scheduling-policy``.
        seed: Of everything that is drawn.
        tenants: Those that are not ordinary, by name.
    """

    profile: Profile
    pods: int = 1
    engine_policy: Policy = Policy.FCFS
    seed: int = 1
    tenants: dict[str, Tenant] = field(default_factory=dict)


def simulate(row: Row, trace: Sequence[TraceRow], guesser: Guesser, setup: Setup) -> "Simulation":
    """Serve a trace to its end.

    Returns: The simulation, over: its requests and pods can be looked at.
    """
    simulation = Simulation(row, trace, guesser, setup)
    simulation.run()
    return simulation


class Simulation:
    """See the module.

    Attributes:
        served: One per request of the trace, in its order.
        pods: The engines.
    """

    def __init__(self, row: Row, trace: Sequence[TraceRow], guesser: Guesser, setup: Setup) -> None:
        self.clock = VirtualClock()
        self.pods = make_pods(setup.pods, setup.profile, setup.engine_policy, row.policy.admission)
        self.served = [
            ServedRequest(number, item.arrival_s, tenant=item.tenant or "")
            for number, item in enumerate(trace)
        ]
        self._trace = trace
        self._setup = setup
        self._heap: list[tuple[float, int, int, int]] = []
        self._sequence = 0
        self._left = len(trace)
        self._router: _Gateway | _Balancer
        if row.dispatcher is Dispatcher.GATEWAY:
            self._router = _Gateway(self, row, guesser)
        else:
            self._router = _Balancer(self, row.dispatcher)
        self._step_ends: list[float | None] = [None] * setup.pods

    def run(self) -> None:
        """Serve everything."""
        for number, item in enumerate(self._trace):
            self.after(item.arrival_s, _Kind.ARRIVAL, number)
        self._router.begin()
        while self._left and self._heap:
            time, kind, _, number = heapq.heappop(self._heap)
            self.clock.time = time
            if kind == _Kind.STEP_END:
                self._end_step(self.pods[number], time)
            elif kind == _Kind.SUBMIT:
                self._submit(number, time)
            elif kind == _Kind.ANSWERED:
                self._router.answered(number, time)
            elif kind == _Kind.ARRIVAL:
                self._router.arrive(number, time)
            else:
                self._router.timed(_Kind(kind), number, time)

    def after(self, time: float, kind: _Kind, number: int) -> None:
        """Have something happen at ``time``."""
        self._sequence += 1
        heapq.heappush(self._heap, (time, kind, self._sequence, number))

    def send(self, number: int, pod: Pod, now: float) -> None:
        """Hand a request to a pod's engine, after the hop."""
        request = self.served[number]
        request.dispatched = now
        request.backend = pod.backend.name
        pod.outstanding += 1
        self.after(now + HOP_SECONDS, _Kind.SUBMIT, number)

    def drop(self, number: int, outcome: Outcome) -> None:
        """A request is refused."""
        self.served[number].outcome = outcome
        self._left -= 1

    def item(self, number: int) -> TraceRow:
        """A request of the trace."""
        return self._trace[number]

    def pod_of(self, number: int) -> Pod:
        """Where a request was sent."""
        return self.pods[int(self.served[number].backend.removeprefix("pod-"))]

    def tenant(self, item: TraceRow) -> Tenant:
        """Who sends it."""
        name = item.tenant or ""
        return self._setup.tenants.get(name) or Tenant(TenantId(name))

    def _submit(self, number: int, now: float) -> None:
        item, pod = self._trace[number], self.pod_of(number)
        pod.engine.submit(
            CountedRequest(number, item.prompt_tokens, item.output_tokens), Seconds(now)
        )
        self._go_on(pod, now)

    def _end_step(self, pod: Pod, now: float) -> None:
        if self._step_ends[pod.number] != now or pod.engine.next_end != now:
            return  # a submission has brought the end forward
        for event in pod.engine.end(Seconds(now)):
            self._note(event, pod)
        self._go_on(pod, now)

    def _go_on(self, pod: Pod, now: float) -> None:
        end = pod.engine.next_end
        if end is None:
            end = pod.engine.begin(Seconds(now))
        if end is not None and end != self._step_ends[pod.number]:
            self.after(end, _Kind.STEP_END, pod.number)
        self._step_ends[pod.number] = end

    def _note(self, event: Event, pod: Pod) -> None:
        request = self.served[event.number]
        request.preemptions = event.preemptions
        if event.kind is EventKind.FIRST_TOKEN:
            request.first_token = event.time + HOP_SECONDS
        elif event.kind is EventKind.FINISH:
            request.last_token = event.time + HOP_SECONDS
            request.output_tokens = self._trace[event.number].output_tokens
            pod.finished += 1
            pod.outstanding -= 1
            self._left -= 1
            self.after(event.time + HOP_SECONDS, _Kind.ANSWERED, event.number)


class _Balancer:
    """A load balancer: every request goes on at once."""

    def __init__(self, simulation: Simulation, dispatcher: Dispatcher) -> None:
        self._simulation = simulation
        self._takes_turns = dispatcher is Dispatcher.ROUND_ROBIN
        self._turn = 0

    def begin(self) -> None:
        """Nothing to prepare."""

    def arrive(self, number: int, now: float) -> None:
        """Choose a pod."""
        pods = self._simulation.pods
        start, self._turn = self._turn, (self._turn + 1) % len(pods)
        pod = pods[start]
        if not self._takes_turns:
            order = [*pods[start:], *pods[:start]]
            pod = min(order, key=lambda item: item.outstanding)
        self._simulation.send(number, pod, now)

    def answered(self, number: int, now: float) -> None:
        """Nothing to learn."""

    def timed(self, kind: _Kind, number: int, now: float) -> None:
        """Nothing happens by time."""


class _Caller:
    """A ticket's listener."""

    __slots__ = ("_gateway", "_number")

    def __init__(self, gateway: "_Gateway", number: int) -> None:
        self._gateway = gateway
        self._number = number

    def on_dispatched(self, backend: Backend) -> None:
        """Its turn has come."""
        self._gateway.dispatched(self._number, backend)

    def on_dropped(self, outcome: Outcome, reason: DropReason, retry_after_seconds: float) -> None:
        """It will not be served."""
        del reason, retry_after_seconds
        self._gateway.dropped(self._number, outcome)


class _Gateway:
    """The gateway's decision code, driven by the simulation's events."""

    def __init__(self, simulation: Simulation, row: Row, guesser: Guesser) -> None:
        self._simulation = simulation
        self._guesser = guesser
        self._pods = {pod.backend: pod for pod in simulation.pods}
        backends = tuple(self._pods)
        state = QueueState(row.policy, lambda _: backends, BestBackend())
        generator = random.Random(1)  # noqa: S311
        self.queue = QueueController(state, simulation.clock, generator)
        self._tickets: dict[int, Ticket] = {}
        self._began_with: dict[int, int] = {}
        self._refiner_free_at = 0.0
        self._refining = 0

    def begin(self) -> None:
        """Scrape once, as a gateway does before it listens, then regularly."""
        for pod in self._simulation.pods:
            self.timed(_Kind.SCRAPE, pod.number, 0.0)
        self.timed(_Kind.TICK, 0, 0.0)

    def arrive(self, number: int, now: float) -> None:
        """Predict and queue."""
        simulation = self._simulation
        item = simulation.item(number)
        tenant = simulation.tenant(item)
        asked = class_of_tier(item.service_tier, tenant.default_class)
        ticket = self._tickets[number] = Ticket(
            number,
            "model",
            _Caller(self, number),
            now,
            tenant=tenant,
            service_class=asked.clamped(tenant.highest_class),
            prompt_tokens=float(item.prompt_tokens),
            prediction=self._guesser.guess(number, now),
        )
        self.queue.submit(ticket)
        if ticket.waiting and self._refining < _REFINE_BACKLOG:
            self._refining += 1
            self._refiner_free_at = max(self._refiner_free_at, now) + REFINE_SECONDS
            simulation.after(self._refiner_free_at, _Kind.REFINED, number)

    def dispatched(self, number: int, backend: Backend) -> None:
        """The queue found a backend."""
        self._began_with[number] = backend.in_flight
        self._simulation.send(number, self._pods[backend], self._simulation.clock.time)

    def dropped(self, number: int, outcome: Outcome) -> None:
        """The queue will not serve it."""
        del self._tickets[number]
        self._simulation.drop(number, outcome)

    def answered(self, number: int, now: float) -> None:
        """An answer is complete: learn from it, and let the next one go."""
        simulation = self._simulation
        request, item = simulation.served[number], simulation.item(number)
        ticket = self._tickets.pop(number)
        backend = ticket.backend
        dispatched, first = request.dispatched, request.first_token
        if backend is not None and dispatched is not None and first is not None:
            backend.cost.observe(
                Served(
                    prompt_tokens=item.prompt_tokens,
                    cached_tokens=0,
                    output_tokens=item.output_tokens,
                    ttft_seconds=first - dispatched,
                    decode_seconds=now - first,
                    total_seconds=now - dispatched,
                    batch=(self._began_with.pop(number) + backend.in_flight) / 2,
                )
            )
        self._guesser.learn(number, now)
        self.queue.finish(ticket, ServedTokens(item.prompt_tokens, item.output_tokens))

    def timed(self, kind: _Kind, number: int, now: float) -> None:
        """Something that happens by time."""
        simulation = self._simulation
        if kind is _Kind.TICK:
            self.queue.tick()
            simulation.after(now + TICK_SECONDS, _Kind.TICK, 0)
        elif kind is _Kind.SCRAPE:
            pod = simulation.pods[number]
            backend = pod.backend
            backend.admission.observe(pod.figures(now), now, backend.max_in_flight)
            self.queue.backends_changed(pod.backend)
            simulation.after(now + SCRAPE_SECONDS, _Kind.SCRAPE, number)
        else:
            self._refining -= 1
            ticket = self._tickets.get(number)
            if ticket is not None and ticket.waiting:
                refined = self._guesser.refine(number, now)
                if refined is not None:
                    self.queue.repredict(ticket, refined)
