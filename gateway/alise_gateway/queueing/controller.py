"""The queue's single owner: feeds events to the state and performs its effects.

Runs on the event loop without a task of its own: an event is handled where it happens, so an
unsaturated gateway dispatches in the same step that parsed the request. Effects may cause new
events (a backend that refuses the connection at once); those are handled after the present
ones, never inside them.
"""

import random
from collections import deque

from alise_core.clock import Clock
from alise_core.prediction import LengthDistribution
from alise_core.service_class import ServiceClass
from alise_core.shares import Share
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.policies import Policies
from alise_gateway.queueing.demand import ModelDemand
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

_JITTER = 0.25
"""Clients told to come back at the same time come back over this share of it more."""


class QueueController:
    """See the module."""

    def __init__(self, state: QueueState, clock: Clock, jitter: random.Random) -> None:
        self._state = state
        self._clock = clock
        self._jitter = jitter
        self._events: deque[Event] = deque()
        self._busy = False

    @property
    def policies(self) -> Policies:
        """What is obeyed now."""
        return self._state.policies

    @property
    def waiting(self) -> int:
        """Requests that wait for a backend."""
        return self._state.waiting

    def waiting_by_class(self) -> dict[ServiceClass, int]:
        """Requests that wait for a backend, by class."""
        return self._state.waiting_by_class()

    def demand(self) -> dict[str, ModelDemand]:
        """KV tokens that all requests are predicted to need, by model."""
        return self._state.demand.of_models()

    def peaks(self) -> dict[str, tuple[float, float]]:
        """The most KV tokens that they will hold at one time, p50 and p90, by model."""
        return self._state.demand.peaks(self._clock.now())

    @property
    def in_flight(self) -> int:
        """Requests on backends."""
        return self._state.in_flight

    @property
    def oldest_enqueued(self) -> float | None:
        """Monotonic mark of the request that has waited longest; ``None`` if none waits."""
        return self._state.oldest_enqueued

    def submit(self, ticket: Ticket) -> None:
        """A new request."""
        self._post(Arrived(ticket))

    def give_back(self, ticket: Ticket) -> None:
        """A dispatched request that needs another backend."""
        self._post(Returned(ticket))

    def cancel(self, ticket: Ticket) -> None:
        """A waiting request whose client left."""
        self._post(Cancelled(ticket))

    def finish(self, ticket: Ticket, tokens: ServedTokens | None = None) -> None:
        """A dispatched request that is over; ``tokens`` where its engine told them."""
        self._post(Finished(ticket, tokens))

    def repredict(self, ticket: Ticket, prediction: LengthDistribution) -> None:
        """More is known of a request that may still be waiting."""
        self._post(Repredicted(ticket, prediction))

    def backends_changed(self, backend: Backend | None = None) -> None:
        """Discovery has news: of one backend, or of any."""
        self._post(BackendsChanged(backend))

    def set_policies(self, policies: Policies) -> None:
        """Have other policies obeyed, by what waits too."""
        self._post(PoliciesChanged(policies))

    def set_share(self, share: Share) -> None:
        """This gateway is one of so many; it has its part of what tenants may take up."""
        self._post(ShareChanged(share))

    def tick(self) -> None:
        """Called a few times a second."""
        self._post(Ticked())

    def shut_down(self) -> None:
        """The drain time is over: refuse whoever still waits."""
        self._post(ShutDown())

    def check(self) -> None:
        """Assert the state's invariants; for tests."""
        self._state.check()

    def _post(self, event: Event) -> None:
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                for effect in self._state.handle(self._events.popleft(), self._clock.now()):
                    self._perform(effect)
        finally:
            self._busy = False

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Dispatch):
            effect.ticket.listener.on_dispatched(effect.backend)
            return
        seconds = effect.retry_after_seconds * (1 + _JITTER * self._jitter.random())
        effect.ticket.listener.on_dropped(effect.outcome, effect.reason, seconds)
