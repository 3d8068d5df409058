"""One look for room in one pool: whose turn it is, and where it goes. Pure.

The first in turn goes first where it fits. Where it does not, a few of those behind it may be tried
in its place, so that memory does not lie idle until enough has gathered; after some have gone past
it, room is kept for it. What has failed a request may be free, and is then for the others.

During a look room only shrinks: who has found none is not asked again.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from alise_gateway.domain.backend import Backend, Placed
from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.pool import Pool

_MOST_PASSED = 16
"""So often others may take the room that a request is too large for; then it is kept for it."""


class Placement(Protocol):
    """Chooses backends; see ``alise_gateway.placement``."""

    def pick(self, candidates: Sequence[Backend], request: Ticket, now: float) -> Placed:
        """The backend for a request, or why there is none."""
        ...

    def usable(self, candidates: Sequence[Backend], request: Ticket, now: float) -> bool:
        """Whether some backend could serve a request, if it had room."""
        ...

    def sent(self, request: Ticket, backend: Backend, now: float) -> None:
        """A request goes to a backend."""
        ...


class Look:
    """See the module.

    Args:
        pool: Who waits.
        candidates: Where there may be room.
        placement: Chooses among them.
        may_dispatch: Whether a ticket's tenant may have one more in flight.
        backfill: How many may be tried in place of one that does not fit.
        now: Monotonic seconds.
    """

    def __init__(
        self,
        pool: Pool,
        candidates: Sequence[Backend],
        placement: Placement,
        may_dispatch: Callable[[Ticket], bool],
        backfill: int,
        now: float,
    ) -> None:
        self._pool = pool
        self._candidates = candidates
        self._placement = placement
        self._may_dispatch = may_dispatch
        self._backfill = backfill
        self._now = now
        self._refused: set[int] = set()

    def next(self) -> tuple[Ticket, Backend] | None:
        """Who is dispatched next, and where to; ``None`` when there is no more room.

        Whoever asks again has dispatched it.
        """
        too_large: list[Ticket] = []
        for ticket in self._pool.in_turn(self._now, self._may_dispatch):
            if ticket.number not in self._refused:
                placed = self._placement.pick(self._candidates, ticket, self._now)
                if placed.backend is not None:
                    for other in too_large:
                        other.passed += 1
                    return ticket, placed.backend
                if not placed.usable and not ticket.tried:
                    return None
                self._refused.add(ticket.number)
            if not ticket.tried:
                too_large.append(ticket)
                if self._keeps_room(ticket) or len(too_large) > self._backfill:
                    return None
        return None

    def _keeps_room(self, ticket: Ticket) -> bool:
        """Enough have gone past it. A lower class that trickles keeps none from better ones."""
        return ticket.passed >= _MOST_PASSED and ticket.service_class is self._pool.best_class()
