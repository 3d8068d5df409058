"""Which running request gives way to one that waits, if any may.

Giving way costs: what is not found again in a cache has to be computed anew. So a request may
only give way while much of it is still to come, for a gain that is worth it, rarely, and not twice
before its answer has doubled in a sense: between two powers of two of generated tokens it gives
way once at most. That bounds what is ever computed anew by twice the answer, whatever arrives.
Source: TRAIL (only while generated < c * predicted), UniBoost (powers of two).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from alise_vllm.ordering.pace import Pace
from alise_vllm.ordering.policies import Policy
from alise_vllm.ordering.work import Work


@dataclass(frozen=True, slots=True)
class Limits:
    """When a running request may give way.

    Attributes:
        c: Only while it has generated less than this share of its predicted median; 0 is never.
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
    return work.generated < limits.c * work.forecast.p50


def choose_victim(
    waiting: Work, running: Iterable[Work], policy: Policy, limits: Limits, pace: Pace
) -> Work | None:
    """The worst of those that run, if it shall give way to one that waits; otherwise None.

    A better class is reason enough. Within a class it is the cost, of both and of what the
    request that gives way has to do again; and it has to come after the other in the line, or it
    would be the one to take the place that it left.

    Args:
        waiting: Who would take the place.
        running: All whose place would do.
        policy: Gives the costs and the order.
        limits: See there.
        pace: How fast the engine is.
    """
    if not policy.preempts or not limits.c:
        return None
    asked = [work for work in running if may_give_way(work, policy, limits)]
    if not asked:
        return None

    def standing(work: Work) -> tuple[int, float, int]:
        cost = policy.cost(work, pace, resident=True)
        return work.rank, policy.value(cost, work), work.number

    victim = max(asked, key=standing)
    if victim.rank != waiting.rank:
        return victim if victim.rank > waiting.rank else None
    if waiting.promoted or (waiting.forecast is None and policy.needs_forecast):
        return None
    return victim if _is_worth_it(waiting, victim, policy, limits, pace) else None


def _is_worth_it(waiting: Work, victim: Work, policy: Policy, limits: Limits, pace: Pace) -> bool:
    cost = policy.cost(waiting, pace, resident=False)
    gains = policy.cost(victim, pace, resident=True)
    comes_back = policy.cost(victim, pace, resident=False)
    again = comes_back - gains
    if cost * (1.0 + limits.margin) + again >= gains:
        return False
    return policy.value(cost, waiting) < policy.value(comes_back, victim)
