"""``ModelPool``: which pods serve which models."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from alise_core.crds.base import ObjectName, SecretRef, Spec
from alise_core.crds.conditions import Condition
from alise_core.crds.rules import rule

ModelId = Annotated[str, Field(min_length=1, max_length=512)]


class EngineType(StrEnum):
    """What runs in the pods."""

    VLLM = "vllm"


class Scheme(StrEnum):
    """How the pods are spoken to."""

    HTTP = "http"
    HTTPS = "https"


class PodSelector(Spec):
    """Pods of the same namespace."""

    match_labels: Mapping[str, str] = Field(
        min_length=1, max_length=64, description="Labels that a pod must have, all of them."
    )


class TargetPort(Spec):
    """A port on which every pod serves; several are several endpoints (data-parallel ranks)."""

    number: int = Field(ge=1, le=65_535, description="Port of the container.")


class InferencePoolRef(Spec):
    """An ``InferencePool`` of the same namespace whose selector and ports are used."""

    name: ObjectName = Field(description="Name of the InferencePool.")


class WeightedModel(Spec):
    """One of the models behind an alias."""

    model: ModelId = Field(description="As the pods serve it.")
    weight: int = Field(
        default=1, ge=1, le=1_000_000, description="Its share of the conversations."
    )


class Alias(Spec):
    """A name for clients that leads to one or several served models."""

    name: ModelId = Field(description="As clients ask for it.")
    targets: tuple[WeightedModel, ...] = Field(
        min_length=1, max_length=16, description="What answers; conversations are split by weight."
    )


class Fallback(Spec):
    """What answers for a model while none of its endpoints can."""

    model: ModelId = Field(description="As pods serve it.")
    fallback: ModelId = Field(description="The model that stands in for it.")


class ModelPoolSpec(Spec):
    """See the module."""

    selector: PodSelector | None = Field(
        default=None, description="The pods; either this or inferencePoolRef."
    )
    inference_pool_ref: InferencePoolRef | None = Field(
        default=None, description="An InferencePool that says which pods; either this or selector."
    )
    target_ports: tuple[TargetPort, ...] = Field(
        default=(TargetPort(number=8000),),
        min_length=1,
        max_length=8,
        description="Ports on which each pod serves. Not with inferencePoolRef, which has its own.",
    )
    engine: EngineType = Field(default=EngineType.VLLM, description="What runs in the pods.")
    scheme: Scheme = Field(default=Scheme.HTTP, description="How the pods are spoken to.")
    base_path: str = Field(
        default="",
        max_length=256,
        pattern=r"^(/[^/?#\s]+)*$",
        description="Prefix of every request path.",
    )
    aliases: tuple[Alias, ...] = Field(
        default=(), max_length=64, description="Further names for the models."
    )
    fallbacks: tuple[Fallback, ...] = Field(
        default=(), max_length=64, description="Models that stand in while no endpoint can answer."
    )
    api_key_secret_ref: SecretRef | None = Field(
        default=None, description="The key that the pods demand (vllm serve --api-key)."
    )
    admin_token_secret_ref: SecretRef | None = Field(
        default=None,
        description="The admin token of the engine plugin; the operator tunes with it.",
    )
    max_in_flight_per_endpoint: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="Requests that one endpoint is given at a time, by all gateways together.",
    )

    @rule(
        "has(self.selector) != has(self.inferencePoolRef)",
        message="exactly one of selector and inferencePoolRef must be set",
    )
    def has_one_source_of_pods(self) -> bool:
        """Pods are selected here or by an InferencePool."""
        return (self.selector is None) != (self.inference_pool_ref is None)


class EndpointCount(Spec):
    """How many endpoints there are."""

    total: int = Field(default=0, ge=0)
    ready: int = Field(default=0, ge=0)
    draining: int = Field(default=0, ge=0)


class ModelPoolStatus(Spec):
    """What the operator has found out."""

    observed_generation: int = Field(default=0, ge=0)
    conditions: tuple[Condition, ...] = ()
    endpoints: EndpointCount = EndpointCount()
    endpoints_ready: str = Field(default="0/0", description="For the column: ready/total.")
    models: tuple[str, ...] = Field(default=(), description="What the endpoints say they serve.")
    kv_capacity_tokens: int | None = Field(
        default=None, ge=0, description="KV cache of all endpoints that state it."
    )
    kv_cache_dtypes: tuple[str, ...] = ()
    scheduling_policy: str | None = Field(default=None, description="The one in force.")
    kv_cache_policy: str | None = Field(default=None, description="The one in force.")
