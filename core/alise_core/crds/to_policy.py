"""From a ``SchedulingPolicy`` object's spec to the policy that a gateway obeys. Pure.

Every field means what the gateway's setting of the same name means: what the spec leaves out has
the same default, and classes keep their own patience in the same way (``policy.class_limits``).
"""

from alise_core.crds.scheduling_policy import ClassSpec, SchedulingPolicySpec
from alise_core.policy import (
    AdmissionPolicy,
    FairnessPolicy,
    OrderingPolicy,
    SchedulingPolicy,
    class_limits,
)
from alise_core.service_class import ServiceClass


def scheduling_policy(spec: SchedulingPolicySpec) -> SchedulingPolicy:
    """The policy that a valid spec asks for; which pools it is for is not part of it."""
    ordering, fairness, admission = spec.ordering, spec.fairness, spec.admission
    stated = {item.name: item for item in spec.classes}
    classes = {}
    for item in ServiceClass:
        wished = stated.get(item) or ClassSpec(name=item)
        classes[item] = class_limits(
            item,
            spec.queue.ttl_seconds,
            wished.max_waiting,
            wished.ttl_seconds,
            wished.trickle_share,
        )
    return SchedulingPolicy(
        max_waiting=spec.queue.max_waiting,
        classes=classes,
        ordering=OrderingPolicy(
            name=ordering.name,
            gamma=ordering.gamma,
            beta=ordering.beta,
            aging_half_life_seconds=ordering.aging_half_life_seconds,
            guard_seconds=ordering.guard_seconds,
            guard_factor=ordering.guard_factor,
        ),
        fairness=FairnessPolicy(
            enabled=fairness.enabled,
            input_weight=fairness.input_weight,
            output_weight=fairness.output_weight,
            idle_half_life_seconds=fairness.idle_half_life_seconds,
        ),
        admission=AdmissionPolicy(
            quantile=admission.quantile,
            high_quantile=admission.high_quantile,
            preemption_ratio=admission.preemption_ratio,
            run_ahead=admission.run_ahead,
            ordering_run_ahead=admission.ordering_run_ahead,
            stale_seconds=admission.stale_seconds,
        ),
        backfill=spec.queue.backfill,
    )
