"""What an ordering is asked, and with what knowledge."""

from dataclasses import dataclass
from math import log
from typing import Protocol

from alise_gateway.queueing.events import Ticket

_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the ticket's pool is.

    Attributes:
        waiting: Requests that wait.
        in_flight: Requests on its backends.
        service_seconds: Mean predicted service of recent arrivals.
        wait_seconds: How long the waiting work would take, averaged over minutes.
    """

    waiting: int = 0
    in_flight: int = 0
    service_seconds: float = 1.0
    wait_seconds: float = 0.0


class Ordering(Protocol):
    """Ranks the requests of one line."""

    def rank(self, ticket: Ticket, load: Load) -> float:
        """Place in the order, lower is earlier; ``ticket.work`` is known."""
        ...


def aged(size: float, enqueued: float, half_life_seconds: float | None) -> float:
    """Rank by size where a wait of one half-life halves the size.

    ``size * 0.5 ** (wait / half_life)`` orders like ``log2(size) + enqueued / half_life`` at any
    time, which does not change while a request waits.

    Args:
        size: Positive; what is smaller goes first.
        enqueued: Monotonic seconds.
        half_life_seconds: ``None`` for no aging.
    """
    rank = log(max(size, _LEAST)) / log(2.0)
    return rank if half_life_seconds is None else rank + enqueued / half_life_seconds
