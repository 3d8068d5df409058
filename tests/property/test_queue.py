"""The queue under any events: nothing is lost, doubled, or sent where it must not go."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import log1p

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alise_core.outcome import Outcome
from alise_core.prediction import LEVELS, LengthDistribution
from alise_core.units import BackendName
from alise_gateway.domain.backend import Backend, BackendAddress, ProbeState
from alise_gateway.domain.breaker import BreakerLimits, CircuitBreaker
from alise_gateway.placement.picker import LeastOutstanding, is_usable
from alise_gateway.queueing.events import (
    Arrived,
    BackendsChanged,
    Cancelled,
    Dispatch,
    Effect,
    Event,
    Finished,
    Repredicted,
    Returned,
    ShutDown,
    Ticked,
    Ticket,
)
from alise_gateway.queueing.ordering import Fcfs
from alise_gateway.queueing.state import QueueLimits, QueueState

MODELS = ("a", "b", "c")
SERVES = (("a",), ("a", "b"), ("b", "c"), ("c",))
PROBES = (*[ProbeState.HEALTHY] * 6, *ProbeState)
LIMITS = QueueLimits(max_waiting=5, ttl_seconds=60)
BREAKER = BreakerLimits(failures=2, open_seconds=5, max_open_seconds=20)


class Nobody:
    """The pure queue never calls its tickets' listeners."""

    def on_dispatched(self, backend: Backend) -> None:
        raise AssertionError("called by the pure queue")

    def on_dropped(self, outcome: Outcome, retry_after_seconds: float) -> None:
        raise AssertionError("called by the pure queue")


@dataclass
class World:
    """Backends and a queue over them."""

    backends: list[Backend] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.backends = [
            Backend(
                BackendAddress(BackendName(f"b{index}"), "h", index),
                max_in_flight=1 + index % 2,
                breaker=CircuitBreaker(BREAKER),
                probe=ProbeState.HEALTHY,
            )
            for index in range(len(SERVES))
        ]
        self.queue = QueueState(LIMITS, self.candidates, LeastOutstanding().pick, Fcfs)

    def candidates(self, model: str) -> list[Backend]:
        return [b for b, models in zip(self.backends, SERVES, strict=True) if model in models]


