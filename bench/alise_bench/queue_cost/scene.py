"""A queue that is kept at one length, with full backends: made of the gateway's own decision code.

Time is virtual and passes as requests finish. Whoever drives it applies one event at a time and
reads its cost from a clock of its choice.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import log1p
from types import MappingProxyType

from alise_core.outcome import Outcome
from alise_core.policy import OrderingName, SchedulingPolicy
from alise_core.prediction import LEVELS, LengthDistribution
from alise_core.service_class import ServiceClass
from alise_core.units import BackendName, TenantId
from alise_gateway.domain.backend import Backend, BackendAddress, ProbeState
from alise_gateway.domain.breaker import BreakerLimits, CircuitBreaker
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.engine_figures import EngineFigures
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
    Repredicted,
    ServedTokens,
    Ticked,
    Ticket,
)
from alise_gateway.queueing.state import QueueState

KV_TOKENS = 24_000
"""Of a backend: some dozens of the requests below, so that memory is what runs out."""
MAX_IN_FLIGHT = 256
"""What the gateway is configured with; beyond what the memory holds."""
SLOTS = 16
"""The same where memory is not what runs out."""
_SERVICE_SECONDS = 5.0
"""About what one of the requests below takes."""
_NEVER_SECONDS = 1e9
_SHARES = MappingProxyType(
    {
        ServiceClass.PRIORITY: 10,
        ServiceClass.SCALE: 5,
        ServiceClass.DEFAULT: 60,
        ServiceClass.FLEX: 15,
        ServiceClass.BATCH: 10,
    }
)
"""Requests by class, of a hundred."""
_PREDICTIONS = 512
_MEDIAN_TOKENS = (20.0, 800.0)
_PROMPT_TOKENS = (20, 1_000)
_SPREADS = (-1.4, -0.9, -0.45, 0.0, 0.45, 0.9, 1.4)
"""Of a prediction, in natural logarithms at each of ``LEVELS``: about what the shipped one says."""
_MOST_TOKENS = 4_096
_WEIGHTS = (1.0, 1.0, 1.0, 2.0)
_NEVER_BREAKS = BreakerLimits(failures=1 << 30, open_seconds=1.0, max_open_seconds=1.0)


@dataclass(frozen=True, slots=True)
class Shape:
    """What waits, and what for.

    Attributes:
        ordering: Of the requests of one tenant.
        waiting: Requests in the queue.
        tenants: Who sends them.
        backends: How many there are.
        memory_bound: KV memory is what runs out; the number in flight otherwise.
        trickle: Lower classes get their share, as shipped.
    """

    ordering: OrderingName
    waiting: int
    tenants: int
    backends: int
    memory_bound: bool = True
    trickle: bool = True


class _Nobody:
    """The pure queue never calls its tickets' listeners."""

    def on_dispatched(self, backend: Backend) -> None:
        """Not called."""
        raise AssertionError("called by the pure queue")

    def on_dropped(self, outcome: Outcome, reason: DropReason, retry_after_seconds: float) -> None:
        """Not called."""
        raise AssertionError("called by the pure queue")


class Bag:
    """Tickets, of which any can be drawn or taken out in constant time."""

    def __init__(self) -> None:
        self._items: list[Ticket] = []
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, ticket: Ticket) -> None:
        """Put one in."""
        self._places[ticket.number] = len(self._items)
        self._items.append(ticket)

    def remove(self, ticket: Ticket) -> None:
        """Take one out; raises KeyError where it is not there."""
        place = self._places.pop(ticket.number)
        last = self._items.pop()
        if last is not ticket:
            self._items[place] = last
            self._places[last.number] = place

    def draw(self, generator: random.Random) -> Ticket:
        """Any of them."""
        return self._items[generator.randrange(len(self._items))]


