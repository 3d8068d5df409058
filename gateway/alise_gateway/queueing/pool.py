"""The requests of one model that wait: classes, then tenants, then the ordering. Pure.

A class is served before the next one, except for the next one's trickle: a lower class that waits
earns its share of whatever better classes dispatch, and goes first once it has earned what its
first request costs. Predicted cost never crosses classes otherwise.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from alise_core.policy import FairnessPolicy, SchedulingPolicy
from alise_core.service_class import ServiceClass
from alise_gateway.domain.work import Work
from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.fair_share import FairShare, Flow
from alise_gateway.queueing.orderings import ordering_of
from alise_gateway.queueing.orderings.base import Load

_USUAL_ARRIVALS = 500
"""Arrivals over which the mean service is taken."""
_USUAL_SECONDS = 120.0
"""Time over which the wait is averaged: ranks given at different loads must stay comparable."""
_MOST_RISE = 0.15
"""Seconds a second by which the usual wait may rise. A head start grows with it, by up to six times
as much for very short requests: faster, and later ones would go before equal earlier ones."""


class _Usual:
    """What service and wait have been like lately."""

    def __init__(self) -> None:
        self.service_seconds = 1.0
        self.wait_seconds = 0.0
        self._arrivals = 0
        self._at = 0.0

    def note(self, service_seconds: float, wait_seconds: float, now: float) -> None:
        """One arrival's predicted service, and the wait as it stands."""
        self._arrivals += 1
        part = 1.0 / min(self._arrivals, _USUAL_ARRIVALS)
        self.service_seconds += part * (service_seconds - self.service_seconds)
        passed = max(0.0, now - self._at)
        self._at = max(self._at, now)
        step = min(1.0, passed / _USUAL_SECONDS) * (wait_seconds - self.wait_seconds)
        self.wait_seconds += min(step, _MOST_RISE * passed)