class QueueMachine(RuleBasedStateMachine):
    """Drives two equal worlds with the same events and watches the first."""

    def __init__(self) -> None:
        super().__init__()
        self.world, self.twin = World(), World()
        self.now = 1_000.0
        self.tickets: list[Ticket] = []
        self.twins: list[Ticket] = []
        self.waiting: list[int] = []
        self.flying: dict[int, Backend] = {}
        self.ended: dict[int, str] = {}

    def post(self, make: Callable[..., Event], number: int | None = None) -> None:
        """Give both queues one event, compare, and account for the effects."""
        events: list[Event] = [
            make() if number is None else make(tickets[number])
            for tickets in (self.tickets, self.twins)
        ]
        effects = self.world.queue.handle(events[0], self.now)
        assert _plain(effects) == _plain(self.twin.queue.handle(events[1], self.now))
        for effect in effects:
            self.account(effect)

    def account(self, effect: Effect) -> None:
        number = effect.ticket.number
        assert number not in self.ended
        assert number not in self.flying
        if isinstance(effect, Dispatch):
            backend = effect.backend
            assert backend.in_flight <= backend.max_in_flight
            assert backend.probe is ProbeState.HEALTHY
            assert not backend.removed
            assert backend not in effect.ticket.tried
            assert backend in self.world.candidates(effect.ticket.model)
            self.check_order(effect)
            self.flying[number] = backend
        else:
            assert 1 <= effect.retry_after_seconds <= 60
            self.ended[number] = str(effect.outcome)
        if number in self.waiting:
            self.waiting.remove(number)

    def check_order(self, effect: Dispatch) -> None:
        """Nobody who could have gone to that backend was before it."""
        ticket = effect.ticket
        if ticket.number not in self.waiting:
            return
        for number in self.waiting[: self.waiting.index(ticket.number)]:
            other = self.tickets[number]
            assert other.model != ticket.model or effect.backend in other.tried

    @rule(models=st.lists(st.sampled_from(MODELS), min_size=1, max_size=5))
    def arrive(self, models: list[str]) -> None:
        for model in models:
            number = len(self.tickets)
            for tickets in (self.tickets, self.twins):
                tickets.append(Ticket(number, model, Nobody(), self.now))
            self.waiting.append(number)
            self.post(Arrived, number)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), worked=st.booleans())
    def finish(self, data: st.DataObject, worked: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.flying)))
        self.judge(number, worked=worked)
        del self.flying[number]
        self.ended[number] = "finished"
        self.post(Finished, number)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.flying)))
        self.judge(number, worked=False)
        del self.flying[number]
        self.waiting.insert(0, number)  # those who come back are first
        self.post(Returned, number)

    @precondition(lambda self: self.waiting or self.flying)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted([*self.waiting, *self.flying])))
        if number in self.waiting:
            self.waiting.remove(number)
        self.flying.pop(number, None)
        self.ended[number] = "cancelled"
        self.post(Cancelled, number)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def cancel_what_is_over(self, data: st.DataObject) -> None:
        self.post(Cancelled, data.draw(st.sampled_from(sorted(self.ended))))

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), tokens=st.floats(1, 10_000))
    def predict_again(self, data: st.DataObject, tokens: float) -> None:
        """At any time, also for who is gone; only who waits takes notice."""
        number = data.draw(st.sampled_from(range(len(self.tickets))))
        waits = number in self.waiting
        before = self.tickets[number].prediction
        known = LengthDistribution.of([log1p(tokens)] * len(LEVELS), 1, 10_000, None)
        self.post(partial(_repredicted, known), number)
        assert self.tickets[number].prediction is (known if waits else before)

    @rule(index=st.integers(0, len(SERVES) - 1), probe=st.sampled_from(PROBES))
    def probe(self, index: int, probe: ProbeState) -> None:
        for world in (self.world, self.twin):
            world.backends[index].probe = probe
        self.post(BackendsChanged)

    @rule(index=st.integers(0, len(SERVES) - 1), removes=st.integers(0, 4))
    def list_or_remove(self, index: int, removes: int) -> None:
        removed = removes == 0
        for world in (self.world, self.twin):
            world.backends[index].removed = removed
        self.post(BackendsChanged)

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0, 30.0, 61.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.post(Ticked)
        for number in self.waiting:
            assert self.now - self.tickets[number].enqueued <= LIMITS.ttl_seconds

    @precondition(lambda self: len(self.tickets) > 30)
    @rule()
    def shut_down(self) -> None:
        self.post(ShutDown)
        assert not self.waiting

    def judge(self, number: int, *, worked: bool) -> None:
        """What the pipeline tells the breakers."""
        for tickets in (self.tickets, self.twins):
            ticket = tickets[number]
            assert ticket.backend is not None
            breaker = ticket.backend.breaker
            if worked:
                breaker.succeeded(was_trial=ticket.is_trial)
            else:
                breaker.failed(self.now, was_trial=ticket.is_trial)

    @invariant()
    def everybody_is_in_one_place(self) -> None:
        assert len(self.waiting) + len(self.flying) + len(self.ended) == len(self.tickets)
        assert (
            self.world.queue.waiting == len(self.waiting) <= LIMITS.max_waiting + len(self.tickets)
        )
        assert self.world.queue.in_flight == len(self.flying)
        oldest = min((self.tickets[n].enqueued for n in self.waiting), default=None)
        assert self.world.queue.oldest_enqueued == oldest
        for number, backend in self.flying.items():
            assert self.tickets[number].backend is backend

    @invariant()
    def the_structures_agree(self) -> None:
        self.world.queue.check()

    @invariant()
    def nobody_waits_for_a_free_backend(self) -> None:
        """As of the last event: a breaker that has opened since lets nobody through now."""
        for number in self.waiting:
            ticket = self.tickets[number]
            for backend in self.world.candidates(ticket.model):
                free = is_usable(backend, self.now) and backend.in_flight < backend.max_in_flight
                assert not free or backend in ticket.tried


def _repredicted(prediction: LengthDistribution, ticket: Ticket) -> Repredicted:
    return Repredicted(ticket, prediction)


def _plain(effects: list[Effect]) -> list[tuple[object, ...]]:
    return [
        (effect.ticket.number, effect.backend.name)
        if isinstance(effect, Dispatch)
        else (effect.ticket.number, effect.outcome, effect.retry_after_seconds)
        for effect in effects
    ]


TestQueue = pytest.mark.slow(QueueMachine.TestCase)
TestQueue.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
