"""Several gateways in front of the same simulated engines, in virtual time.

Queue, placement, admission and claims are the gateway's own code, one of each per replica; what
they have in common is what the engines' figures say once a second, each replica at its own moment.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from math import log, log1p

from alise_bench.compare.pods import Pod, make_pods
from alise_bench.compare.simulation import HOP_SECONDS, SCRAPE_SECONDS, TICK_SECONDS, VirtualClock
from alise_bench.replicas.watch import Watch
from alise_bench.sim.counted_state import CountedRequest, EventKind
from alise_bench.sim.step_model import Profile
from alise_bench.sim.waiting import Policy
from alise_core.outcome import Outcome
from alise_core.policy import SchedulingPolicy
from alise_core.prediction import LEVELS, LengthDistribution
from alise_core.shares import Share
from alise_core.units import Seconds
from alise_gateway.domain.backend import Backend, ProbeState
from alise_gateway.domain.cost_model import Served
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.placement.picker import BestBackend
from alise_gateway.queueing.controller import QueueController
from alise_gateway.queueing.events import ServedTokens, Ticket
from alise_gateway.queueing.state import QueueState

NOTICE_SECONDS = 2.0
"""After a replica has died, the others know."""
_SPREADS = (-1.4, -0.9, -0.45, 0.0, 0.45, 0.9, 1.4)
"""Of a prediction, in natural logarithms at each of ``LEVELS``: about what the shipped one says."""
_ERROR = 0.6
"""Standard deviation of its median's error, in natural logarithms."""
_MOST_TOKENS = 4_096
_WATCH_SECONDS = 0.05


@dataclass(slots=True)
class Asked:
    """One request.

    Attributes:
        arrival: Seconds.
        prompt_tokens: Of the prompt.
        output_tokens: Of the answer.
        first_token: Seconds; ``None`` where there was none.
        lost: Its replica died.
    """

    arrival: float
    prompt_tokens: int
    output_tokens: int
    first_token: float | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated.

    Attributes:
        profile: Of each engine.
        pods: Engines.
        weights: Part of the load that each replica gets; as many replicas as weights.
        policy: What every replica obeys.
        dies_at: Seconds at which the first replica, the busiest, is killed; ``None`` for never.
        seed: Of everything that is drawn.
        knows: Lengths are known; predicted otherwise. What a backend is given beyond its capacity
            is then the replicas' doing alone, and no prediction's.
        look_seconds: Between two looks of a replica at an engine's figures.
    """

    profile: Profile
    pods: int
    weights: tuple[float, ...]
    policy: SchedulingPolicy
    dies_at: float | None = None
    seed: int = 1
    knows: bool = False
    look_seconds: float = SCRAPE_SECONDS


class _Replica:
    """One gateway's decisions."""

    def __init__(self, world: "World", index: int) -> None:
        self.world = world
        self.index = index
        self.alive = True
        self.backends = [_seen_by_one(pod.backend, world.setup.policy) for pod in world.pods]
        backends = tuple(self.backends)
        state = QueueState(world.setup.policy, lambda _: backends, BestBackend())
        generator = random.Random(index)  # noqa: S311
        self.queue = QueueController(state, world.clock, generator)
        self.tickets: dict[int, Ticket] = {}
        self.began_with: dict[int, float] = {}

    def set_share(self, share: Share) -> None:
        """As the gateway does when it learns of its peers."""
        for backend in self.backends:
            backend.admission.set_share(share, backend.max_in_flight, self.world.clock.time)
        self.queue.set_share(share)

    def arrive(self, number: int) -> None:
        """A client's request."""
        world = self.world
        asked = world.asked[number]
        ticket = Ticket(
            number,
            "model",
            _Client(self, number),
            world.clock.time,
            prompt_tokens=float(asked.prompt_tokens),
            prediction=world.guess(asked.output_tokens),
        )
        self.tickets[number] = ticket
        self.queue.submit(ticket)

    def answered(self, number: int) -> None:
        """An answer is complete."""
        ticket = self.tickets.pop(number)
        asked, now, backend = self.world.asked[number], self.world.clock.time, ticket.backend
        first = asked.first_token
        if backend is not None and first is not None:
            sent = self.world.sent[number]
            backend.cost.observe(
                Served(
                    asked.prompt_tokens,
                    0,
                    asked.output_tokens,
                    first - sent,
                    now - first,
                    now - sent,
                    (self.began_with.pop(number) + backend.batch) / 2,
                )
            )
        self.queue.finish(ticket, ServedTokens(asked.prompt_tokens, asked.output_tokens))

    def scrape(self, pod: Pod) -> None:
        """Read one engine's figures."""
        if not self.alive:
            return
        backend, now = self.backends[pod.number], self.world.clock.time
        backend.admission.observe(pod.figures(now), now, backend.max_in_flight)
        self.queue.backends_changed(backend)

    def tick(self) -> None:
        """Time has passed."""
        if self.alive:
            self.queue.tick()


