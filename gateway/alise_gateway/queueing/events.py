"""What the queue is told, and what it answers. Pure values."""

from dataclasses import dataclass, field
from typing import Protocol

from alise_core.outcome import Outcome
from alise_core.prediction import LengthDistribution
from alise_gateway.domain.backend import Backend


class TicketListener(Protocol):
    """Who submitted a ticket; called by the controller only."""

    def on_dispatched(self, backend: Backend) -> None:
        """Its turn has come: send it to ``backend``."""
        ...

    def on_dropped(self, outcome: Outcome, retry_after_seconds: float) -> None:
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
        tried: Backends that have failed it.
        backend: Where it is in flight.
        is_trial: It is the one request that a half-open breaker lets through.
        waiting: It stands in an ordering.
        prediction: How long its answer will probably be, where that is known.
    """

    number: int
    model: str
    listener: TicketListener
    enqueued: float
    tried: list[Backend] = field(default_factory=list)
    backend: Backend | None = None
    is_trial: bool = False
    waiting: bool = False
    prediction: LengthDistribution | None = None


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
    """A dispatched request is over, however it ended."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Repredicted:
    """More is known of how long the answer to a waiting request will be."""

    ticket: Ticket
    prediction: LengthDistribution


@dataclass(frozen=True, slots=True)
class BackendsChanged:
    """A backend appeared, vanished, recovered, failed or changed its models."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class ShutDown:
    """Nobody who still waits will be served."""


Event = (
    Arrived | Returned | Cancelled | Finished | Repredicted | BackendsChanged | Ticked | ShutDown
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
    retry_after_seconds: float


Effect = Dispatch | Drop
