"""The queue's whole state and every transition: events in, effects out. Pure.

A request is in exactly one place: in the ordering of its model, in flight on one backend, or
gone. Requests of one model never overtake each other here except as the ordering says, or where
the one in front waits for a backend that has not failed it yet; models do not wait for each other's
backends. Time comes in with each event.

Refuses: a request when the queue is full (``rejected_saturated``) or when its model has no usable
backend (``rejected_no_backends``). One that waits when its backends vanish keeps its place until
they return or its time is over.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

from alise_core.outcome import Outcome
from alise_core.prediction import LengthDistribution
from alise_gateway.domain.backend import Backend, Placed
from alise_gateway.queueing.events import (
    Arrived,
    BackendsChanged,
    Cancelled,
    Dispatch,
    Drop,
    Effect,
    Event,
    Finished,
    Repredicted,
    Returned,
    ShutDown,
    Ticked,
    Ticket,
)
from alise_gateway.queueing.ordering import Ordering

_RATE_MEMORY = 0.9
_MIN_RETRY_AFTER_SECONDS = 1.0
_MAX_RETRY_AFTER_SECONDS = 60.0
_NO_BACKEND_RETRY_AFTER_SECONDS = 5.0
"""Backends are probed every few seconds: sooner cannot help."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """See ``QueueSettings``."""

    max_waiting: int
    ttl_seconds: float


class Placement(Protocol):
    """Chooses a backend; see ``alise_gateway.placement``."""

    def __call__(
        self, candidates: Sequence[Backend], tried: Collection[Backend], now: float
    ) -> Placed:
        """The backend for a request that ``tried`` have failed, or why there is none."""
        ...


class QueueState:
    """See the module."""

    def __init__(
        self,
        limits: QueueLimits,
        candidates: Callable[[str], Sequence[Backend]],
        place: Placement,
        new_ordering: Callable[[], Ordering],
    ) -> None:
        self._limits = limits
        self._candidates = candidates
        self._place = place
        self._new_ordering = new_ordering
        self._orderings: dict[str, Ordering] = {}
        self._in_flight: dict[int, Ticket] = {}
        self._waiting = 0
        self._finish_interval_seconds: float | None = None
        self._last_finish: float | None = None

    @property
    def waiting(self) -> int:
        """Requests in all orderings."""
        return self._waiting

    @property
    def in_flight(self) -> int:
        """Requests on all backends."""
        return len(self._in_flight)

    @property
    def oldest_enqueued(self) -> float | None:
        """Monotonic mark of the request that has waited longest; ``None`` if none waits."""
        marks = [t.enqueued for o in self._orderings.values() for t in o.expired(float("inf"))]
        return min(marks, default=None)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Apply one event at ``now`` (monotonic seconds); effects are to be performed in order."""
        match event:
            case Arrived(ticket):
                return self._arrive(ticket, now)
            case Finished(ticket):
                self._leave_backend(ticket)
                self._note_finish(now)
                return self._pump(now) if self._waiting else []
            case Returned(ticket):
                return self._come_back(ticket, now)
            case Cancelled(ticket):
                return self._cancel(ticket, now)
            case Repredicted(ticket, prediction):
                return self._rank_again(ticket, prediction)
        return self._handle_common(event, now)

    def check(self) -> None:
        """Raise AssertionError unless the structures agree; for tests."""
        waiting = [t for o in self._orderings.values() for t in o.expired(float("inf"))]
        _require(len(waiting) == self._waiting, "the count of waiting requests is right")
        _require(all(len(o) for o in self._orderings.values()), "no ordering is kept empty")
        for ticket in waiting:
            _require(ticket.waiting and ticket.backend is None, "waiting is not in flight")
        load: dict[Backend, int] = {}
        for ticket in self._in_flight.values():
            if ticket.backend is None or ticket.waiting:
                raise AssertionError("a request in flight has a backend and does not wait")
            load[ticket.backend] = load.get(ticket.backend, 0) + 1
        for backend, count in load.items():
            _require(backend.in_flight == count, "in-flight counts agree")

    def _handle_common(
        self, event: BackendsChanged | Ticked | ShutDown, now: float
    ) -> list[Effect]:
        """Events that concern everybody who waits."""
        match event:
            case BackendsChanged():
                return self._pump(now)
            case Ticked():
                return self._expire(now) + self._pump(now) if self._waiting else []
            case ShutDown():
                return self._drop_all()
        assert_never(event)

    def _arrive(self, ticket: Ticket, now: float) -> list[Effect]:
        ordering = self._orderings.get(ticket.model)
        placed = self._place(self._candidates(ticket.model), ticket.tried, now)
        # With others before it, a free backend is theirs; the pump sees to that.
        if placed.backend is not None and not ordering:
            return [self._dispatch(ticket, placed.backend)]
        if not placed.usable:
            return [self._no_backend(ticket)]
        if self._waiting >= self._limits.max_waiting:
            return [Drop(ticket, Outcome.REJECTED_SATURATED, self._retry_after())]
        if ordering is None:
            ordering = self._orderings[ticket.model] = self._new_ordering()
        ordering.add(ticket)
        ticket.waiting = True
        self._waiting += 1
        return self._pump(now) if placed.backend is not None else []

    def _come_back(self, ticket: Ticket, now: float) -> list[Effect]:
        backend = ticket.backend
        self._leave_backend(ticket)
        if backend is not None:
            ticket.tried.append(backend)
        placed = self._place(self._candidates(ticket.model), ticket.tried, now)
        effects: list[Effect] = []
        if placed.backend is not None:
            effects.append(self._dispatch(ticket, placed.backend))
        elif not placed.usable:
            effects.append(self._no_backend(ticket))
        else:
            ordering = self._orderings.setdefault(ticket.model, self._new_ordering())
            ordering.restore(ticket)
            ticket.waiting = True
            self._waiting += 1
        return effects + self._pump(now) if self._waiting else effects

    def _cancel(self, ticket: Ticket, now: float) -> list[Effect]:
        if ticket.waiting:
            self._leave_queue(ticket)
        elif ticket.number in self._in_flight:
            # Its dispatch was decided but not yet performed when its client left.
            if ticket.backend is not None:
                ticket.backend.breaker.abandoned(was_trial=ticket.is_trial)
            self._leave_backend(ticket)
            return self._pump(now) if self._waiting else []
        return []

    def _rank_again(self, ticket: Ticket, prediction: LengthDistribution) -> list[Effect]:
        """Order alone makes no room: nobody is dispatched for it."""
        if ticket.waiting:
            ticket.prediction = prediction
            self._orderings[ticket.model].repredicted(ticket)
        return []

    def _pump(self, now: float) -> list[Effect]:
        """Dispatch whatever can be dispatched, the longest waiting model first."""
        effects: list[Effect] = []
        heads = [(o.next(), o) for o in self._orderings.values() if len(o)]
        heads.sort(key=lambda head: head[0].enqueued if head[0] else 0.0)
        for _, ordering in heads:
            passed_over: list[Ticket] = []
            while (ticket := ordering.next(passed_over)) is not None:
                placed = self._place(self._candidates(ticket.model), ticket.tried, now)
                if placed.backend is not None:
                    self._leave_queue(ticket)
                    effects.append(self._dispatch(ticket, placed.backend))
                elif ticket.tried:
                    # What has failed it may be free, and is then for the others.
                    passed_over.append(ticket)
                else:
                    break
        return effects

    def _expire(self, now: float) -> list[Effect]:
        before = now - self._limits.ttl_seconds
        late = [t for ordering in self._orderings.values() for t in ordering.expired(before)]
        effects: list[Effect] = []
        for ticket in late:
            self._leave_queue(ticket)
            if self._place(self._candidates(ticket.model), ticket.tried, now).usable:
                effects.append(Drop(ticket, Outcome.EVICTED_TTL, self._retry_after()))
            else:
                effects.append(self._no_backend(ticket))
        return effects

    def _drop_all(self) -> list[Effect]:
        waiting = [t for o in self._orderings.values() for t in o.expired(float("inf"))]
        for ticket in waiting:
            self._leave_queue(ticket)
        return [
            Drop(ticket, Outcome.REJECTED_SHUTTING_DOWN, _MIN_RETRY_AFTER_SECONDS)
            for ticket in waiting
        ]

    def _dispatch(self, ticket: Ticket, backend: Backend) -> Dispatch:
        backend.in_flight += 1
        ticket.is_trial = backend.breaker.started()
        ticket.backend = backend
        self._in_flight[ticket.number] = ticket
        return Dispatch(ticket, backend)

    def _leave_backend(self, ticket: Ticket) -> None:
        del self._in_flight[ticket.number]
        if ticket.backend is not None:
            ticket.backend.in_flight -= 1
            ticket.backend = None

    def _leave_queue(self, ticket: Ticket) -> None:
        ordering = self._orderings[ticket.model]
        ordering.remove(ticket)
        ticket.waiting = False
        self._waiting -= 1
        if not len(ordering):
            del self._orderings[ticket.model]

    def _no_backend(self, ticket: Ticket) -> Drop:
        return Drop(ticket, Outcome.REJECTED_NO_BACKENDS, _NO_BACKEND_RETRY_AFTER_SECONDS)

    def _note_finish(self, now: float) -> None:
        """Smooth the time between completions: how fast the queue drains."""
        if self._last_finish is not None:
            interval = now - self._last_finish
            old = self._finish_interval_seconds
            self._finish_interval_seconds = (
                interval if old is None else _RATE_MEMORY * old + (1 - _RATE_MEMORY) * interval
            )
        self._last_finish = now

    def _retry_after(self) -> float:
        """Time until those who wait now will have been served."""
        interval = self._finish_interval_seconds or 0.0
        return min(
            _MAX_RETRY_AFTER_SECONDS, max(_MIN_RETRY_AFTER_SECONDS, interval * self._waiting)
        )


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(f"violated: {what}")
