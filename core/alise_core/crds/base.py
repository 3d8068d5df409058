"""What the specs of all kinds have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from alise_core.crds.names import GROUP, Kind


class Spec(BaseModel):
    """A part of a custom resource: camelCase outside, snake_case inside, nothing unknown."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


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
        default=GROUP, description="alise.dev, or inference.networking.k8s.io for an InferencePool."
    )
    kind: Kind = Field(default=Kind.MODEL_POOL, description="ModelPool or InferencePool.")
    name: ObjectName = Field(description="Name of the pool.")
