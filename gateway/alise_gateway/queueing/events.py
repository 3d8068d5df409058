"""What the queue is told, and what it answers. Pure values."""

from dataclasses import dataclass, field
from typing import Protocol

from alise_core.outcome import Outcome
from alise_core.prediction import LengthDistribution
from alise_core.service_class import ServiceClass
from alise_core.shares import Share
from alise_gateway.domain.affinity import NO_AFFINITY, Affinity, ToolUse
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.policies import Policies
from alise_gateway.domain.request import ANONYMOUS, Tenant
from alise_gateway.domain.work import NO_WORK, Work


class TicketListener(Protocol):
    """Who submitted a ticket; called by the controller only."""

    def on_dispatched(self, backend: Backend) -> None:
        """Its turn has come: send it to ``backend``."""
        ...

    def on_dropped(self, outcome: Outcome, reason: DropReason, retry_after_seconds: float) -> None:
        """It will not be served."""
        ...


@dataclass(slots=True, eq=False)
class Ticket:
    """One request's place in the queue.

    Attributes:
        number: Unique, rising with arrival.
        model: Name under which backends serve the model.
        listener: Told what became of it; the pure queue never calls it.
        enqueued: Monotonic mark of its arrival in the queue.
        tenant: Who pays.
        service_class: The band it waits in.
        flow: Part of the tenant's traffic that shares fairly with its other parts.
        prompt_tokens: Estimate.
        prediction: How long its answer will probably be; ``None`` where there is no output.
        deadline: Monotonic mark by which the client wants a first token.
        affinity: What it shares with earlier requests.
        affinity_ttl_seconds: How long its conversation is expected to come back; ``None`` for as
            long as usual.
        tools: Of a request that may end in a tool call.
        tried: Backends that have failed it.
        backend: Where it is in flight.
        is_trial: It is the one request that a half-open breaker lets through.
        waiting: It stands in a line.
        work: What it is expected to cost; written by the queue.
        rank: Its place in the order, lower is earlier; written by the queue.
        guard_at: Monotonic mark from which on it goes first in its line; written by the queue.
        passed: How often another took the room that it was too large for.
        charged: Tokens that its tenant was charged at dispatch.
    """

    number: int
    model: str
    listener: TicketListener
    enqueued: float
    tenant: Tenant = ANONYMOUS
    service_class: ServiceClass = ServiceClass.DEFAULT
    flow: str = ""
    prompt_tokens: float = 0.0
    prediction: LengthDistribution | None = None
    deadline: float | None = None
    affinity: Affinity = NO_AFFINITY
    affinity_ttl_seconds: float | None = None
    tools: ToolUse | None = None
    tried: list[Backend] = field(default_factory=list)
    backend: Backend | None = None
    is_trial: bool = False
    waiting: bool = False
    work: Work = NO_WORK
    rank: float = 0.0
    guard_at: float = 0.0
    passed: int = 0
    charged: float = 0.0


@dataclass(frozen=True, slots=True)
class ServedTokens:
    """What a finished request really was, as its engine counted."""

    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request wants a backend."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Returned:
    """A dispatched request lost its backend before the client saw a byte."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A request's client left while it waited."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Finished:
    """A dispatched request is over, however it ended; ``tokens`` where its engine told them."""

    ticket: Ticket
    tokens: ServedTokens | None = None


@dataclass(frozen=True, slots=True)
class Repredicted:
    """More is known of how long the answer to a waiting request will be."""

    ticket: Ticket
    prediction: LengthDistribution


@dataclass(frozen=True, slots=True)
class BackendsChanged:
    """A backend appeared, vanished, recovered, failed or changed its models.

    Attributes:
        backend: The only one that can have got room by it; ``None`` for all.
    """

    backend: Backend | None = None


@dataclass(frozen=True, slots=True)
class PoliciesChanged:
    """Other policies hold from now on."""

    policies: Policies


@dataclass(frozen=True, slots=True)
class ShareChanged:
    """This gateway is another one of its peers from now on, or of more or fewer of them."""

    share: Share


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class ShutDown:
    """Nobody who still waits will be served."""


Event = (
    Arrived
    | Returned
    | Cancelled
    | Finished
    | Repredicted
    | BackendsChanged
    | PoliciesChanged
    | ShareChanged
    | Ticked
    | ShutDown
)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send a request to a backend."""

    ticket: Ticket
    backend: Backend


@dataclass(frozen=True, slots=True)
class Drop:
    """Refuse or evict a request."""

    ticket: Ticket
    outcome: Outcome
    reason: DropReason
    retry_after_seconds: float


Effect = Dispatch | Drop