class Pool:
    """See the module.

    Args:
        model: Whose requests they are.
        policy: What to obey.

    Attributes:
        policy: As given, or as changed by ``obey``.
        waiting: Requests in all classes.
    """

    def __init__(self, model: str, policy: SchedulingPolicy) -> None:
        self.model = model
        self.policy = policy
        self._ordering = ordering_of(policy.ordering)
        self._fairness = policy.fairness
        self._shares = {item: FairShare(policy.fairness) for item in ServiceClass}
        self._earned = dict.fromkeys(ServiceClass, 0.0)
        self._next = dict.fromkeys(ServiceClass, 0.0)
        """What the first request of a lower class costs that may be dispatched."""
        self._usual = _Usual()
        self.waiting = 0

    def obey(
        self, policy: SchedulingPolicy, in_flight: int, flying: Iterable[Ticket], now: float
    ) -> None:
        """Another policy holds from now on, for those who wait too.

        Args:
            policy: It.
            in_flight: Requests on the model's backends.
            flying: Those of them that are of this pool.
            now: Monotonic seconds.
        """
        before, self.policy = self.policy, policy
        if policy.ordering != before.ordering:
            self._ordering = ordering_of(policy.ordering)
            for ticket in self.everybody():
                self.rank(ticket, in_flight)
            for share in self._shares.values():
                share.reorder()
        if policy.fairness != before.fairness:
            self._share_by(policy.fairness, flying, now)

    def waiting_in(self, service_class: ServiceClass) -> int:
        """Requests of one class."""
        return self._shares[service_class].waiting

    def best_class(self) -> ServiceClass | None:
        """The first class in which somebody waits."""
        return next((item for item, share in self._shares.items() if share.waiting), None)

    def service_ahead(self, service_class: ServiceClass) -> float:
        """Predicted service, in seconds, of all who wait in this class or a better one."""
        return sum(
            share.service_seconds
            for item, share in self._shares.items()
            if item.rank <= service_class.rank
        )

    def arrived(self, work: Work, in_flight: int, now: float) -> None:
        """A request came, whether it will wait or not: note what is usual."""
        waiting_work = sum(share.service_seconds for share in self._shares.values())
        self._usual.note(work.service_seconds, waiting_work / max(1, in_flight), now)

    def rank(self, ticket: Ticket, in_flight: int) -> None:
        """Give a request with known work its place in the order, which engines are told too."""
        ticket.rank, ticket.guard_at = self._rank(ticket, ticket.work, in_flight)

    def add(self, ticket: Ticket, in_flight: int, now: float) -> None:
        """A request with known work begins to wait."""
        self.rank(ticket, in_flight)
        self._shares[ticket.service_class].add(ticket, now, returned=False)
        ticket.waiting = True
        self.waiting += 1

    def restore(self, ticket: Ticket, now: float) -> None:
        """A request that had its turn waits again, before all others of its line."""
        self._shares[ticket.service_class].add(ticket, now, returned=True)
        ticket.waiting = True
        self.waiting += 1

    def rerank(self, ticket: Ticket, work: Work, in_flight: int) -> None:
        """More is known of a request that waits."""
        rank, guard_at = self._rank(ticket, work, in_flight)
        self._shares[ticket.service_class].rerank(ticket, rank, guard_at, work)

    def remove(self, ticket: Ticket, now: float) -> None:
        """A request waits no more."""
        share = self._shares[ticket.service_class]
        share.remove(ticket, now)
        if not share.waiting:
            self._earned[ticket.service_class] = self._next[ticket.service_class] = 0.0
        ticket.waiting = False
        self.waiting -= 1

    def in_turn(self, now: float, may_dispatch: Callable[[Ticket], bool]) -> Iterator[Ticket]:
        """Everybody in order, as long as nobody comes or goes.

        Args:
            now: Monotonic seconds.
            may_dispatch: Whether a ticket's tenant may have one more in flight.
        """
        trickling = self._trickling(now, may_dispatch)
        yield from trickling
        for share in self._shares.values():
            if share.waiting:
                for ticket in share.in_turn(now, may_dispatch):
                    if ticket not in trickling:
                        yield ticket

    def dispatched(self, ticket: Ticket, now: float) -> None:
        """Charge a request's tenant, and let lower classes earn."""
        item = ticket.service_class
        self._shares[item].charge(ticket, now)
        if not self.waiting:
            return
        self._earned[item] = max(0.0, self._earned[item] - ticket.charged)
        for lower, share in self._shares.items():
            part = self.policy.classes[lower].trickle_share
            # Who can pay for its first request earns no more: nobody saves up for a burst.
            if lower.rank > item.rank and share.waiting and self._earned[lower] < self._next[lower]:
                self._earned[lower] += part * ticket.charged

    def settle(self, ticket: Ticket, tokens: tuple[int, int] | None, now: float) -> None:
        """A dispatched request is over; ``tokens`` are its real prompt and output."""
        share = self._shares[ticket.service_class]
        share.settle(ticket, None if tokens is None else share.tokens(*tokens), now)

    def wait_seconds(self, ticket: Ticket, parallel: float) -> float:
        """How long a newcomer would wait.

        Better classes go first as a whole; of its own class, the others of its line that rank
        before it, together with what fairness lets other tenants have meanwhile.

        Args:
            ticket: With known work.
            parallel: Requests that backends serve at a time.
        """
        item = ticket.service_class
        share = self._shares[item]
        before = self.service_ahead(item) - share.service_seconds
        rank, _ = self._rank(ticket, ticket.work, int(parallel))
        flow = share.flow_of(ticket)
        line = None if flow is None or not len(flow.line) else flow.line
        own = 0.0 if line is None else line.service_seconds * line.position(rank) / len(line)
        others = share.service_seconds - (0.0 if line is None else line.service_seconds)
        turns = own + ticket.work.service_seconds
        same = own + min(others, self._others_share(share, ticket, turns))
        return (before + same) / max(1.0, parallel)

    def shed(self, service_class: ServiceClass) -> Ticket | None:
        """Whose place a request of this class may take: the last of the last class below it."""
        for item in reversed(ServiceClass):
            if item.rank <= service_class.rank:
                return None
            flows = list(self._shares[item].active())
            for flow in reversed(flows):
                last = flow.line.last()
                if last is not None:
                    return last
        return None

    def is_near(
        self, ticket: Ticket, places: int, now: float, may_dispatch: Callable[[Ticket], bool]
    ) -> bool:
        """Whether a request's turn comes within so many places.

        Those that a backend has failed take up none: what they cannot use is for the others.
        In a long queue most are too far behind for their neighbours to be looked at.
        """
        share = self._shares[ticket.service_class]
        if share.stands_behind(ticket, places, now):
            return False
        better = sum(
            other.unlimited
            for item, other in self._shares.items()
            if item.rank < ticket.service_class.rank
        )
        if better >= places and share.first(now, may_dispatch) is not ticket:
            return False  # only the first of its class can go before a better one, by the trickle
        for other in self.in_turn(now, may_dispatch):
            if other is ticket:
                return True
            places -= not other.tried
            if places <= 0:
                return False
        return False

    def oldest(self) -> Ticket | None:
        """Who has waited longest."""
        found = [share.oldest() for share in self._shares.values()]
        return min(filter(None, found), key=lambda ticket: ticket.enqueued, default=None)

    def expired(self, now: float) -> list[Ticket]:
        """Who has waited for as long as its class lets it."""
        late = []
        for item, share in self._shares.items():
            before = now - self.policy.classes[item].ttl_seconds
            late += share.expired(before)
        return late

    def everybody(self) -> list[Ticket]:
        """All who wait."""
        return [ticket for flow in self._flows() for ticket in flow.line.everybody()]

    def check(self) -> None:
        """Raise AssertionError unless the structures agree; for tests."""
        for share in self._shares.values():
            share.check()
        if sum(share.waiting for share in self._shares.values()) != self.waiting:
            raise AssertionError("violated: classes' waiting requests add up")

    def _share_by(self, policy: FairnessPolicy, flying: Iterable[Ticket], now: float) -> None:
        self._next = dict.fromkeys(ServiceClass, 0.0)
        if policy.enabled is self._fairness.enabled:
            for share in self._shares.values():
                share.obey(policy)
        else:
            by_class: dict[ServiceClass, list[Ticket]] = {item: [] for item in ServiceClass}
            for ticket in flying:
                by_class[ticket.service_class].append(ticket)
            self._shares = {
                item: share.under(policy, by_class[item], now)
                for item, share in self._shares.items()
            }
        self._fairness = policy

    def _flows(self) -> Iterator[Flow]:
        return chain.from_iterable(share.active() for share in self._shares.values())

    def _rank(self, ticket: Ticket, work: Work, in_flight: int) -> tuple[float, float]:
        policy = self.policy.ordering
        usual = self._usual
        load = Load(self.waiting, in_flight, usual.service_seconds, usual.wait_seconds)
        before, ticket.work = ticket.work, work
        rank = self._ordering.rank(ticket, load)
        ticket.work = before
        patience = max(policy.guard_seconds, policy.guard_factor * work.service_seconds)
        return rank, ticket.enqueued + patience

    def _others_share(self, share: FairShare, ticket: Ticket, turns: float) -> float:
        """Service that other tenants get while this one gets ``turns``."""
        flow = share.flow_of(ticket)
        others = sum(item.weight for item in share.active() if item is not flow)
        return turns * others / ticket.tenant.weight

    def _trickling(self, now: float, may_dispatch: Callable[[Ticket], bool]) -> list[Ticket]:
        """The first requests of lower classes that have earned what these cost."""
        best = self.best_class()
        found: list[Ticket] = []
        for item, share in self._shares.items():
            if best is None or item.rank <= best.rank or not share.waiting:
                continue
            if not self.policy.classes[item].trickle_share:
                continue
            if self._earned[item] < self._next[item]:
                continue  # as of the last look at its first; a cheaper one has its turn a bit later
            first = share.first(now, may_dispatch)
            self._next[item] = 0.0 if first is None else share.cost(first)
            if first is not None and self._earned[item] >= self._next[item]:
                found.append(first)
        return found
