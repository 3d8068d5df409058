"""``SchedulingPolicy``: the order of requests, and how much endpoints are given.

Every field means what the gateway's setting of the same name means (docs/gateway.md).
"""

from pydantic import Field

from alise_core.crds.base import Seconds, Spec, TargetRef
from alise_core.crds.conditions import Condition
from alise_core.crds.rules import rule
from alise_core.policy import OrderingName, SchedulingPolicy
from alise_core.service_class import ServiceClass

_USUAL = SchedulingPolicy()


class OrderingSpec(Spec):
    """Which request of a tenant is next."""

    name: OrderingName = Field(default=_USUAL.ordering.name, description="The ordering.")
    gamma: float | None = Field(default=None, gt=0, le=100)
    beta: float | None = Field(default=None, ge=0, le=10)
    aging_half_life_seconds: Seconds | None = Field(default=None)
    guard_seconds: Seconds = Field(default=_USUAL.ordering.guard_seconds)
    guard_factor: float = Field(default=_USUAL.ordering.guard_factor, ge=0, le=1_000)


class FairnessSpec(Spec):
    """How tenants share a class."""

    enabled: bool = Field(default=True)
    input_weight: float = Field(default=_USUAL.fairness.input_weight, ge=0, le=100)
    output_weight: float = Field(default=_USUAL.fairness.output_weight, gt=0, le=100)
    idle_half_life_seconds: Seconds = Field(default=_USUAL.fairness.idle_half_life_seconds)


class AdmissionSpec(Spec):
    """How much an endpoint is given at a time."""

    quantile: float = Field(default=_USUAL.admission.quantile, gt=0, lt=1)
    high_quantile: float = Field(default=_USUAL.admission.high_quantile, gt=0, lt=1)
    preemption_ratio: float = Field(default=_USUAL.admission.preemption_ratio, gt=0, le=1_000)
    run_ahead: int = Field(default=_USUAL.admission.run_ahead, ge=0, le=1_000)
    stale_seconds: Seconds = Field(default=_USUAL.admission.stale_seconds)

    @rule(
        "self.highQuantile >= self.quantile",
        field="highQuantile",
        message="must not be below quantile",
        compared_with="quantile",
    )
    def quantiles_ascend(self) -> bool:
        """An endpoint that preempts is given less, not more."""
        return self.high_quantile >= self.quantile


class QueueSpec(Spec):
    """How long the queue of a model may become."""

    max_waiting: int = Field(default=_USUAL.max_waiting, ge=0, le=1_000_000)
    ttl_seconds: Seconds = Field(default=60)
    backfill: int = Field(default=_USUAL.backfill, ge=0, le=1_000)


class ClassSpec(Spec):
    """What one service class may take up while it waits; what is left out keeps its default."""

    name: ServiceClass = Field(description="The class.")
    max_waiting: int | None = Field(default=None, ge=0, le=1_000_000)
    ttl_seconds: Seconds | None = Field(default=None)
    trickle_share: float | None = Field(default=None, ge=0, le=0.5)


class SchedulingPolicySpec(Spec):
    """See the module."""

    target_refs: tuple[TargetRef, ...] = Field(
        default=(),
        max_length=16,
        description="The pools it is for; every pool of its namespace without any.",
    )
    ordering: OrderingSpec = Field(default=OrderingSpec())
    fairness: FairnessSpec = Field(default=FairnessSpec())
    admission: AdmissionSpec = Field(default=AdmissionSpec())
    queue: QueueSpec = Field(default=QueueSpec())
    classes: tuple[ClassSpec, ...] = Field(default=(), max_length=5)

    @rule(
        "self.classes.all(a, self.classes.exists_one(b, b.name == a.name))",
        field="classes",
        message="must name each class once",
    )
    def classes_are_distinct(self) -> bool:
        """Two limits of one class would contradict each other."""
        return len({item.name for item in self.classes}) == len(self.classes)


class PolicyTargetStatus(Spec):
    """What became of a policy at one of its pools."""

    kind: str
    name: str
    in_force: bool
    message: str = ""


class SchedulingPolicyStatus(Spec):
    """What the operator has found out."""

    observed_generation: int = Field(default=0, ge=0)
    conditions: tuple[Condition, ...] = ()
    targets: tuple[PolicyTargetStatus, ...] = ()
