"""The queue under any events: nothing is lost, doubled, or sent where it must not go."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alise_core.outcome import Outcome
from alise_core.policy import (
    OrderingName,
    SchedulingPolicy,
)
from alise_core.shares import WHOLE, Share
from alise_core.units import BackendName
from alise_gateway.domain.backend import Backend, BackendAddress, ProbeState
from alise_gateway.domain.breaker import CircuitBreaker
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.engine_figures import EngineFigures
from alise_gateway.domain.policies import Policies
from alise_gateway.domain.request import Tenant
from alise_gateway.placement.picker import BestBackend
from alise_gateway.queueing.events import (
    Arrived,
    BackendsChanged,
    Cancelled,
    Dispatch,
    Effect,
    Event,
    Finished,
    PoliciesChanged,
    Repredicted,
    Returned,
    ServedTokens,
    ShareChanged,
    ShutDown,
    Ticked,
    Ticket,
)
from alise_gateway.queueing.state import QueueState
from fakes.queue_wishes import (
    BREAKER,
    CLOCK_SLACK_SECONDS,
    MODELS,
    NO_GUARD,
    PROBES,
    SERVES,
    TENANTS,
    Wish,
    capacities,
    figures,
    known,
    policies,
    wishes,
)

OUTCOMES = {
    DropReason.QUEUE_FULL: {Outcome.REJECTED_SATURATED},
    DropReason.CLASS_FULL: {Outcome.REJECTED_SATURATED},
    DropReason.TENANT_QUEUE_FULL: {Outcome.REJECTED_SATURATED},
    DropReason.REQUEST_RATE: {Outcome.REJECTED_RATE_LIMITED},
    DropReason.TOKEN_RATE: {Outcome.REJECTED_RATE_LIMITED},
    DropReason.DEADLINE: {Outcome.REJECTED_SATURATED, Outcome.EVICTED_TTL},
    DropReason.TTL: {Outcome.EVICTED_TTL},
    DropReason.SHED: {Outcome.EVICTED_PRIORITY},
    DropReason.NO_BACKENDS: {Outcome.REJECTED_NO_BACKENDS},
    DropReason.SHUTTING_DOWN: {Outcome.REJECTED_SHUTTING_DOWN},
}


class World:
    """Backends and a queue over them."""

    def __init__(self, policy: SchedulingPolicy) -> None:
        self.backends = [
            Backend(
                BackendAddress(BackendName(f"b{index}"), "h", index),
                max_in_flight=1,
                breaker=CircuitBreaker(BREAKER),
                probe=ProbeState.HEALTHY,
                admission_policy=policy.admission,
            )
            for index in range(len(SERVES))
        ]
        self.listed = [True] * len(SERVES)
        self.queue = QueueState(policy, self.candidates, BestBackend())

    def candidates(self, model: str) -> list[Backend]:
        rows = zip(self.backends, SERVES, self.listed, strict=True)
        return [backend for backend, models, listed in rows if listed and model in models]


class QueueMachine(RuleBasedStateMachine):
    """Drives two equal worlds with the same events and watches the first."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.tickets: list[Ticket] = []
        self.twins: list[Ticket] = []
        self.waiting: set[int] = set()
        self.flying: dict[int, Backend] = {}
        self.ended: dict[int, str] = {}

    @initialize(
        policy=policies,
        sizes=st.lists(
            st.tuples(st.integers(1, 4), capacities), min_size=len(SERVES), max_size=len(SERVES)
        ),
    )
    def begin(self, policy: SchedulingPolicy, sizes: list[tuple[int, int | None]]) -> None:
        self.policies = Policies(policy)
        self.share = WHOLE
        self.grandfathered: set[int] = set()
        self.beyond: set[int] = set()
        self.world, self.twin = World(policy), World(policy)
        for world in (self.world, self.twin):
            for backend, (limit, capacity) in zip(world.backends, sizes, strict=True):
                backend.max_in_flight = limit
                backend.admission.capacity_tokens = capacity

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
        assert number in self.waiting
        if isinstance(effect, Dispatch):
            self.check_place(effect)
            self.check_turn(effect)
            self.waiting.remove(number)
            self.flying[number] = effect.backend
            limit = effect.ticket.tenant.limits.max_in_flight
            assert limit is None or self.flights(effect.ticket.tenant) <= limit
        else:
            assert 1 <= effect.retry_after_seconds <= 600
            assert effect.outcome in OUTCOMES[effect.reason]
            self.waiting.remove(number)
            self.ended[number] = str(effect.outcome)

    def check_place(self, effect: Dispatch) -> None:
        """Effects of one event leave together, so counts may be ahead of this one only."""
        backend = effect.backend
        assert backend.in_flight <= backend.max_in_flight
        assert backend.probe is ProbeState.HEALTHY
        assert not backend.removed
        assert backend not in effect.ticket.tried
        assert backend in self.world.candidates(effect.ticket.model)

    def check_turn(self, effect: Dispatch) -> None:
        """Nobody who could have gone to that backend was before it."""
        ticket = effect.ticket
        policy = self.policies.of(ticket.model)
        trickles = policy.classes[ticket.service_class].trickle_share > 0
        if policy.backfill:
            return
        for number in self.waiting:
            other = self.tickets[number]
            if other.model != ticket.model or other.tried or self.is_held_back(other):
                continue
            assert trickles or other.service_class.rank >= ticket.service_class.rank
            assert not (self.in_order_of_arrival(other, ticket) and _came(other) < _came(ticket))

    def in_order_of_arrival(self, one: Ticket, other: Ticket) -> bool:
        """Both stand in one line that nothing but their arrival orders."""
        ordering = self.policies.of(one.model).ordering
        return (
            ordering.name is OrderingName.FCFS
            and ordering.guard_seconds == NO_GUARD
            and not other.tried
            and one.service_class is other.service_class
            and one.flow == other.flow
            and one.tenant is other.tenant
        )

    def flights(self, tenant: Tenant) -> int:
        return sum(self.tickets[number].tenant is tenant for number in self.flying)

    def is_held_back(self, ticket: Ticket) -> bool:
        """Its tenant has as much in flight as it may have."""
        most = ticket.tenant.limits.max_in_flight
        return most is not None and self.flights(ticket.tenant) >= most

    @rule(wanted=st.lists(wishes, min_size=1, max_size=4))
    def arrive(self, wanted: list[Wish]) -> None:
        for wish in wanted:
            number = len(self.tickets)
            for tickets in (self.tickets, self.twins):
                tickets.append(wish.ticket(number, self.now))
            before = set(self.waiting)
            self.waiting.add(number)
            self.post(Arrived, number)
            self.inherit(number, before - self.waiting - self.flying.keys())

    def inherit(self, number: int, displaced: set[int]) -> None:
        """Whoever takes another's place in a full queue may stay as the other might have."""
        if displaced & self.beyond or any(self.tickets[gone].tried for gone in displaced):
            self.beyond.add(number)
        elif displaced & self.grandfathered:
            self.grandfathered.add(number)

    @precondition(lambda self: self.flying)
    @rule(
        data=st.data(),
        worked=st.booleans(),
        tokens=st.sampled_from([None, ServedTokens(0, 0), ServedTokens(10, 10**7)]),
    )
    def finish(self, data: st.DataObject, worked: bool, tokens: ServedTokens | None) -> None:
        number = data.draw(st.sampled_from(sorted(self.flying)))
        self.judge(number, worked=worked)
        del self.flying[number]
        self.ended[number] = "finished"
        self.post(lambda ticket: Finished(ticket, tokens), number)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.flying)))
        self.judge(number, worked=False)
        del self.flying[number]
        self.waiting.add(number)
        self.post(Returned, number)

    @precondition(lambda self: self.waiting or self.flying)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted([*self.waiting, *self.flying])))
        self.waiting.discard(number)
        self.flying.pop(number, None)
        self.ended[number] = "cancelled"
        self.post(Cancelled, number)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def cancel_what_is_over(self, data: st.DataObject) -> None:
        self.post(Cancelled, data.draw(st.sampled_from(sorted(self.ended))))

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), tokens=st.sampled_from([0.0, 1.0, 700.0, 1e11]))
    def predict_again(self, data: st.DataObject, tokens: float) -> None:
        """At any time, also for who is gone; only who waits takes notice."""
        number = data.draw(st.sampled_from(range(len(self.tickets))))
        waits = number in self.waiting
        before = self.tickets[number].prediction
        better = known(tokens, 1e12)
        self.post(lambda ticket: Repredicted(ticket, better), number)
        assert self.tickets[number].prediction is (better if waits else before)

    @rule(index=st.integers(0, len(SERVES) - 1), probe=st.sampled_from(PROBES))
    def probe(self, index: int, probe: ProbeState) -> None:
        for world in (self.world, self.twin):
            world.backends[index].probe = probe
        self.post(BackendsChanged)

    @rule(probe=st.sampled_from([*[ProbeState.HEALTHY] * 5, ProbeState.DRAINING]))
    def probe_everything(self, probe: ProbeState) -> None:
        for world in (self.world, self.twin):
            world.listed = [True] * len(SERVES)
            for backend in world.backends:
                backend.probe, backend.removed = probe, False
        self.post(BackendsChanged)

    @rule(index=st.integers(0, len(SERVES) - 1), removes=st.integers(0, 4), keeps=st.booleans())
    def list_or_remove(self, index: int, removes: int, keeps: bool) -> None:
        """A removed backend may be a candidate still, for as long as requests run there."""
        removed = removes == 0
        for world in (self.world, self.twin):
            world.backends[index].removed = removed
            world.listed[index] = keeps or not removed
        self.post(BackendsChanged)

    @rule(
        index=st.integers(0, len(SERVES) - 1),
        limit=st.integers(1, 5),
        capacity=capacities,
    )
    def resize(self, index: int, limit: int, capacity: int | None) -> None:
        for world in (self.world, self.twin):
            world.backends[index].max_in_flight = limit
            world.backends[index].admission.capacity_tokens = capacity
        self.post(BackendsChanged)

    @rule(index=st.integers(0, len(SERVES) - 1), claimed=figures)
    def claim(self, index: int, claimed: EngineFigures) -> None:
        """An engine says of itself whatever it likes; ``at`` is drawn relative to now."""
        for world in (self.world, self.twin):
            told = replace(claimed, at=self.now + claimed.at)
            backend = world.backends[index]
            backend.admission.observe(told, self.now, backend.max_in_flight)

    @rule(seconds=st.sampled_from([0.1, 0.1, 1.0, 1.0, 6.0, 6.0, 30.0, 61.0, 1e5, -1e-3]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.post(Ticked)
        for number in self.waiting:
            ticket = self.tickets[number]
            ttl = self.policies.of(ticket.model).classes[ticket.service_class].ttl_seconds
            assert self.now - ticket.enqueued <= ttl + CLOCK_SLACK_SECONDS
            assert ticket.deadline is None or self.now < ticket.deadline

    @rule(default=policies, by_model=st.dictionaries(st.sampled_from(MODELS), policies))
    def change_policies(
        self, default: SchedulingPolicy, by_model: dict[str, SchedulingPolicy]
    ) -> None:
        """Nobody goes for it, even where there is now less room for who waits."""
        before = len(self.ended)
        self.policies = Policies(default, by_model)
        for world in (self.world, self.twin):
            for backend, models in zip(world.backends, SERVES, strict=True):
                admission = self.policies.of_backend(models).admission
                backend.admission.obey(admission, self.now)
        self.grandfathered = set(self.waiting)
        self.post(lambda: PoliciesChanged(self.policies))
        assert len(self.ended) == before
        assert self.world.queue.policies == self.policies

    @rule(share=st.sampled_from([WHOLE, WHOLE, Share(0, 2), Share(1, 3), Share(2, 3)]))
    def change_share(self, share: Share) -> None:
        self.share = share
        for world in (self.world, self.twin):
            for backend in world.backends:
                backend.admission.set_share(share, backend.max_in_flight, self.now)
        self.post(lambda: ShareChanged(share))

    @rule()
    def change_nothing(self) -> None:
        self.post(lambda: PoliciesChanged(self.policies))

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
        queue = self.world.queue
        assert len(self.waiting) + len(self.flying) + len(self.ended) == len(self.tickets)
        assert queue.waiting == len(self.waiting) == sum(queue.waiting_by_class().values())
        assert queue.in_flight == len(self.flying)
        demand = queue.demand.of_models().values()
        assert sum(item.requests for item in demand) == queue.waiting + queue.in_flight
        for number, backend in self.flying.items():
            assert self.tickets[number].backend is backend
        for backend in self.world.backends:
            count = sum(flown is backend for flown in self.flying.values())
            assert backend.in_flight == len(backend.admission.ledger) == count

    @invariant()
    def the_oldest_is_known(self) -> None:
        oldest = min((self.tickets[number].enqueued for number in self.waiting), default=None)
        found = self.world.queue.oldest_enqueued
        assert (found is None) == (oldest is None)
        assert found == pytest.approx(oldest, abs=CLOCK_SLACK_SECONDS)

    @invariant()
    def nobody_waits_beyond_the_limits(self) -> None:
        """But for those who had their turn and came back, or came under other limits."""
        waiting = [self.tickets[number] for number in self.waiting]
        waiting = [
            ticket for ticket in waiting if not ticket.tried and ticket.number not in self.beyond
        ]
        own = self.policies.by_model
        for policy, models in [
            (self.policies.default, [model for model in MODELS if model not in own]),
            *((policy, [model]) for model, policy in own.items()),
        ]:
            here = [ticket for ticket in waiting if ticket.model in models]
            self.check_limits(policy, here)
        for tenant in TENANTS:
            count = sum(ticket.tenant is tenant for ticket in waiting)
            assert tenant.limits.max_waiting is None or count <= tenant.limits.max_waiting

    def check_limits(self, policy: SchedulingPolicy, here: list[Ticket]) -> None:
        """Whoever was there when the limits changed may stay, and keeps others out meanwhile."""
        old = [ticket for ticket in here if ticket.number in self.grandfathered]
        assert len(here) <= max(policy.max_waiting, len(old))
        for item, limits in policy.classes.items():
            count = sum(ticket.service_class is item for ticket in here)
            most = sum(ticket.service_class is item for ticket in old)
            assert limits.max_waiting is None or count <= max(limits.max_waiting, most)

    @invariant()
    def the_structures_agree(self) -> None:
        self.world.queue.check()

    @invariant()
    def nobody_waits_for_a_free_backend(self) -> None:
        """As of the last event: a breaker that has opened since lets nobody through now."""
        if not self.share.is_whole:
            return  # it may be somebody else's
        for number in self.waiting:
            ticket = self.tickets[number]
            if self.is_held_back(ticket):
                continue
            for backend in self.world.candidates(ticket.model):
                if backend.is_usable(self.now) and backend not in ticket.tried:
                    assert not _has_room_for_anybody(backend)


def _has_room_for_anybody(backend: Backend) -> bool:
    """It is idle; or nothing is known of its memory, and it may have more in flight."""
    admission = backend.admission
    if admission.capacity_tokens is None and admission.learned_limit is None:
        return backend.in_flight < backend.max_in_flight
    return backend.in_flight == 0


def _came(ticket: Ticket) -> tuple[float, int]:
    return (ticket.enqueued, ticket.number)


def _plain(effects: list[Effect]) -> list[tuple[object, ...]]:
    return [
        (effect.ticket.number, effect.backend.name)
        if isinstance(effect, Dispatch)
        else (effect.ticket.number, effect.outcome, effect.reason, effect.retry_after_seconds)
        for effect in effects
    ]


TestQueue = pytest.mark.timeout(300)(pytest.mark.slow(QueueMachine.TestCase))
TestQueue.settings = settings(
    max_examples=max(1_000, settings().max_examples), stateful_step_count=20, deadline=None
)
