"""Everything in one namespace that statuses are decided from. A frozen view."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from alise_core.crds.book import Stored
from alise_core.crds.inference_pool import InferencePoolSpec
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.crds.model_pool import ModelPoolSpec
from alise_core.crds.names import Kind
from alise_core.crds.scheduling_policy import SchedulingPolicySpec
from alise_operator.decide.engine import EngineFacts
from alise_operator.decide.pods import Pod
from alise_operator.decide.references import SecretFacts


@dataclass(frozen=True, slots=True, order=True)
class WorkKey:
    """An object that has a status to keep."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        """As people write it."""
        return f"{self.kind.value} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Scope:
    """One namespace.

    Attributes:
        model_pools: By name.
        inference_pools: By name.
        scheduling: SchedulingPolicies.
        kv_cache: KVCachePolicies.
        pods: All of them.
        engines: By the endpoint's name; one that has not been asked yet is missing, one that was
            asked in vain says nothing.
        secrets: By name; what has not been asked for is missing.
        serve_inference_pools: Gateways look at InferencePools; off, there are none for anybody.
        serve_picked: Of those that no ModelPool refers to, gateways serve even the ones that have
            an endpoint picker.
    """

    namespace: str
    model_pools: Mapping[str, Stored[ModelPoolSpec]] = field(default_factory=dict)
    inference_pools: Mapping[str, Stored[InferencePoolSpec]] = field(default_factory=dict)
    scheduling: tuple[Stored[SchedulingPolicySpec], ...] = ()
    kv_cache: tuple[Stored[KVCachePolicySpec], ...] = ()
    pods: Collection[Pod] = ()
    engines: Mapping[str, EngineFacts] = field(default_factory=dict)
    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)
    serve_inference_pools: bool = True
    serve_picked: bool = False
