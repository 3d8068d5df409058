"""Which model is scheduled by which policy. Pure.

A policy is for pools, and a queue is a model's. A model that several pools serve is scheduled as
its oldest pool says.
"""

from collections.abc import Iterable, Mapping

from alise_core.crds.book import Stored
from alise_core.crds.governing import PoolRef, governing
from alise_core.crds.names import Kind
from alise_core.crds.scheduling_policy import SchedulingPolicySpec
from alise_core.crds.to_policy import scheduling_policy
from alise_core.policy import SchedulingPolicy
from alise_gateway.discovery.kubernetes.pools import PoolPlan
from alise_gateway.discovery.kubernetes.problems import Problem, invalid


def policies_of_pools(
    plans: Iterable[PoolPlan], policies: Iterable[Stored[SchedulingPolicySpec]]
) -> dict[PoolRef, SchedulingPolicy]:
    """The policy of each pool that one governs; the others go by the settings."""
    by_namespace: dict[str, list[Stored[SchedulingPolicySpec]]] = {}
    for item in policies:
        by_namespace.setdefault(item.namespace, []).append(item)
    resolved: dict[str, SchedulingPolicy] = {}
    found: dict[PoolRef, SchedulingPolicy] = {}
    for plan in plans:
        winner = governing(plan.ref, by_namespace.get(plan.ref.namespace, ())).winner
        if winner is not None and winner.spec is not None:
            if winner.uid not in resolved:
                resolved[winner.uid] = scheduling_policy(winner.spec)
            found[plan.ref] = resolved[winner.uid]
    return found


def policies_of_models(
    plans: Iterable[PoolPlan],
    by_pool: Mapping[PoolRef, SchedulingPolicy],
    served: Mapping[PoolRef, Iterable[str]],
) -> dict[str, SchedulingPolicy]:
    """The policy of each model that has one of its own.

    Args:
        plans: The oldest first.
        by_pool: As ``policies_of_pools`` says.
        served: Models that each pool's endpoints serve.
    """
    decided: set[str] = set()
    found: dict[str, SchedulingPolicy] = {}
    for plan in plans:
        for model in served.get(plan.ref, ()):
            if model not in decided:
                decided.add(model)
                if plan.ref in by_pool:
                    found[model] = by_pool[plan.ref]
    return found


def policy_problems(policies: Iterable[Stored[SchedulingPolicySpec]]) -> list[Problem]:
    """Those that do not validate."""
    return [
        problem
        for item in policies
        for problem in invalid(Kind.SCHEDULING_POLICY, item.namespace, item.name, item.problems)
    ]
