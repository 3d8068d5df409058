"""``Tenant``: who may call, with which keys, and what for. The object's name is the tenant's id."""

from pydantic import Field

from alise_core.crds.base import AS_SET, SecretRef, Spec
from alise_core.crds.conditions import CONDITIONS, OBSERVED_GENERATION, Condition
from alise_core.crds.model_pool import ModelId
from alise_core.crds.rules import rule
from alise_core.service_class import ServiceClass

_CEL_RANKS = "{" + ", ".join(f"'{item}': {item.rank}" for item in ServiceClass) + "}"


class TenantLimitsSpec(Spec):
    """What a tenant may take up, at all gateways together; no limit where nothing is said."""

    requests_per_minute: float | None = Field(
        default=None, gt=0, le=1_000_000_000, description="Requests per minute."
    )
    tokens_per_minute: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000_000,
        description="Prompt and output tokens per minute; output is counted as predicted, then put "
        "right.",
    )
    max_waiting: int | None = Field(
        default=None, ge=0, le=1_000_000_000, description="Requests that may wait at a time."
    )
    max_in_flight: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Requests that may run at a time."
    )


class TenantSpec(Spec):
    """Who the tenant is to the gateway, and what it may have."""

    api_key_secret_refs: tuple[SecretRef, ...] = Field(
        default=(),
        max_length=16,
        description="Secrets of the same namespace whose entries are the tenant's API keys, or "
        "sha256:... of keys ('alise keys hash'). Several let keys be rotated without a gap. "
        "Without any the tenant has no key of its own.",
    )
    allowed_models: tuple[ModelId, ...] | None = Field(
        default=None,
        max_length=256,
        json_schema_extra=AS_SET,
        description="Models that the tenant may use, as it asks for them; every model without it.",
    )
    weight: float = Field(
        default=1,
        gt=0,
        le=1_000,
        description="The tenant's share of a class, relative to that of the others.",
    )
    default_class: ServiceClass = Field(
        default=ServiceClass.DEFAULT,
        description="Class of requests that do not say one (service_tier). Not served before "
        "highestClass.",
    )
    highest_class: ServiceClass = Field(
        default=ServiceClass.DEFAULT,
        description="The best class that the tenant's requests can get, whatever they ask for.",
    )
    may_schedule: bool = Field(
        default=False,
        description="Whether the tenant's requests may carry priority and fairness headers of "
        "their own.",
    )
    limits: TenantLimitsSpec = Field(
        default=TenantLimitsSpec(),
        description="What the tenant may take up, at all gateways together; no limit where "
        "nothing is said.",
    )

    @rule(
        f"{_CEL_RANKS}[self.defaultClass] >= {_CEL_RANKS}[self.highestClass]",
        field="defaultClass",
        message="must not be served before highestClass",
        compared_with="highestClass",
    )
    def default_is_allowed(self) -> bool:
        """What a tenant gets without asking is something that it may have."""
        return self.default_class.rank >= self.highest_class.rank


class TenantStatus(Spec):
    """What the operator has found out. Never says anything about the keys themselves."""

    observed_generation: int = OBSERVED_GENERATION
    conditions: tuple[Condition, ...] = CONDITIONS
