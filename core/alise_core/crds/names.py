"""Names that the API server, the chart, the gateway and the operator have to agree on."""

from enum import StrEnum
from typing import NamedTuple

GROUP = "alise.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

INFERENCE_POOL_GROUP = "inference.networking.k8s.io"
INFERENCE_POOL_VERSION = "v1"

CONTROLLER_NAME = f"{GROUP}/gateway"
"""``status.parents[].controllerName`` of InferencePools that ALISE serves."""

PAUSED_ANNOTATION = f"{GROUP}/paused"
"""On a pool or a pod: ``"true"`` keeps the tuner away from it."""


class ObjectKey(NamedTuple):
    """An object of a known kind; its namespace is empty where the kind has none."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Kind(StrEnum):
    """Kinds that ALISE reads."""

    MODEL_POOL = "ModelPool"
    SCHEDULING_POLICY = "SchedulingPolicy"
    KV_CACHE_POLICY = "KVCachePolicy"
    TENANT = "Tenant"
    INFERENCE_POOL = "InferencePool"


PLURALS = {
    Kind.MODEL_POOL: "modelpools",
    Kind.SCHEDULING_POLICY: "schedulingpolicies",
    Kind.KV_CACHE_POLICY: "kvcachepolicies",
    Kind.TENANT: "tenants",
    Kind.INFERENCE_POOL: "inferencepools",
}

GROUP_OF = {kind: INFERENCE_POOL_GROUP if kind is Kind.INFERENCE_POOL else GROUP for kind in Kind}
