"""One object of each kind as somebody would write it, for the documentation."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from alise_core.crds.names import API_VERSION, Kind


def _object(kind: Kind, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": str(kind),
        "metadata": {"name": name, "namespace": "serving"},
        "spec": dict(spec),
    }


EXAMPLES: Mapping[Kind, Mapping[str, Any]] = MappingProxyType(
    {
        Kind.MODEL_POOL: _object(
            Kind.MODEL_POOL,
            "llama",
            {
                "selector": {"matchLabels": {"app": "vllm-llama"}},
                "targetPorts": [{"number": 8000}],
                "aliases": [
                    {"name": "chat", "targets": [{"model": "meta-llama/Llama-3.1-8B-Instruct"}]}
                ],
                "apiKeySecretRef": {"name": "vllm-api-key", "key": "key"},
                "adminTokenSecretRef": {"name": "vllm-admin-token", "key": "token"},
            },
        ),
        Kind.SCHEDULING_POLICY: _object(
            Kind.SCHEDULING_POLICY,
            "short-first",
            {
                "targetRefs": [{"kind": "ModelPool", "name": "llama"}],
                "ordering": {"name": "boost", "guardSeconds": 30},
                "admission": {"quantile": 0.5, "highQuantile": 0.7},
                "queue": {"maxWaiting": 2000, "ttlSeconds": 60},
                "classes": [{"name": "batch", "ttlSeconds": 1800, "trickleShare": 0.1}],
            },
        ),
        Kind.KV_CACHE_POLICY: _object(
            Kind.KV_CACHE_POLICY,
            "careful",
            {
                "targetRefs": [{"kind": "ModelPool", "name": "llama"}],
                "mode": "Recommend",
                "activeRequests": {"min": 16},
                "hostTier": {"levels": ["none", "int8"], "evictionPolicies": ["lru", "ewt"]},
                "dtypes": {"platform": "cuda-hopper", "ladder": ["auto", "fp8_e4m3"]},
                "pressure": {"high": 0.9, "low": 0.6},
                "canary": {"observeSeconds": 300, "gate": {"maxMeanLogprobLoss": 0.02}},
            },
        ),
        Kind.TENANT: _object(
            Kind.TENANT,
            "search-team",
            {
                "apiKeySecretRefs": [{"name": "search-team-keys"}],
                "allowedModels": ["chat"],
                "weight": 2,
                "highestClass": "priority",
                "limits": {"tokensPerMinute": 600000, "maxInFlight": 64},
            },
        ),
    }
)
