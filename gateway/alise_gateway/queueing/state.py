"""The queue's whole state and every transition: events in, effects out. Pure.

A request is in exactly one place: waiting in the pool of its model, in flight on one backend, or
gone. It is dispatched when it is its turn (class, tenant, ordering; see ``pool``) and a backend has
room for what it is predicted to need. Time comes in with each event.

Refuses: what its tenant's rates forbid (``rejected_rate_limited``), what finds the queue full, or
its class's or its tenant's part of it, or a deadline that cannot be met (``rejected_saturated``),
and what has no usable backend (``rejected_no_backends``). One that waits when its backends vanish
keeps its place until they return or its time is over.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import assert_never

from sortedcontainers import SortedKeyList

from alise_core.outcome import Outcome
from alise_core.policy import SchedulingPolicy
from alise_core.prediction import LengthDistribution
from alise_core.service_class import ServiceClass
from alise_core.shares import Share
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.policies import Policies
from alise_gateway.queueing.demand import Demand
from alise_gateway.queueing.estimates import (
    MIN_RETRY_AFTER_SECONDS,
    bounded_retry_after,
    parallel_of,
    work_of,
)
from alise_gateway.queueing.events import (
    Arrived,
    BackendsChanged,
    Cancelled,
    Dispatch,
    Drop,
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
from alise_gateway.queueing.invariants import check_places, require
from alise_gateway.queueing.look import Look, Placement
from alise_gateway.queueing.pool import Pool
from alise_gateway.queueing.pools import Pools
from alise_gateway.queueing.tenants import TenantBook

_NO_BACKEND_RETRY_AFTER_SECONDS = 5.0
"""Backends are probed every few seconds: sooner cannot help."""
_IDLE_LOOKED_AT = 64
"""Backends of a pool, at every tick, that are looked at if nothing is in flight on them."""


class QueueState:
    """See the module.

    Args:
        policy: For every model, until it is told otherwise.
        candidates: Backends that list a model, whatever their health.
        placement: Chooses among them.

    Attributes:
        demand: KV tokens that all requests are predicted to need.
    """

    def __init__(
        self,
        policy: SchedulingPolicy,
        candidates: Callable[[str], Sequence[Backend]],
        placement: Placement,
    ) -> None:
        self._candidates = candidates
        self._placement = placement
        self._pools = Pools(Policies(policy))
        self._in_flight: dict[int, Ticket] = {}
        self._tenants = TenantBook()
        self.demand = Demand()
        self._timed: SortedKeyList[Ticket, tuple[float, int]] = SortedKeyList(key=_by_deadline)
        """Who waits with a deadline."""
        self._waiting = 0
        self._ticks = 0

    @property
    def policies(self) -> Policies:
        """What is obeyed now."""
        return self._pools.policies

    @property
    def waiting(self) -> int:
        """Requests in all pools."""
        return self._waiting

    @property
    def in_flight(self) -> int:
        """Requests on all backends."""
        return len(self._in_flight)

    @property
    def oldest_enqueued(self) -> float | None:
        """Monotonic mark of the request that has waited longest; ``None`` if none waits."""
        return self._pools.oldest_enqueued()

    def waiting_by_class(self) -> dict[ServiceClass, int]:
        """Requests that wait, in all pools, by class."""
        return {item: self._pools.waiting_in(item) for item in ServiceClass}

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Apply one event at ``now`` (monotonic seconds); effects are to be performed in order."""
        match event:
            case Arrived(ticket):
                return self._arrive(ticket, now)
            case Finished(ticket, tokens):
                return self._finish(ticket, tokens, now)
            case Returned(ticket):
                return self._come_back(ticket, now)
            case Cancelled(ticket):
                return self._cancel(ticket, now)
            case Repredicted(ticket, prediction):
                return self._predict_again(ticket, prediction, now)
        return self._handle_common(event, now)

    def check(self) -> None:
        """Raise AssertionError unless the structures agree; for tests."""
        waiting = check_places(self._pools, self._in_flight.values())
        require(waiting == self._waiting, "the count of waiting requests is right")
        everybody = self._pools.everybody()
        timed = {ticket.number for ticket in everybody if ticket.deadline is not None}
        require({ticket.number for ticket in self._timed} == timed, "deadlines are watched")
        self._tenants.check(self._waiting, len(self._in_flight))

    def _handle_common(
        self,
        event: BackendsChanged | PoliciesChanged | ShareChanged | Ticked | ShutDown,
        now: float,
    ) -> list[Effect]:
        """Events that concern everybody who waits."""
        match event:
            case BackendsChanged(backend):
                return self._pump(now, backend)
            case PoliciesChanged(policies):
                return self._obey(policies, now)
            case ShareChanged(share):
                return self._share(share, now)
            case Ticked():
                return self._expire(now) + self._look_around(now) if self._waiting else []
            case ShutDown():
                return self._drop_all(now)
        assert_never(event)

    def _share(self, share: Share, now: float) -> list[Effect]:
        self._tenants.set_share(share)
        return self._pump(now)

    def _obey(self, policies: Policies, now: float) -> list[Effect]:
        """What waits is ranked as if it had come under these policies; then there may be room."""
        in_flight = {
            pool.model: parallel_of(self._candidates(pool.model)) for pool in self._pools.busy()
        }
        self._pools.obey(policies, in_flight, self._in_flight.values(), now)
        return self._pump(now)

    # Coming

    def _arrive(self, ticket: Ticket, now: float) -> list[Effect]:
        candidates = self._candidates(ticket.model)
        in_flight = parallel_of(candidates)
        ticket.work = work_of(ticket, ticket.prediction, candidates, in_flight)
        if not self._placement.usable(candidates, ticket, now):
            return [self._no_backend(ticket)]
        tokens = ticket.prompt_tokens + ticket.work.output_tokens
        refusal = self._tenants.arrive(ticket.tenant, tokens, now)
        if refusal is not None:
            seconds = bounded_retry_after(refusal.retry_after_seconds)
            return [Drop(ticket, Outcome.REJECTED_RATE_LIMITED, refusal.reason, seconds)]
        pool = self._pools.of(ticket.model)
        pool.arrived(ticket.work, in_flight, now)
        # With others before it, a free backend is theirs; the pump sees to that.
        backend = None if pool.waiting else self._room_for(ticket, now)
        if backend is not None:
            pool.rank(ticket, in_flight)
            return [self._dispatch(ticket, backend, pool, now)]
        return self._wait(ticket, pool, in_flight, now)

    def _room_for(self, ticket: Ticket, now: float) -> Backend | None:
        """Where a request could go, were nobody before it."""
        if not self._may_dispatch(ticket, now):
            return None
        return self._placement.pick(self._candidates(ticket.model), ticket, now).backend

    def _is_near(self, ticket: Ticket, now: float) -> bool:
        """Whether a request is among those that the next look for room comes to."""
        may_dispatch = partial(self._may_dispatch, now=now)
        pool = self._pools.of(ticket.model)
        return pool.is_near(ticket, 1 + pool.policy.backfill, now, may_dispatch)

    def _may_dispatch(self, ticket: Ticket, now: float) -> bool:
        return self._tenants.may_dispatch(ticket.tenant, now)

    def _wait(self, ticket: Ticket, pool: Pool, in_flight: int, now: float) -> list[Effect]:
        """Take a place in the queue; whom there is room for needs none if the others leave it."""
        reason = self._why_not_wait(ticket, pool, in_flight, now)
        effects: list[Effect] = []
        if reason is not None and self._room_for(ticket, now) is None:
            drop = self._turn_away(ticket, reason, now)
            if drop.ticket is ticket:
                return [drop]
            effects.append(drop)
            reason = None
        pool.add(ticket, in_flight, now)
        self._joined(ticket, now)
        # What the others could not use is of no use to them now: only the newcomer changes that.
        if reason is not None or (
            self._is_near(ticket, now) and self._room_for(ticket, now) is not None
        ):
            effects += self._pump_pool(pool, None, now)
        if reason is not None and ticket.waiting:
            effects.append(self._turn_away(ticket, reason, now))
        return effects

    def _turn_away(self, ticket: Ticket, reason: DropReason, now: float) -> Drop:
        """Refuse whoever has to go for want of a place: the newcomer, or one of a worse class."""
        if reason is DropReason.QUEUE_FULL:
            last = self._pools.shed(self._pools.of(ticket.model), ticket.service_class)
            if last is not None:
                return self._drop(last, Outcome.EVICTED_PRIORITY, DropReason.SHED, now)
        return self._drop(ticket, Outcome.REJECTED_SATURATED, reason, now)

    def _joined(self, ticket: Ticket, now: float) -> None:
        """Count a request that has just begun to wait."""
        self.demand.hold(ticket)
        self._waiting += 1
        self._tenants.waits(ticket.tenant, 1, now)
        if ticket.deadline is not None:
            self._timed.add(ticket)

    def _why_not_wait(
        self, ticket: Ticket, pool: Pool, in_flight: int, now: float
    ) -> DropReason | None:
        if not self._tenants.may_wait(ticket.tenant, now):
            return DropReason.TENANT_QUEUE_FULL
        deadline = ticket.deadline
        if deadline is not None and now + pool.wait_seconds(ticket, in_flight) > deadline:
            return DropReason.DEADLINE
        return self._pools.why_full(pool, ticket.service_class)

    def _come_back(self, ticket: Ticket, now: float) -> list[Effect]:
        backend = ticket.backend
        pool = self._pools.of(ticket.model)
        pool.settle(ticket, (0, 0), now)
        self._leave_backend(ticket, now)
        if backend is not None:
            ticket.tried.append(backend)
        effects: list[Effect] = []
        if self._placement.usable(self._candidates(ticket.model), ticket, now):
            # First in its line, but it does not pass a better class.
            pool.restore(ticket, now)
            self._joined(ticket, now)
        else:
            self._give_back_tokens(ticket, now)
            effects.append(self._no_backend(ticket))
        return effects + self._pump(now)

    # Going

    def _finish(self, ticket: Ticket, tokens: ServedTokens | None, now: float) -> list[Effect]:
        backend = ticket.backend
        pool = self._pools.of(ticket.model)
        if tokens is None:
            pool.settle(ticket, None, now)
        else:
            real = (tokens.prompt_tokens, tokens.output_tokens)
            pool.settle(ticket, real, now)
            predicted = ticket.prompt_tokens + ticket.work.output_tokens
            self._tenants.correct(ticket.tenant, sum(real) - predicted, now)
        self._leave_backend(ticket, now, None if tokens is None else tokens.output_tokens)
        return self._pump_freed(ticket, backend, now)

    def _cancel(self, ticket: Ticket, now: float) -> list[Effect]:
        if ticket.waiting:
            was_near = self._is_near(ticket, now)
            self._leave_queue(ticket, now)
            self.demand.release(ticket)
            self._give_back_tokens(ticket, now)
            # It may have been what the others stood behind.
            return self._pump(now) if was_near else []
        if ticket.number in self._in_flight:
            # Its dispatch was decided but not yet performed when its client left.
            backend = ticket.backend
            if backend is not None:
                backend.breaker.abandoned(was_trial=ticket.is_trial)
            self._pools.of(ticket.model).settle(ticket, (0, 0), now)
            self._leave_backend(ticket, now)
            self._give_back_tokens(ticket, now)
            return self._pump_freed(ticket, backend, now)
        return []

    def _predict_again(
        self, ticket: Ticket, prediction: LengthDistribution, now: float
    ) -> list[Effect]:
        """Order alone makes no room: nobody is dispatched for it."""
        if ticket.waiting:
            candidates = self._candidates(ticket.model)
            in_flight = parallel_of(candidates)
            work = work_of(ticket, prediction, candidates, in_flight)
            more = work.output_tokens - ticket.work.output_tokens
            self._tenants.correct(ticket.tenant, more, now)
            self._pools.of(ticket.model).rerank(ticket, work, in_flight)
            ticket.prediction = prediction
            self.demand.hold(ticket)
        return []

    # Dispatching

    def _pump_freed(self, gone: Ticket, backend: Backend | None, now: float) -> list[Effect]:
        """After a request has left a backend."""
        # Its tenant may have waited for that, with backends free that the request was not on.
        is_limited = gone.tenant.limits.max_in_flight is not None
        return self._pump(now, None if is_limited else backend)

    def _pump(self, now: float, freed: Backend | None = None) -> list[Effect]:
        """Dispatch whatever can be dispatched, pools of better classes first."""
        if not self._waiting:
            return []
        effects: list[Effect] = []
        for pool in self._pools.busy():
            effects += self._pump_pool(pool, freed, now)
        return effects

    def _look_around(self, now: float) -> list[Effect]:
        """Time may have made room somewhere: look at one backend, and at some that are idle.

        Backends' own events and figures tell of most room at once.
        """
        effects: list[Effect] = []
        self._ticks += 1
        for pool in [pool for pool in self._pools if pool.waiting]:
            candidates = self._candidates(pool.model)
            count = len(candidates)
            if not count:
                continue
            effects += self._pump_pool(pool, candidates[self._ticks % count], now)
            for place in range(min(count, _IDLE_LOOKED_AT)):
                backend = candidates[(self._ticks * _IDLE_LOOKED_AT + place) % count]
                if not backend.in_flight and backend.is_usable(now):
                    effects += self._pump_pool(pool, backend, now)
        return effects

    def _pump_pool(self, pool: Pool, freed: Backend | None, now: float) -> list[Effect]:
        """Dispatch from one pool.

        Args:
            pool: It.
            freed: The only backend that can have got room since the last look; ``None`` for all.
            now: Monotonic seconds.
        """
        effects: list[Effect] = []
        if not pool.waiting:
            return effects
        candidates = self._candidates(pool.model)
        if freed is not None:
            candidates = (freed,) if freed in candidates else ()
        may_dispatch = partial(self._may_dispatch, now=now)
        look = Look(pool, candidates, self._placement, may_dispatch, pool.policy.backfill, now)
        while pool.waiting and (found := look.next()) is not None:
            ticket, backend = found
            self._leave_queue(ticket, now)
            effects.append(self._dispatch(ticket, backend, pool, now))
        return effects

    def _dispatch(self, ticket: Ticket, backend: Backend, pool: Pool, now: float) -> Dispatch:
        backend.in_flight += 1
        ledger = backend.admission.ledger
        ledger.add(ticket.number, ticket.prompt_tokens, ticket.prediction, now)
        ledger.set_pace(backend.cost.step_seconds(backend.batch), now)
        ticket.is_trial = backend.breaker.started()
        ticket.backend = backend
        self._in_flight[ticket.number] = ticket
        self.demand.hold(ticket)
        self._tenants.flies(ticket.tenant, 1, now)
        pool.dispatched(ticket, now)
        self._placement.sent(ticket, backend, now)
        return Dispatch(ticket, backend)

    def _leave_backend(self, ticket: Ticket, now: float, output_tokens: int | None = None) -> None:
        del self._in_flight[ticket.number]
        self.demand.release(ticket)
        self._tenants.flies(ticket.tenant, -1, now)
        backend = ticket.backend
        if backend is not None:
            backend.in_flight -= 1
            backend.admission.finished(ticket.number, output_tokens, now)
            pace = backend.cost.step_seconds(max(1.0, backend.batch))
            backend.admission.ledger.set_pace(pace, now)
            ticket.backend = None

    # Refusing

    def _expire(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for pool in self._pools:
            late = pool.expired(now)
            effects += [self._expired(ticket, DropReason.TTL, now) for ticket in late]
        while self._timed and _by_deadline(self._timed[0])[0] <= now:
            effects.append(self._expired(self._timed[0], DropReason.DEADLINE, now))
        return effects

    def _expired(self, ticket: Ticket, reason: DropReason, now: float) -> Drop:
        usable = self._placement.usable(self._candidates(ticket.model), ticket, now)
        drop = self._drop(ticket, Outcome.EVICTED_TTL, reason, now)
        return drop if usable else self._no_backend(ticket)

    def _drop(self, ticket: Ticket, outcome: Outcome, reason: DropReason, now: float) -> Drop:
        """Turn away one that waits, or would have."""
        if ticket.waiting:
            self._leave_queue(ticket, now)
            self.demand.release(ticket)
        self._give_back_tokens(ticket, now)
        return Drop(ticket, outcome, reason, self._retry_after(ticket))

    def _drop_all(self, now: float) -> list[Effect]:
        waiting = self._pools.everybody()
        for ticket in waiting:
            self._leave_queue(ticket, now)
            self.demand.release(ticket)
        why = (Outcome.REJECTED_SHUTTING_DOWN, DropReason.SHUTTING_DOWN)
        return [Drop(ticket, *why, MIN_RETRY_AFTER_SECONDS) for ticket in waiting]

    def _no_backend(self, ticket: Ticket) -> Drop:
        return Drop(
            ticket,
            Outcome.REJECTED_NO_BACKENDS,
            DropReason.NO_BACKENDS,
            _NO_BACKEND_RETRY_AFTER_SECONDS,
        )

    def _retry_after(self, ticket: Ticket) -> float:
        """Time until the work ahead of a request of this class will have been done."""
        parallel = parallel_of(self._candidates(ticket.model))
        ahead = self._pools.of(ticket.model).service_ahead(ticket.service_class)
        return bounded_retry_after((ahead + ticket.work.service_seconds) / max(1, parallel))

    def _give_back_tokens(self, ticket: Ticket, now: float) -> None:
        """A request that was not served does not count against its tenant's tokens."""
        self._tenants.correct(
            ticket.tenant, -(ticket.prompt_tokens + ticket.work.output_tokens), now
        )

    def _leave_queue(self, ticket: Ticket, now: float) -> None:
        self._pools.of(ticket.model).remove(ticket, now)
        self._waiting -= 1
        self._tenants.waits(ticket.tenant, -1, now)
        if ticket.deadline is not None:
            self._timed.remove(ticket)


def _by_deadline(ticket: Ticket) -> tuple[float, int]:
    return (inf if ticket.deadline is None else ticket.deadline, ticket.number)
