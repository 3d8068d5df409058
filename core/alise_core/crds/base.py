"""What the specs of all kinds have in common."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel, to_snake
from pydantic_core import PydanticCustomError

from alise_core.crds.names import GROUP, GROUP_OF, Kind
from alise_core.crds.rules import Rule, rule, rules_of

RULES_BROKEN = "rules_broken"
"""The ``type`` of pydantic's error for broken rules; its ``ctx["broken"]`` lists them as
``(field, value, message)``."""


class Spec(BaseModel):
    """A part of a custom resource: camelCase outside, snake_case inside, nothing unknown."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
        ignored_types=(Rule,),
    )

    @model_validator(mode="after")
    def _obeys_its_rules(self) -> Self:
        broken = [self._as_broken(item) for item in rules_of(type(self)) if not item.holds(self)]
        if broken:
            text = "; ".join(f"{field}: {message}" for field, _, message in broken)
            raise PydanticCustomError(
                RULES_BROKEN, "{text}", {"text": text.removeprefix(": "), "broken": broken}
            )
        return self

    def _as_broken(self, item: Rule) -> tuple[str, object, str]:
        value = getattr(self, to_snake(item.field)) if item.field else None
        other = f" ({getattr(self, to_snake(item.compared_with))})" if item.compared_with else ""
        return item.field, value, item.message + other


ObjectName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
]
SecretEntry = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Ratio = Annotated[float, Field(ge=0, le=1)]


class SecretRef(Spec):
    """A Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: SecretEntry | None = Field(
        default=None, description="One entry of the Secret; all of its entries without it."
    )


class TargetRef(Spec):
    """A pool of the same namespace that a policy is for."""

    group: str = Field(
        default=GROUP,
        max_length=253,
        description="alise.dev, or inference.networking.k8s.io for an InferencePool.",
    )
    kind: Kind = Field(default=Kind.MODEL_POOL, description="ModelPool or InferencePool.")
    name: ObjectName = Field(description="Name of the pool.")

    @rule(
        "(self.group == 'alise.dev' && self.kind == 'ModelPool') || "
        "(self.group == 'inference.networking.k8s.io' && self.kind == 'InferencePool')",
        field="kind",
        message="must be ModelPool with group alise.dev, or InferencePool with group "
        "inference.networking.k8s.io",
    )
    def names_a_pool(self) -> bool:
        """Other kinds cannot be governed."""
        return self.kind in {Kind.MODEL_POOL, Kind.INFERENCE_POOL} and (
            self.group == GROUP_OF[self.kind]
        )