class _Client:
    """A ticket's listener."""

    __slots__ = ("_number", "_replica")

    def __init__(self, replica: _Replica, number: int) -> None:
        self._replica = replica
        self._number = number

    def on_dispatched(self, backend: Backend) -> None:
        """It goes to an engine."""
        replica, number = self._replica, self._number
        replica.began_with[number] = backend.batch
        replica.world.send(number, replica.backends.index(backend))

    def on_dropped(self, outcome: Outcome, reason: DropReason, retry_after_seconds: float) -> None:
        """It is refused."""
        del outcome, reason, retry_after_seconds
        del self._replica.tickets[self._number]


@dataclass
class World:
    """See the module.

    Args:
        setup: What is simulated.
        asked: Requests, by arrival.

    Attributes:
        watch: What was seen of the engines meanwhile.
    """

    setup: Setup
    asked: Sequence[Asked]
    clock: VirtualClock = field(default_factory=VirtualClock)

    def __post_init__(self) -> None:
        """Build engines and gateways."""
        setup = self.setup
        self._random = random.Random(setup.seed)  # noqa: S311
        self.pods = make_pods(setup.pods, setup.profile, Policy.FCFS, setup.policy.admission)
        self._step_ends: list[float | None] = [None] * setup.pods
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._pod_of: dict[int, Pod] = {}
        self._replica_of: dict[int, _Replica] = {}
        self.sent: dict[int, float] = {}
        self.replicas = [_Replica(self, index) for index in range(len(setup.weights))]
        self.watch = Watch(setup.pods)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        for number, asked in enumerate(self.asked):
            self._at(asked.arrival, partial(self._arrive, number))
        self._share_out()
        for replica in self.replicas:
            phase = self._random.random() * self.setup.look_seconds
            for pod in self.pods:
                replica.scrape(pod)
                self._every(phase, self.setup.look_seconds, partial(replica.scrape, pod))
            self._every(phase, TICK_SECONDS, replica.tick)
        self._every(0.0, _WATCH_SECONDS, self._look)
        if self.setup.dies_at is not None:
            self._at(self.setup.dies_at, self._kill)
        while self._heap and self._heap[0][0] <= seconds:
            self.clock.time, _, happen = heapq.heappop(self._heap)
            happen()

    def guess(self, tokens: int) -> LengthDistribution:
        """What is predicted of an answer: off by about as much as the shipped predictor is."""
        if self.setup.knows:
            return LengthDistribution.of(
                [log1p(tokens)] * len(LEVELS), 1, _MOST_TOKENS, float(tokens)
            )
        median = log1p(tokens) + self._random.gauss(0.0, _ERROR)
        logs = [max(log(2.0), median + spread) for spread in _SPREADS[: len(LEVELS)]]
        return LengthDistribution.of(logs, 1, _MOST_TOKENS, None)

    def send(self, number: int, pod_number: int) -> None:
        """Hand a request to an engine, after the hop."""
        pod = self._pod_of[number] = self.pods[pod_number]
        self.sent[number] = self.clock.time
        self._at(self.clock.time + HOP_SECONDS, partial(self._submit, number, pod))

    def _arrive(self, number: int) -> None:
        alive = [replica for replica in self.replicas if replica.alive]
        weights = [self.setup.weights[replica.index] for replica in alive]
        replica = self._random.choices(alive, weights)[0]
        self._replica_of[number] = replica
        replica.arrive(number)

    def _share_out(self) -> None:
        alive = [replica for replica in self.replicas if replica.alive]
        for index, replica in enumerate(alive):
            replica.set_share(Share(index, len(alive)))

    def _kill(self) -> None:
        """Its clients are cut off; engines notice that nobody listens any more."""
        dead = self.replicas[0]
        dead.alive = False
        for number in dead.tickets:
            self.asked[number].lost = True
            if number in self._pod_of:
                pod = self._pod_of[number]
                pod.engine.abort(number, Seconds(self.clock.time))
                self._go_on(pod)
        self._at(self.clock.time + NOTICE_SECONDS, self._share_out)

    def _submit(self, number: int, pod: Pod) -> None:
        asked = self.asked[number]
        if not asked.lost:
            request = CountedRequest(number, asked.prompt_tokens, asked.output_tokens)
            pod.engine.submit(request, Seconds(self.clock.time))
            self._go_on(pod)

    def _go_on(self, pod: Pod) -> None:
        end = pod.engine.next_end
        if end is None:
            end = pod.engine.begin(Seconds(self.clock.time))
        if end is not None and end != self._step_ends[pod.number]:
            self._at(end, partial(self._end_step, pod))
        self._step_ends[pod.number] = end

    def _end_step(self, pod: Pod) -> None:
        now = self.clock.time
        if self._step_ends[pod.number] != now or pod.engine.next_end != now:
            return  # something has brought the end forward
        for event in pod.engine.end(Seconds(now)):
            asked = self.asked[event.number]
            if event.kind is EventKind.FIRST_TOKEN:
                asked.first_token = event.time + HOP_SECONDS
            elif event.kind is EventKind.FINISH:
                pod.finished += 1
                self._at(event.time + HOP_SECONDS, partial(self._answered, event.number))
        self._go_on(pod)

    def _answered(self, number: int) -> None:
        replica = self._replica_of[number]
        if replica.alive:
            replica.answered(number)

    def _look(self) -> None:
        now = self.clock.time
        alive = [replica for replica in self.replicas if replica.alive]
        waiting = sum(replica.queue.waiting for replica in alive)
        for pod in self.pods:
            seen = [replica.backends[pod.number] for replica in alive]
            booked = sum(it.admission.ledger.booked(now) for it in seen)
            most = pod.backend.max_in_flight
            allowed = min(it.admission.limit_of_all(most, now) for it in seen)
            capacity = seen[0].admission.capacity_tokens or 1
            self.watch.note(
                pod.number,
                now,
                in_flight=sum(it.in_flight for it in seen) / most,
                allowed=allowed / most,
                booked=booked / capacity,
                waiting=waiting > 0,
            )

    def _every(self, start: float, seconds: float, happen: Callable[[], object]) -> None:
        def again() -> None:
            happen()
            self._at(self.clock.time + seconds, again)

        self._at(start, again)

    def _at(self, time: float, happen: Callable[[], object]) -> None:
        heapq.heappush(self._heap, (time, next(self._order), happen))


def _seen_by_one(backend: Backend, policy: SchedulingPolicy) -> Backend:
    return Backend(
        backend.address,
        backend.max_in_flight,
        backend.breaker,
        probe=ProbeState.HEALTHY,
        admission_policy=policy.admission,
    )
