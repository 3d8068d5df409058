"""The requests of one tenant that wait in one class, in order. Pure.

Three orders at once: by rank, by the moment from which a request goes first whatever its rank (the
guard), and by arrival. Requests that had their turn and lost their backend stand before all others.
Every operation is O(log n).
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator

from sortedcontainers import SortedKeyList

from alise_gateway.domain.work import Work
from alise_gateway.queueing.events import Ticket

_Key = tuple[float, int]
_STALE_GUARDS = 64
"""So many outdated guards, beyond one for each request, are not worth clearing away."""


def _by_rank(ticket: Ticket) -> _Key:
    return (ticket.rank, ticket.number)


class Line:
    """See the module.

    Attributes:
        service_seconds: Predicted service of all who wait.
    """

    def __init__(self) -> None:
        self.service_seconds = 0.0
        self._returned: OrderedDict[int, Ticket] = OrderedDict()
        self._ranked: SortedKeyList[Ticket, _Key] = SortedKeyList(key=_by_rank)
        self._arrived: OrderedDict[int, Ticket] = OrderedDict()
        # (moment, number): left in place when a request goes, and dropped when it comes up.
        self._guarded: list[_Key] = []

    def __len__(self) -> int:
        return len(self._arrived) + len(self._returned)

    def add(self, ticket: Ticket) -> None:
        """A request joins; its rank, guard and work are set."""
        self._ranked.add(ticket)
        self._arrived[ticket.number] = ticket
        self._guard(ticket)
        self.service_seconds += ticket.work.service_seconds

    def restore(self, ticket: Ticket) -> None:
        """A request comes back that had its turn already."""
        self._returned[ticket.number] = ticket
        self._returned.move_to_end(ticket.number, last=False)
        self.service_seconds += ticket.work.service_seconds

    def remove(self, ticket: Ticket) -> None:
        """A request leaves; raises KeyError where it does not wait here."""
        if self._returned.pop(ticket.number, None) is None:
            del self._arrived[ticket.number]
            self._ranked.remove(ticket)
        self.service_seconds -= ticket.work.service_seconds
        if not len(self):
            self.service_seconds = 0.0  # rounding must not outlive an empty line
            self._guarded.clear()

    def rerank(self, ticket: Ticket, rank: float, guard_at: float, work: Work) -> None:
        """More is known of a request that waits."""
        self.service_seconds += work.service_seconds - ticket.work.service_seconds
        ticket.work = work
        if ticket.number in self._returned:
            return
        self._ranked.remove(ticket)
        ticket.rank, ticket.guard_at = rank, guard_at
        self._ranked.add(ticket)
        self._guard(ticket)

    def reorder(self) -> None:
        """Ranks and guards of all who wait were set anew."""
        self._ranked = SortedKeyList(self._arrived.values(), key=_by_rank)
        self._note_guards()

    def in_turn(self, now: float) -> Iterator[Ticket]:
        """Everybody, first first; the line must not change meanwhile."""
        yield from self._returned.values()
        first = self.guarded(now)
        if first is not None:
            yield first
        for ticket in self._ranked:
            if ticket is not first:
                yield ticket

    def first(self, now: float) -> Ticket | None:
        """Who goes first; ``None`` where nobody waits."""
        returned = next(iter(self._returned.values()), None)
        first = returned or self.guarded(now)
        if first is None and self._ranked:
            first = self._ranked[0]
        return first

    def stands_behind(self, ticket: Ticket, others: int, now: float) -> bool:
        """Whether so many others that never had their turn go before a request that waits here."""
        if ticket.number in self._returned or ticket is self.guarded(now):
            return False
        return int(self._ranked.bisect_key_left(_by_rank(ticket))) >= others

    def guarded(self, now: float) -> Ticket | None:
        """Who has waited so long that it goes first, if anybody."""
        while self._guarded:
            moment, number = self._guarded[0]
            if moment > now:
                return None
            ticket = self._arrived.get(number)
            if ticket is not None and ticket.guard_at == moment:
                return ticket
            heapq.heappop(self._guarded)
        return None

    def position(self, rank: float) -> int:
        """How many would go before a newcomer of this rank, but for those that become overdue."""
        return len(self._returned) + int(self._ranked.bisect_key_right((rank, 1 << 62)))

    def last(self) -> Ticket | None:
        """Who would go last, of those that never had their turn."""
        last: Ticket | None = self._ranked[-1] if self._ranked else None
        return last

    def everybody(self) -> list[Ticket]:
        """All who wait, in no particular order."""
        return [*self._returned.values(), *self._arrived.values()]

    def _guard(self, ticket: Ticket) -> None:
        """Note the moment, and clear outdated ones away when they are most of what is noted."""
        heapq.heappush(self._guarded, (ticket.guard_at, ticket.number))
        if len(self._guarded) > 2 * len(self._arrived) + _STALE_GUARDS:
            self._note_guards()

    def _note_guards(self) -> None:
        self._guarded = [(item.guard_at, item.number) for item in self._arrived.values()]
        heapq.heapify(self._guarded)
