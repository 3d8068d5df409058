"""``ModelPool``: which pods serve which models."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from alise_core.crds.base import (
    UNSTATED_DEFAULT,
    ObjectName,
    SecretRef,
    Spec,
    Text,
    at_most,
    keyed_by,
)
from alise_core.crds.conditions import CONDITIONS, OBSERVED_GENERATION, Condition
from alise_core.crds.rules import rule

BASE_PATH = r"^(/[^/?#\s]+)*$"
ModelId = Annotated[str, Field(min_length=1, max_length=512)]


class EngineType(StrEnum):
    """What runs in the pods."""

    VLLM = "vllm"


class Scheme(StrEnum):
    """How the pods are spoken to."""

    HTTP = "http"
    HTTPS = "https"


LabelKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
    ),
]
LabelValue = Annotated[
    str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
]


class PodSelector(Spec):
    """Pods of the same namespace."""

    match_labels: Mapping[LabelKey, LabelValue] = Field(
        min_length=1, max_length=64, description="Labels that a pod must have, all of them."
    )


class TargetPort(Spec):
    """A port on which every pod serves; several are several endpoints (data-parallel ranks)."""

    number: int = Field(
        ge=1, le=65_535, description="Port of the container, as the pod's IP has it."
    )


class InferencePoolRef(Spec):
    """An ``InferencePool`` of the same namespace whose selector and ports are used."""

    name: ObjectName = Field(description="Name of the InferencePool.")


class WeightedModel(Spec):
    """One of the models behind an alias."""

    model: ModelId = Field(description="As the pods serve it.")
    weight: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="Its share of the conversations, relative to that of the other targets.",
    )


class Alias(Spec):
    """A name for clients that leads to one or several served models."""

    name: ModelId = Field(description="As clients ask for it.")
    targets: tuple[WeightedModel, ...] = Field(
        min_length=1,
        max_length=16,
        json_schema_extra=keyed_by("model"),
        description="What answers; conversations are split by weight.",
    )

    @rule(
        "self.targets.all(t, t.model != self.name)",
        field="name",
        message="must not be one of its own targets",
    )
    def leads_elsewhere(self) -> bool:
        """An alias of itself leads nowhere."""
        return all(target.model != self.name for target in self.targets)


class Fallback(Spec):
    """What answers for a model while none of its endpoints can."""

    model: ModelId = Field(description="As pods serve it.")
    fallback: ModelId = Field(description="The model that stands in for it.")

    @rule("self.fallback != self.model", field="fallback", message="must be another model")
    def stands_in_for_another(self) -> bool:
        """A model that cannot answer cannot stand in for itself."""
        return self.fallback != self.model


class ModelPoolSpec(Spec):
    """Which pods serve, where on them, and under which names."""

    selector: PodSelector | None = Field(
        default=None, description="The pods that serve; either this or inferencePoolRef."
    )
    inference_pool_ref: InferencePoolRef | None = Field(
        default=None, description="An InferencePool that says which pods; either this or selector."
    )
    # The default is not in the schema: the API server would fill it in beside inferencePoolRef.
    target_ports: tuple[TargetPort, ...] = Field(
        default=(TargetPort(number=8000),),
        min_length=1,
        max_length=8,
        json_schema_extra={UNSTATED_DEFAULT: True},
        description="Ports on which each pod serves; each is an endpoint of its own. 8000 without "
        "it. Not with inferencePoolRef, which has its own.",
    )
    engine: EngineType = Field(default=EngineType.VLLM, description="What runs in the pods.")
    scheme: Scheme = Field(default=Scheme.HTTP, description="How the pods are spoken to.")
    base_path: str = Field(
        default="",
        max_length=256,
        pattern=BASE_PATH,
        description="Prefix of every request path; none without it.",
    )
    aliases: tuple[Alias, ...] = Field(
        default=(),
        max_length=64,
        json_schema_extra=keyed_by("name"),
        description="Further names under which clients may ask for the models.",
    )
    fallbacks: tuple[Fallback, ...] = Field(
        default=(),
        max_length=64,
        json_schema_extra=keyed_by("model"),
        description="Models that stand in for others while none of their endpoints can answer.",
    )
    api_key_secret_ref: SecretRef | None = Field(
        default=None,
        description="The key that the pods demand (vllm serve --api-key); no key is sent without "
        "it.",
    )
    admin_token_secret_ref: SecretRef | None = Field(
        default=None,
        description="The admin token of the engine plugin; the operator tunes with it and cannot "
        "without it.",
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

    @rule(
        "!has(self.targetPorts) || !has(self.inferencePoolRef)",
        field="targetPorts",
        message="must be absent with inferencePoolRef, which has its own ports",
    )
    def has_one_source_of_ports(self) -> bool:
        """An InferencePool's ports are not overridden."""
        return self.inference_pool_ref is None or "target_ports" not in self.model_fields_set

    @rule(
        "!has(self.targetPorts) || self.targetPorts.all(a, self.targetPorts.exists_one(b, "
        "b.number == a.number))",
        field="targetPorts",
        message="must name each port once",
    )
    def ports_are_distinct(self) -> bool:
        """Two endpoints cannot have one address."""
        return len({port.number for port in self.target_ports}) == len(self.target_ports)


class EndpointCount(Spec):
    """How many endpoints there are."""

    total: int = Field(default=0, ge=0, description="Ports of the pods that the selector matches.")
    ready: int = Field(default=0, ge=0, description="Those that get requests.")
    draining: int = Field(
        default=0, ge=0, description="Those that finish what they have and get nothing new."
    )


class ModelPoolStatus(Spec):
    """What the operator has found out."""

    observed_generation: int = OBSERVED_GENERATION
    conditions: tuple[Condition, ...] = CONDITIONS
    endpoints: EndpointCount = Field(
        default=EndpointCount(), description="How many endpoints there are."
    )
    endpoints_ready: Text = Field(
        default="0/0", description="Ready endpoints / all of them, for people."
    )
    models: Annotated[tuple[ModelId, ...], at_most(256)] = Field(
        default=(),
        max_length=256,
        description="What the endpoints say they serve.",
    )
    kv_capacity_tokens: int | None = Field(
        default=None,
        ge=0,
        description="KV cache of all endpoints that state it, in tokens.",
    )
    kv_cache_dtypes: Annotated[tuple[Text, ...], at_most(16)] = Field(
        default=(),
        max_length=16,
        description="KV cache dtypes that the endpoints state.",
    )
    scheduling_policy: Text | None = Field(
        default=None, description="Name of the SchedulingPolicy in force; none means the defaults."
    )
    kv_cache_policy: Text | None = Field(
        default=None, description="Name of the KVCachePolicy in force."
    )
