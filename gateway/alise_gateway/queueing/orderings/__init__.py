"""Which request of a tenant is next: one small module per ordering. Pure.

An ordering gives a request a rank when it joins a line, lower is earlier, and again when its
prediction changes. Ranks do not depend on when they are compared, so a line is a sorted list and
every event costs O(log n): what ages does so at the same rate for all, which a term of the arrival
expresses once.
"""

from alise_core.policy import OrderingName, OrderingPolicy
from alise_gateway.queueing.orderings.base import Ordering
from alise_gateway.queueing.orderings.boost import Boost
from alise_gateway.queueing.orderings.cost import Cost
from alise_gateway.queueing.orderings.fcfs import Fcfs
from alise_gateway.queueing.orderings.rank import Rank
from alise_gateway.queueing.orderings.sjf import Sjf
from alise_gateway.queueing.orderings.tool_aware import ToolAware

__all__ = ["Ordering", "ordering_of"]


def ordering_of(policy: OrderingPolicy) -> Ordering:
    """The ordering that a policy names."""
    match policy.name:
        case OrderingName.FCFS:
            return Fcfs()
        case OrderingName.SJF:
            return Sjf(policy.aging_half_life_seconds)
        case OrderingName.RANK:
            return Rank(policy.aging_half_life_seconds)
        case OrderingName.COST:
            return Cost(policy.beta, policy.aging_half_life_seconds)
        case OrderingName.BOOST:
            return Boost(policy.gamma, policy.gamma_share)
        case OrderingName.TOOL_AWARE:
            return ToolAware(policy.aging_half_life_seconds)
