"""Which running request gives way to one that waits, if any may.

Giving way costs: what is not found again in a cache has to be computed anew. So a request may
only give way while much of it is still to come, for a gain that is worth it, rarely, and not twice
before its answer has doubled in a sense: between two powers of two of generated tokens it gives
way once at most. That bounds what is ever computed anew by twice the answer, whatever arrives.
Source: TRAIL (only while generated < c * predicted), UniBoost (powers of two). What is predicted
here is what is expected by now, and not the median of the start as in TRAIL: a long answer that was
taken for a short one would keep its slot for being nearly done, all the longer the more wrong it
was (docs/design/0010-engine-order.md).
"""

from dataclasses import dataclass

from alise_vllm.ordering.pace import Pace
from alise_vllm.ordering.policies import Policy
from alise_vllm.ordering.work import Work

_VALUE_SCALE = 1 << 16
_MOST_VALUE = float(1 << 31)
"""An engine of a century's age, at the fastest aging, has values of this size."""
_CLASS_WIDTH = 1 << 49
_STANDS_TOKENS, _STANDS_SHARE = 16, 8
"""A request stands where it does until its answer has grown by so many tokens and an eighth."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a running request may give way.

    Attributes:
        c: Only while it has generated less than this share of what its answer is expected to be,
            given that it has come so far; 0 is never.
        margin: Only if it still costs more by this share than what it gives way to.
        most: Only so many times.
    """

    c: float
    margin: float
    most: int


def may_give_way(work: Work, policy: Policy, limits: Limits) -> bool:
    """Whether a running request is one that can be asked at all."""
    if work.promoted or not work.generated or work.preemptions >= limits.most:
        return False
    if work.generated.bit_length() == work.gave_way_at.bit_length():
        return False
    if work.forecast is None:
        return not policy.needs_forecast
    # Who is not far even by half the median is spared the question: an answer that is cut there or
    # later is expected to be that long, for in one of two cases it is at least twice that.
    generated = work.generated
    if generated < limits.c * min(work.forecast.p50, work.max_tokens) / 2:
        return True
    return generated < limits.c * (generated + work.remaining_tokens())


def stand(work: Work, policy: Policy, pace: Pace) -> None:
    """Compute where a running request stands: by class first, then by the policy's value.

    Sets a whole number, which is what vLLM's own priorities are; higher is worse.
    """
    value = policy.value(policy.cost(work, pace, resident=True), work)
    within = int(min(max(value, -_MOST_VALUE), _MOST_VALUE) * _VALUE_SCALE)
    work.standing = work.rank * _CLASS_WIDTH + within
    work.standing_until = work.generated + _STANDS_TOKENS + work.generated // _STANDS_SHARE


def gives_way(waiting: Work, victim: Work, policy: Policy, limits: Limits, pace: Pace) -> bool:
    """Whether one that runs and may give way shall give way to one that waits.

    A better class is reason enough. Within a class it is the cost, of both and of what the
    request that gives way has to do again; and it has to come after the other in the line, or it
    would be the one to take the place that it left.

    Args:
        waiting: Who would take the place.
        victim: The worst of those that run and may give way.
        policy: Gives the costs and the order.
        limits: See there.
        pace: How fast the engine is.
    """
    if victim.rank != waiting.rank:
        return victim.rank > waiting.rank
    if waiting.promoted or (waiting.forecast is None and policy.needs_forecast):
        return False
    cost = policy.cost(waiting, pace, resident=False)
    gains = policy.cost(victim, pace, resident=True)
    comes_back = policy.cost(victim, pace, resident=False)
    again = comes_back - gains
    if cost * (1.0 + limits.margin) + again >= gains:
        return False
    return policy.value(cost, waiting) < policy.value(comes_back, victim)
