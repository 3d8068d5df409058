"""``Tenant``: who may call, with which keys, and what for. The object's name is the tenant's id."""

from pydantic import Field

from alise_core.crds.base import SecretRef, Spec
from alise_core.crds.conditions import Condition
from alise_core.crds.model_pool import ModelId
from alise_core.crds.rules import rule
from alise_core.service_class import ServiceClass

_CEL_RANKS = "{" + ", ".join(f"'{item}': {item.rank}" for item in ServiceClass) + "}"


class TenantLimitsSpec(Spec):
    """What a tenant may take up, at all gateways together; no limit where nothing is said."""

    requests_per_minute: float | None = Field(default=None, gt=0, le=1_000_000_000)
    tokens_per_minute: float | None = Field(default=None, gt=0, le=1_000_000_000)
    max_waiting: int | None = Field(default=None, ge=0, le=1_000_000_000)
    max_in_flight: int | None = Field(default=None, ge=1, le=1_000_000_000)


class TenantSpec(Spec):
    """See the module."""

    api_key_secret_refs: tuple[SecretRef, ...] = Field(
        default=(),
        max_length=16,
        description="Secrets whose entries are keys, or sha256:... of keys ('alise keys hash').",
    )
    allowed_models: tuple[ModelId, ...] | None = Field(
        default=None, max_length=256, description="Models it may use; every model without it."
    )
    weight: float = Field(default=1, gt=0, le=1_000)
    default_class: ServiceClass = Field(default=ServiceClass.DEFAULT)
    highest_class: ServiceClass = Field(default=ServiceClass.DEFAULT)
    may_schedule: bool = Field(
        default=False, description="It may send priority and fairness headers itself."
    )
    limits: TenantLimitsSpec = Field(default=TenantLimitsSpec())

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

    observed_generation: int = Field(default=0, ge=0)
    conditions: tuple[Condition, ...] = ()
