"""Which tenant of a class is next: the one that was given least for its weight. Pure.

A virtual token counter per flow (a tenant, or a named part of its traffic). Dispatch charges the
prompt and the predicted output, the end of the answer settles on the real one, so that neither
misleading text nor a small ``max_tokens`` gains anything. A flow that becomes active is lifted to
the counter at which the last one was served: nobody saves up claims by being idle. What it had been
given ahead of the others fades while it is idle.

Source: VTC, arXiv 2401.00588 (weights 1 and 2; charging predictions is its section on length
prediction). It lifts to the least counter that waits; ours is the virtual time of start-time fair
queueing (Goyal, Vin and Cheng, SIGCOMM 1996). The decay while idle follows llm-d's program-aware
fairness.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from sortedcontainers import SortedKeyList

from alise_core.policy import FairnessPolicy
from alise_gateway.domain.work import Work
from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.line import Line

_FORGET_HALF_LIVES = 10.0
"""After this many half-lives a lead is a thousandth of what it was."""

FlowKey = tuple[str, str]
_EVERYBODY: FlowKey = ("", "")


@dataclass(slots=True, eq=False)
class Flow:
    """One tenant's requests in one class.

    Attributes:
        key: Tenant and the part of its traffic.
        weight: Its share.
        counter: Weighted tokens it was given.
        line: Who waits.
        in_flight: Dispatched and not settled.
        idle_since: Monotonic mark.
        order: Breaks ties: when it became active.
    """

    key: FlowKey
    weight: float
    counter: float = 0.0
    line: Line = field(default_factory=Line)
    in_flight: int = 0
    idle_since: float = -inf
    order: int = 0


def _by_counter(flow: Flow) -> tuple[float, int]:
    return (flow.counter, flow.order)


class FairShare:
    """The flows of one class of one pool.

    Args:
        policy: Weights of tokens, decay.

    Attributes:
        waiting: Requests in all flows.
        service_seconds: Predicted service of all who wait.
        unlimited: Of those who wait, those that never had their turn and whose tenant may have any
            number in flight: nothing of their own holds them back.
    """

    def __init__(self, policy: FairnessPolicy) -> None:
        self._policy = policy
        self._flows: dict[FlowKey, Flow] = {}
        self._active: SortedKeyList[Flow, tuple[float, int]] = SortedKeyList(key=_by_counter)
        self._floor = 0.0
        """Highest counter at which a flow was served, with none behind it."""
        self._activations = 0
        self._arrived: OrderedDict[int, Ticket] = OrderedDict()
        self._returned: dict[int, Ticket] = {}
        self.waiting = 0
        self.unlimited = 0
        self.service_seconds = 0.0

    def active(self) -> Iterator[Flow]:
        """Flows in which somebody waits, the one served least first."""
        return iter(self._active)

    def in_turn(self, now: float, may_dispatch: Callable[[Ticket], bool]) -> Iterator[Ticket]:
        """Everybody who may be dispatched, first first, as long as nobody comes or goes.

        Args:
            now: Monotonic seconds.
            may_dispatch: Whether a ticket's tenant may have one more in flight.
        """
        self._pass_over(now, may_dispatch)
        for flow in self._active:
            for ticket in flow.line.in_turn(now):
                if may_dispatch(ticket):
                    yield ticket
                elif self._policy.enabled:
                    break  # all others of the flow are of the same tenant

    def first(self, now: float, may_dispatch: Callable[[Ticket], bool]) -> Ticket | None:
        """Who is first of those who may be dispatched, as ``in_turn`` has it."""
        if not self.waiting:
            return None
        flow: Flow = self._active[0]
        first = flow.line.first(now)
        if first is not None and may_dispatch(first):
            return first
        return next(self.in_turn(now, may_dispatch), None)

    def stands_behind(self, ticket: Ticket, others: int, now: float) -> bool:
        """Whether so many others of its own flow go before a request that waits, for certain."""
        if not self._policy.enabled and self.unlimited < len(self._arrived):
            return False  # some of them may be held back by their tenants' limits
        flow = self.flow_of(ticket)
        return flow is not None and flow.line.stands_behind(ticket, others, now)

    def flow_of(self, ticket: Ticket) -> Flow | None:
        """The flow a request belongs to, if it is known."""
        return self._flows.get(self._key(ticket))

    def add(self, ticket: Ticket, now: float, *, returned: bool) -> None:
        """A request waits; its work and rank are set."""
        flow = self._flow(ticket, now)
        if not len(flow.line):
            self._activate(flow, now)
        if returned:
            flow.line.restore(ticket)
            self._returned[ticket.number] = ticket
        else:
            flow.line.add(ticket)
            self._arrived[ticket.number] = ticket
            self.unlimited += ticket.tenant.limits.max_in_flight is None
        self.waiting += 1
        self.service_seconds += ticket.work.service_seconds

    def rerank(self, ticket: Ticket, rank: float, guard_at: float, work: Work) -> None:
        """More is known of a request that waits."""
        self.service_seconds += work.service_seconds - ticket.work.service_seconds
        self._flows[self._key(ticket)].line.rerank(ticket, rank, guard_at, work)

    def reorder(self) -> None:
        """Ranks and guards of all who wait were set anew."""
        for flow in self._active:
            flow.line.reorder()

    def obey(self, policy: FairnessPolicy) -> None:
        """Tokens weigh differently from now on; what was given so far stays as it was counted."""
        if policy.enabled is not self._policy.enabled:
            raise ValueError("who shares a line cannot change: build another one")
        self._policy = policy

    def under(self, policy: FairnessPolicy, flying: Iterable[Ticket], now: float) -> "FairShare":
        """The same requests under a policy by which others share a line; all start as equals.

        Args:
            policy: It.
            flying: Requests of this class that are dispatched and not settled.
            now: Monotonic seconds.
        """
        other = FairShare(policy)
        for ticket in self._arrived.values():
            other.add(ticket, now, returned=False)
        for ticket in self._returned.values():
            other.add(ticket, now, returned=True)
        for ticket in flying:
            other._flow(ticket, now).in_flight += 1
        return other

    def remove(self, ticket: Ticket, now: float) -> None:
        """A request waits no more; raises KeyError where it did not wait here."""
        flow = self._flows[self._key(ticket)]
        flow.line.remove(ticket)
        if self._returned.pop(ticket.number, None) is None:
            del self._arrived[ticket.number]
            self.unlimited -= ticket.tenant.limits.max_in_flight is None
        self.waiting -= 1
        self.service_seconds -= ticket.work.service_seconds
        if not self.waiting:
            self.service_seconds = 0.0  # rounding must not outlive an empty class
        if not len(flow.line):
            self._active.remove(flow)
            flow.idle_since = now

    def oldest(self) -> Ticket | None:
        """Who has waited longest."""
        first = next(iter(self._arrived.values()), None)
        candidates = [*self._returned.values(), *([] if first is None else [first])]
        return min(candidates, key=lambda ticket: ticket.enqueued, default=None)

    def expired(self, before: float) -> list[Ticket]:
        """Who was enqueued before ``before`` (monotonic seconds); costs what it finds."""
        late = [ticket for ticket in self._returned.values() if ticket.enqueued < before]
        for ticket in self._arrived.values():
            if ticket.enqueued >= before:
                break
            late.append(ticket)
        return late

    def charge(self, ticket: Ticket, now: float) -> None:
        """A request is dispatched, waited or not: its tenant pays what is predicted."""
        flow = self._flow(ticket, now)
        if not len(flow.line):
            self._fade(flow, now)
        self._floor = max(self._floor, min(flow.counter, self._least_active(flow.counter)))
        ticket.charged = self.cost(ticket)
        flow.in_flight += 1
        self._move(flow, ticket.charged)

    def settle(self, ticket: Ticket, tokens: float | None, now: float) -> None:
        """A dispatched request is over.

        Args:
            ticket: It.
            tokens: What it really cost, by ``tokens``; ``None`` leaves the prediction standing.
            now: Monotonic seconds.
        """
        flow = self._flows.get(self._key(ticket))
        if flow is None:
            return
        flow.in_flight -= 1
        if not len(flow.line):
            flow.idle_since = max(flow.idle_since, now)
        if tokens is not None:
            self._move(flow, tokens - ticket.charged)
        ticket.charged = 0.0

    def tokens(self, prompt_tokens: float, output_tokens: float) -> float:
        """Weighted tokens of a request."""
        policy = self._policy
        return policy.input_weight * prompt_tokens + policy.output_weight * output_tokens

    def cost(self, ticket: Ticket) -> float:
        """Weighted tokens that a request is predicted to have."""
        return self.tokens(ticket.prompt_tokens, ticket.work.output_tokens)

    def check(self) -> None:
        """Raise AssertionError unless the structures agree; for tests."""
        active = [flow for flow in self._flows.values() if len(flow.line)]
        if {flow.key for flow in active} != {flow.key for flow in self._active}:
            raise AssertionError("violated: active flows are those in which somebody waits")
        if sum(len(flow.line) for flow in active) != self.waiting:
            raise AssertionError("violated: the count of waiting requests is right")
        limits = [ticket.tenant.limits for ticket in self._arrived.values()]
        if sum(item.max_in_flight is None for item in limits) != self.unlimited:
            raise AssertionError("violated: the count of requests without a limit is right")
        if any(flow.in_flight < 0 for flow in self._flows.values()):
            raise AssertionError("violated: every settlement has a charge")

    def _pass_over(self, now: float, may_dispatch: Callable[[Ticket], bool]) -> None:
        """Lift flows that their tenant's own limit holds back to the first that may go on.

        They would save up claims otherwise, and with them every flow that becomes active and is
        lifted to the least counter.
        """
        if not self._policy.enabled:
            return
        held_back: list[Flow] = []
        for flow in self._active:
            first = flow.line.first(now)
            if first is not None and may_dispatch(first):
                for other in held_back:
                    self._move(other, (flow.counter - other.counter) * other.weight)
                return
            held_back.append(flow)

    def _key(self, ticket: Ticket) -> FlowKey:
        return (ticket.tenant.id, ticket.flow) if self._policy.enabled else _EVERYBODY

    def _flow(self, ticket: Ticket, now: float) -> Flow:
        """The flow a request belongs to; a new one stands where the class has got to."""
        key = self._key(ticket)
        flow = self._flows.get(key)
        if flow is None:
            self._forget_idle(now)
            flow = self._flows[key] = Flow(key, ticket.tenant.weight, self._floor)
        flow.weight = ticket.tenant.weight
        return flow

    def _activate(self, flow: Flow, now: float) -> None:
        self._fade(flow, now)
        flow.counter = max(flow.counter, self._reached())
        self._activations += 1
        flow.order = self._activations
        self._active.add(flow)

    def _fade(self, flow: Flow, now: float) -> None:
        """Let what an idle flow was given ahead of the others fade."""
        lead = flow.counter - self._reached()
        idle = now - flow.idle_since
        if lead > 0 and idle > 0 and not flow.in_flight:
            flow.counter -= lead * (1.0 - 0.5 ** (idle / self._policy.idle_half_life_seconds))
            flow.idle_since = now

    def _reached(self) -> float:
        """Where the class has got to.

        The least counter of those that wait would be up to a request further, which a flow that
        asks again only when it was served would lose every time.
        """
        return min(self._floor, self._least_active(self._floor))

    def _least_active(self, otherwise: float) -> float:
        return self._active[0].counter if self._active else otherwise

    def _move(self, flow: Flow, tokens: float) -> None:
        is_active = bool(len(flow.line))
        if is_active:
            self._active.remove(flow)
        flow.counter += tokens / flow.weight
        if is_active:
            self._active.add(flow)

    def _forget_idle(self, now: float) -> None:
        """Tenants come and go: a flow whose lead has faded is as good as a new one."""
        horizon = now - _FORGET_HALF_LIVES * self._policy.idle_half_life_seconds
        if len(self._flows) < 1_024 or len(self._flows) & (len(self._flows) - 1):  # noqa: PLR2004
            return  # looked at when their number doubles: amortised constant
        for key in [
            key
            for key, flow in self._flows.items()
            if not len(flow.line) and not flow.in_flight and flow.idle_since < horizon
        ]:
            del self._flows[key]
