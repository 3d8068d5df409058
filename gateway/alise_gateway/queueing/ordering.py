"""Which waiting request is next; one small class per ordering. Pure."""

from collections import OrderedDict
from collections.abc import Collection
from typing import Protocol

from alise_gateway.queueing.events import Ticket


class Ordering(Protocol):
    """The requests of one model that wait."""

    def add(self, ticket: Ticket) -> None:
        """A request joins."""
        ...

    def restore(self, ticket: Ticket) -> None:
        """A request comes back that had its turn already and lost its backend."""
        ...

    def next(self, passed_over: Collection[Ticket] = ()) -> Ticket | None:
        """Whose turn it is, but for those in ``passed_over``; it stays until removed."""
        ...

    def remove(self, ticket: Ticket) -> None:
        """A request leaves; raises KeyError where it is not waiting."""
        ...

    def repredicted(self, ticket: Ticket) -> None:
        """A waiting request's prediction was replaced; where ranks depend on it, it moves."""
        ...

    def expired(self, before: float) -> list[Ticket]:
        """Requests enqueued before ``before`` (monotonic seconds)."""
        ...

    def __len__(self) -> int: ...


class Fcfs:
    """First come, first served; one that comes back is served first."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, Ticket] = OrderedDict()

    def add(self, ticket: Ticket) -> None:
        """Join at the end."""
        self._waiting[ticket.number] = ticket

    def restore(self, ticket: Ticket) -> None:
        """Join at the front."""
        self._waiting[ticket.number] = ticket
        self._waiting.move_to_end(ticket.number, last=False)

    def next(self, passed_over: Collection[Ticket] = ()) -> Ticket | None:
        """The front."""
        return next((t for t in self._waiting.values() if t not in passed_over), None)

    def remove(self, ticket: Ticket) -> None:
        """Leave, from anywhere."""
        del self._waiting[ticket.number]

    def repredicted(self, ticket: Ticket) -> None:
        """Who came first stays first, however long the answer."""

    def expired(self, before: float) -> list[Ticket]:
        """Those who have waited too long; they need not stand at the front."""
        return [ticket for ticket in self._waiting.values() if ticket.enqueued < before]

    def __len__(self) -> int:
        return len(self._waiting)
