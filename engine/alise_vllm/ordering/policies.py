"""What a request costs, by each of the policies.

A policy gives a cost, and a value that orders the requests of a class. The value of a request that
waits does not change while it waits: aging is part of it, as a credit for having arrived early.
So nothing needs to be sorted anew when time passes. Source of that form of aging, a cost that
shrinks by a factor per second of waiting: TIE (0.9 in 30 s).
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from math import ceil, floor, inf, log2
from typing import Protocol

from alise_vllm.ordering.pace import Pace
from alise_vllm.ordering.work import Work

QUANTUM_SECONDS = 0.01
MLFQ_PATIENCE_SECONDS = 3.0
"""Source of both: FastServe, quanta of 10 ms * 2^k, promotion after 3 s without service."""


class PolicyName(StrEnum):
    """The policies, as settings name them."""

    FCFS = "fcfs"
    GITTINS = "gittins"
    SRPT = "srpt"
    MLFQ = "mlfq"
    TOOL_AWARE = "tool-aware"


class Policy(Protocol):
    """One of them.

    Attributes:
        needs_forecast: A request of which nothing is predicted cannot be compared with others:
            such requests keep the order of arrival among themselves and are not preempted.
        preempts: Whether a cheap request may take a running one's place at all.
    """

    needs_forecast: bool
    preempts: bool

    def cost(self, work: Work, pace: Pace, *, resident: bool) -> float:
        """What it still costs; above 0, in a unit of the policy's own.

        Args:
            work: Which request.
            pace: How fast the engine is.
            resident: Its memory is filled; otherwise that has to be done (again).
        """
        ...

    def value(self, cost: float, work: Work) -> float:
        """Place within its class: smaller goes first."""
        ...

    def patience_seconds(self, work: Work, pace: Pace) -> float:
        """How long it waits before it has starved."""
        ...

    def promote(self, work: Work, pace: Pace) -> None:
        """It has starved."""
        ...


class Guard:
    """When a request has starved: what goes for every policy but ``mlfq``.

    Args:
        least_seconds: Nobody starves before.
        factor: ... nor before so many times its own service. Too eager a guard turns any order
            into that of arrival, so it is measured by what a request needs. Source: SSJF, 10.
    """

    def __init__(self, least_seconds: float, factor: float) -> None:
        self._least, self._factor = least_seconds, factor

    def patience_seconds(self, work: Work, pace: Pace) -> float:
        """See ``Policy``."""
        if work.forecast is None:
            return self._least
        service = service_seconds(work, pace, resident=False)
        return max(self._least, self._factor * service)


def service_seconds(work: Work, pace: Pace, *, resident: bool) -> float:
    """Time that it still needs when it runs at once and is left alone."""
    return _seconds(work.remaining_tokens(), work, pace, resident=resident)


def _seconds(tokens: float, work: Work, pace: Pace, *, resident: bool) -> float:
    """Time that so many tokens more need, with the memory before them where it is not filled."""
    decode = tokens * pace.step_seconds
    return decode if resident else decode + work.context_tokens * pace.prompt_seconds


class _Aged:
    """Shared by the policies that order by cost and age.

    Args:
        guard: When a request has starved.
        halving_seconds: Waiting so long halves a cost; 0 is never.
    """

    needs_forecast = True
    preempts = True

    def __init__(self, guard: Guard, halving_seconds: float) -> None:
        self._guard = guard
        self._credit = 1.0 / halving_seconds if halving_seconds else 0.0

    def value(self, cost: float, work: Work) -> float:
        """See ``Policy``: the exponent of the cost, less one for every time that age halved it."""
        return log2(cost) + work.arrived * self._credit

    def patience_seconds(self, work: Work, pace: Pace) -> float:
        """See ``Policy``."""
        return self._guard.patience_seconds(work, pace)

    def promote(self, work: Work, pace: Pace) -> None:
        """See ``Policy``."""
        work.promoted = True


class Srpt(_Aged):
    """Least expected remaining time first."""

    def cost(self, work: Work, pace: Pace, *, resident: bool) -> float:
        """Seconds of service still to come."""
        return service_seconds(work, pace, resident=resident)


class Gittins(_Aged):
    """Least expected time by the chance that it is enough first; see ``ordering.gittins``."""

    def cost(self, work: Work, pace: Pace, *, resident: bool) -> float:
        """Seconds; those of the prompt are certain."""
        return _seconds(work.index_tokens(), work, pace, resident=resident)


class ToolAware(_Aged):
    """Least memory over time first, with what is held while a tool runs.

    The integral of the tokens in memory over the time that they are there: while the prompt is
    computed, while the answer grows, and during the call that it ends with. For that last part
    the smaller waste counts, of keeping everything or of computing it again afterwards.
    Source: LAMPS, without its third way, swapping, which is not the scheduler's to choose.
    """

    def cost(self, work: Work, pace: Pace, *, resident: bool) -> float:
        """Token-seconds."""
        context, left = work.context_tokens, work.remaining_tokens()
        held = pace.step_seconds * (left * context + left * left / 2)
        if work.call_seconds:
            whole = context + left
            held += whole * min(work.call_seconds, whole * pace.prompt_seconds)
        return held if resident else held + pace.prompt_seconds * context * context / 2


class Mlfq:
    """Skip-join multi-level feedback queue: whoever was served least first.

    Level k has a quantum of 10 ms * 2^k. A request joins at the first level whose quantum its
    prompt fits in, goes down one whenever it used its quantum up, and starts again at the top when
    it starved. Within a level the order is that of arrival. No length is predicted. Source:
    FastServe. Its service is computed from its tokens, so a level needs no clock.
    """

    needs_forecast = False
    preempts = True

    def cost(self, work: Work, pace: Pace, *, resident: bool) -> float:
        """Quantum of its level, seconds."""
        return float(QUANTUM_SECONDS * 2 ** self.level(work, pace))

    def level(self, work: Work, pace: Pace) -> int:
        """Its level, 0 the best."""
        prompt = work.prompt_tokens * pace.prompt_seconds
        joins = 1.0 if work.forgiven_seconds else 2.0 ** _levels_above(prompt / QUANTUM_SECONDS)
        served = max(_served(work, pace) - work.forgiven_seconds, 0.0)
        # The quanta of levels j to k-1 add up to 2^k - 2^j of the first: past them it is at k.
        return floor(log2(served / QUANTUM_SECONDS + joins))

    def value(self, cost: float, work: Work) -> float:
        """See ``Policy``."""
        return cost

    def patience_seconds(self, work: Work, pace: Pace) -> float:
        """See ``Policy``."""
        return MLFQ_PATIENCE_SECONDS

    def promote(self, work: Work, pace: Pace) -> None:
        """See ``Policy``: back to the first level, with a clean slate."""
        work.forgiven_seconds = max(_served(work, pace), pace.step_seconds)


class Fcfs:
    """Order of arrival, as vLLM has it; nobody gives way to anybody but for memory."""

    needs_forecast = False
    preempts = False

    def cost(self, work: Work, pace: Pace, *, resident: bool) -> float:
        """All the same."""
        return 1.0

    def value(self, cost: float, work: Work) -> float:
        """See ``Policy``: equal values go by arrival."""
        return 0.0

    def patience_seconds(self, work: Work, pace: Pace) -> float:
        """See ``Policy``: who arrived first is first already."""
        return inf

    def promote(self, work: Work, pace: Pace) -> None:
        """See ``Policy``: does not happen."""


def _served(work: Work, pace: Pace) -> float:
    """Service that it got so far, seconds."""
    if not work.generated:
        return 0.0
    return work.prompt_tokens * pace.prompt_seconds + work.generated * pace.step_seconds


def _levels_above(quanta: float) -> int:
    """The first level whose quantum is not below so many of the first."""
    return ceil(log2(quanta)) if quanta > 1.0 else 0


def policy_of(name: PolicyName, guard: Guard, halving_seconds: float) -> Policy:
    """Make the policy of that name.

    Args:
        name: Which.
        guard: When a request has starved.
        halving_seconds: Waiting so long halves a cost; 0 is never.
    """
    makers: Mapping[PolicyName, Callable[[], Policy]] = {
        PolicyName.FCFS: Fcfs,
        PolicyName.GITTINS: lambda: Gittins(guard, halving_seconds),
        PolicyName.MLFQ: Mlfq,
        PolicyName.SRPT: lambda: Srpt(guard, halving_seconds),
        PolicyName.TOOL_AWARE: lambda: ToolAware(guard, halving_seconds),
    }
    return makers[name]()
