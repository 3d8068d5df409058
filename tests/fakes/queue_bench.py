"""A queue on a clock that stands still, in front of backends, with clients that take notes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log1p
from typing import Any

from alise_core.outcome import Outcome
from alise_core.policy import (
    AdmissionPolicy,
    ClassLimits,
    OrderingName,
    OrderingPolicy,
    SchedulingPolicy,
)
from alise_core.prediction import LEVELS, LengthDistribution
from alise_core.service_class import ServiceClass
from alise_core.units import BackendName, TenantId
from alise_gateway.domain.backend import Backend, BackendAddress, ProbeState
from alise_gateway.domain.breaker import BreakerLimits, CircuitBreaker
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.request import Tenant, TenantLimits
from alise_gateway.placement.picker import BestBackend
from alise_gateway.queueing.controller import QueueController
from alise_gateway.queueing.events import ServedTokens, Ticket
from alise_gateway.queueing.state import QueueState
from fakes.clock import FakeClock

ADMISSION = AdmissionPolicy(0.5, 0.8, 0.25, 2, 10.0)


def policy(
    max_waiting: int = 10,
    backfill: int = 0,
    max_in_class: int | None = None,
    ttl_seconds: float = 60.0,
) -> SchedulingPolicy:
    """First come, first served, and nothing trickles."""
    return SchedulingPolicy(
        max_waiting,
        dict.fromkeys(ServiceClass, ClassLimits(max_in_class, ttl_seconds, 0.0)),
        OrderingPolicy(OrderingName.FCFS, guard_seconds=1e6),
        admission=ADMISSION,
        backfill=backfill,
    )


def backend(max_in_flight: int = 1, name: str = "b", capacity: int | None = None) -> Backend:
    made = Backend(
        BackendAddress(BackendName(name), "h", 1),
        max_in_flight,
        CircuitBreaker(BreakerLimits(5, 5, 60)),
        probe=ProbeState.HEALTHY,
        admission_policy=ADMISSION,
    )
    made.admission.capacity_tokens = capacity
    return made


def exactly(tokens: float) -> LengthDistribution:
    return LengthDistribution.of([log1p(tokens)] * len(LEVELS), 0, 1e6, tokens)


def limited(name: str = "limited", **limits: Any) -> Tenant:
    return Tenant(TenantId(name), limits=TenantLimits(**limits))


@dataclass
class Client:
    """Submits one ticket and remembers what became of it."""

    bench: "Bench"
    ticket: Ticket = field(init=False)
    backend: Backend | None = None
    outcome: Outcome | None = None
    reason: DropReason | None = None
    retry_after: float = 0.0
    fails_at_once: bool = False
    leaves_at_once: bool = False

    def on_dispatched(self, backend: Backend) -> None:
        self.bench.log.append(f"{self.ticket.number} begins")
        self.backend = backend
        if self.fails_at_once:
            self.bench.queue.give_back(self.ticket)
        if self.leaves_at_once:
            self.bench.queue.cancel(self.ticket)
        self.bench.log.append(f"{self.ticket.number} ends")

    def on_dropped(self, outcome: Outcome, reason: DropReason, retry_after_seconds: float) -> None:
        assert self.outcome is None
        self.outcome, self.reason = outcome, reason
        self.retry_after = retry_after_seconds

    @property
    def waits(self) -> bool:
        return self.ticket.waiting


class Bench:
    """A queue in front of some backends; ``elsewhere`` serves the model ``n``."""

    def __init__(
        self,
        *backends: Backend,
        obeying: SchedulingPolicy | None = None,
        elsewhere: Sequence[Backend] = (),
    ) -> None:
        self.clock = FakeClock()
        self.log: list[str] = []
        obeyed = obeying or policy()
        self.models: dict[str, Sequence[Backend]] = {"m": backends, "n": elsewhere}
        state = QueueState(obeyed, self.models.__getitem__, BestBackend())
        self.queue = QueueController(state, self.clock, random.Random(1))  # noqa: S311  jitter
        self.clients: list[Client] = []

    def submit(
        self, model: str = "m", *, fails_at_once: bool = False, leaves: bool = False, **wish: Any
    ) -> Client:
        client = Client(self, fails_at_once=fails_at_once, leaves_at_once=leaves)
        number = len(self.clients)
        client.ticket = Ticket(number, model, client, float(self.clock.now()), **wish)
        self.clients.append(client)
        self.queue.submit(client.ticket)
        self.queue.check()
        return client

    def finish(self, client: Client, tokens: ServedTokens | None = None) -> None:
        self.queue.finish(client.ticket, tokens)
        self.queue.check()

    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.queue.tick()
        self.queue.check()