class Scene:
    """See the module.

    Args:
        shape: What waits, and what for.
        seed: Of everything that is drawn.

    Attributes:
        waiting: Who waits.
        in_flight: Who is on a backend.
    """

    def __init__(self, shape: Shape, seed: int) -> None:
        self._shape = shape
        self._random = random.Random(seed)  # noqa: S311
        self._numbers = count()
        self._now = 0.0
        self._tenants = [
            Tenant(TenantId(f"tenant-{number}"), weight=_WEIGHTS[number % len(_WEIGHTS)])
            for number in range(shape.tenants)
        ]
        self._predictions = [self._prediction() for _ in range(_PREDICTIONS)]
        self._classes = list(_SHARES)
        self._class_weights = list(_SHARES.values())
        self._backends = backends = _backends(shape)
        policy = policy_of(shape)
        self._state = QueueState(policy, lambda _: backends, BestBackend())
        self._listener = _Nobody()
        self.waiting = Bag()
        self.in_flight = Bag()

    @property
    def full(self) -> bool:
        """As many wait as shall."""
        return len(self.waiting) >= self._shape.waiting

    def arrival(self) -> Event:
        """Somebody new comes."""
        generator = self._random
        ticket = Ticket(
            next(self._numbers),
            "model",
            self._listener,
            self._now,
            tenant=generator.choice(self._tenants),
            service_class=generator.choices(self._classes, self._class_weights)[0],
            prompt_tokens=float(generator.randint(*_PROMPT_TOKENS)),
            prediction=generator.choice(self._predictions),
        )
        self.waiting.add(ticket)
        return Arrived(ticket)

    def finish(self) -> Event:
        """Somebody's answer is complete; its length is drawn from what was predicted."""
        ticket = self.in_flight.draw(self._random)
        self._now += _SERVICE_SECONDS / len(self.in_flight)
        self.in_flight.remove(ticket)
        length = ticket.prediction
        tokens = 1 if length is None else round(length.quantile(self._random.random()))
        return Finished(ticket, ServedTokens(round(ticket.prompt_tokens), tokens))

    def repredict(self) -> Event:
        """More is known of somebody who waits."""
        ticket = self.waiting.draw(self._random)
        return Repredicted(ticket, self._random.choice(self._predictions))

    def cancel(self) -> Event:
        """Somebody's client leaves."""
        ticket = self.waiting.draw(self._random)
        self.waiting.remove(ticket)
        return Cancelled(ticket)

    def scrape(self) -> Event:
        """Fresh figures of a backend have been read."""
        return BackendsChanged(self._random.choice(self._backends))

    def tick(self) -> Event:
        """Time has passed."""
        return Ticked()

    def apply(self, event: Event) -> list[Effect]:
        """Let the queue decide: what is measured."""
        return self._state.handle(event, self._now)

    def follow(self, effects: Sequence[Effect]) -> None:
        """Do what was decided: requests that are dispatched run."""
        for effect in effects:
            if not isinstance(effect, Dispatch):
                raise TypeError(f"the queue refused a request: {effect.reason}")
            self.waiting.remove(effect.ticket)
            self.in_flight.add(effect.ticket)

    def fill(self) -> None:
        """Let requests come until as many wait as shall."""
        while not self.full:
            self.follow(self.apply(self.arrival()))

    def check(self) -> None:
        """Assert the queue's invariants; for tests."""
        self._state.check()

    def _prediction(self) -> LengthDistribution:
        generator = self._random
        low, high = (log1p(tokens) for tokens in _MEDIAN_TOKENS)
        median = generator.uniform(low, high)
        quantiles = [median + spread for spread in _SPREADS[: len(LEVELS)]]
        return LengthDistribution.of(quantiles, 1, _MOST_TOKENS, None)


def policy_of(shape: Shape) -> SchedulingPolicy:
    """What ships, with an ordering, and with a queue that refuses nobody."""
    default = SchedulingPolicy()
    classes = {
        name: replace(
            limits,
            ttl_seconds=_NEVER_SECONDS,
            trickle_share=limits.trickle_share if shape.trickle else 0.0,
        )
        for name, limits in default.classes.items()
    }
    return replace(
        default,
        max_waiting=1 << 30,
        classes=MappingProxyType(classes),
        ordering=replace(default.ordering, name=shape.ordering),
    )


def _backends(shape: Shape) -> tuple[Backend, ...]:
    return tuple(_backend(number, shape) for number in range(shape.backends))


def _backend(number: int, shape: Shape) -> Backend:
    backend = Backend(
        BackendAddress(BackendName(f"backend-{number}"), "backend", number),
        MAX_IN_FLIGHT if shape.memory_bound else SLOTS,
        CircuitBreaker(_NEVER_BREAKS),
        probe=ProbeState.HEALTHY,
    )
    if shape.memory_bound:
        backend.admission.observe(
            EngineFigures(at=0.0, capacity_tokens=KV_TOKENS), 0.0, MAX_IN_FLIGHT
        )
    return backend
