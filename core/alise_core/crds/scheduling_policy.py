"""``SchedulingPolicy``: the order of requests, and how much endpoints are given.

Every field means what the gateway's setting of the same name means (docs/gateway.md).
"""

from typing import Annotated

from pydantic import Field

from alise_core.crds.base import PolicySpec, Seconds, Spec, Text, at_most, keyed_by
from alise_core.crds.conditions import CONDITIONS, OBSERVED_GENERATION, Condition
from alise_core.crds.rules import rule
from alise_core.policy import OrderingName, SchedulingPolicy
from alise_core.service_class import ServiceClass

_USUAL = SchedulingPolicy()


class OrderingSpec(Spec):
    """Which request of a tenant is next."""

    name: OrderingName = Field(
        default=_USUAL.ordering.name,
        description="How the requests of one tenant in one class are ordered. boost: mean latency "
        "and a bounded tail at once; cost: least expected KV memory times time; sjf: shortest "
        "predicted service; rank: shortest predicted median; tool-aware: cost, with what tool "
        "calls hold; fcfs: first come, first served.",
    )
    gamma: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="For boost: how strongly short requests are favoured, in 1/s; large is fcfs, "
        "small is sjf. Adapted to the load without it.",
    )
    beta: float | None = Field(
        default=None,
        ge=0,
        le=10,
        description="For cost: weight of what a request costs if it becomes long. Adapted to the "
        "load without it.",
    )
    aging_half_life_seconds: Seconds | None = Field(
        default=None,
        description="For sjf, rank and cost: a wait of this many seconds halves a request's rank. "
        "No aging without it.",
    )
    guard_seconds: Seconds = Field(
        default=_USUAL.ordering.guard_seconds,
        description="A request that has waited for this many seconds, and for guardFactor times "
        "its own predicted service, is next in its line whatever its rank.",
    )
    guard_factor: float = Field(
        default=_USUAL.ordering.guard_factor,
        ge=0,
        le=1_000,
        description="Multiple of its own predicted service that a request has to have waited "
        "before the guard lets it go first.",
    )


class FairnessSpec(Spec):
    """How tenants share a class."""

    enabled: bool = Field(
        default=True,
        description="Whether tenants take turns by the work that they were given. Off, all tenants "
        "of a class wait in one line.",
    )
    input_weight: float = Field(
        default=_USUAL.fairness.input_weight,
        ge=0,
        le=100,
        description="What one prompt token counts for a tenant's share.",
    )
    output_weight: float = Field(
        default=_USUAL.fairness.output_weight,
        gt=0,
        le=100,
        description="What one output token counts for a tenant's share.",
    )
    idle_half_life_seconds: Seconds = Field(
        default=_USUAL.fairness.idle_half_life_seconds,
        description="The lead or debt of a tenant that asks for nothing halves in this many "
        "seconds.",
    )


class AdmissionSpec(Spec):
    """How much an endpoint is given at a time."""

    quantile: float = Field(
        default=_USUAL.admission.quantile,
        gt=0,
        lt=1,
        description="Quantile of the predicted output length at which KV memory is reserved.",
    )
    high_quantile: float = Field(
        default=_USUAL.admission.high_quantile,
        gt=0,
        lt=1,
        description="The quantile up to which an endpoint's reservations rise while it preempts "
        "too much. Not below quantile.",
    )
    preemption_ratio: float = Field(
        default=_USUAL.admission.preemption_ratio,
        gt=0,
        le=1_000,
        description="Preemptions per finished request that are too many.",
    )
    run_ahead: int = Field(
        default=_USUAL.admission.run_ahead,
        ge=0,
        le=1_000,
        description="Requests in an engine's own queue that are not yet a sign of too many, so "
        "that the engine never waits for a gateway.",
    )
    ordering_run_ahead: int = Field(
        default=_USUAL.admission.ordering_run_ahead,
        ge=0,
        le=1_000,
        description="The same for engines with the ALISE scheduler, which order their own queue "
        "and preempt.",
    )
    stale_seconds: Seconds = Field(
        default=_USUAL.admission.stale_seconds,
        description="Figures of an engine older than this many seconds correct nothing any more.",
    )

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

    max_waiting: int = Field(
        default=_USUAL.max_waiting,
        ge=0,
        le=1_000_000,
        description="Requests that may wait for one model, at each gateway; more are refused with "
        "429 and a Retry-After.",
    )
    ttl_seconds: Seconds = Field(
        default=60,
        description="A request that has waited for this many seconds is refused, in the classes "
        "that say nothing else.",
    )
    backfill: int = Field(
        default=_USUAL.backfill,
        ge=0,
        le=1_000,
        description="Requests behind one that does not fit that are tried in its place.",
    )


class ClassSpec(Spec):
    """What one service class may take up while it waits; what is left out keeps its default."""

    name: ServiceClass = Field(description="The class; from the first served to the last.")
    max_waiting: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="Requests of the class that may wait. No limit besides queue.maxWaiting "
        "without it.",
    )
    ttl_seconds: Seconds | None = Field(
        default=None,
        description="A request of the class that has waited for this many seconds is refused. "
        "Without it queue.ttlSeconds, but at least 300 for flex and 600 for batch.",
    )
    trickle_share: float | None = Field(
        default=None,
        ge=0,
        le=0.5,
        description="Work that the class may do, while better classes wait too, for each unit of "
        "theirs. Without it 0.05 for flex and batch, 0 for the others.",
    )


class SchedulingPolicySpec(PolicySpec):
    """How requests for the pools are ordered, and how much their endpoints are given."""

    ordering: OrderingSpec = Field(
        default=OrderingSpec(), description="Which request of a tenant is next."
    )
    fairness: FairnessSpec = Field(
        default=FairnessSpec(), description="How the tenants of a class share what there is."
    )
    admission: AdmissionSpec = Field(
        default=AdmissionSpec(), description="How much an endpoint is given at a time."
    )
    queue: QueueSpec = Field(
        default=QueueSpec(), description="How long the queue of a model may become."
    )
    classes: tuple[ClassSpec, ...] = Field(
        default=(),
        max_length=5,
        json_schema_extra=keyed_by("name"),
        description="What service classes may take up while they wait; classes that are not "
        "listed keep their defaults.",
    )


class PolicyTargetStatus(Spec):
    """What became of a policy at one of its pools."""

    kind: Text = Field(description="Kind of the pool.")
    name: Text = Field(description="Name of the pool.")
    in_force: bool = Field(description="Whether this policy is the one that holds there.")
    message: Text = Field(default="", description="Why it does not hold, or what holds instead.")


class SchedulingPolicyStatus(Spec):
    """What the operator has found out."""

    observed_generation: int = OBSERVED_GENERATION
    conditions: tuple[Condition, ...] = CONDITIONS
    targets: Annotated[tuple[PolicyTargetStatus, ...], at_most(256)] = Field(
        default=(), max_length=256, description="The pools that this policy is for."
    )
