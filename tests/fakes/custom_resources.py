"""Raw custom resources as an API server sends them."""

from typing import Any

from alise_core.crds.names import API_VERSION, Kind

SMALLEST: dict[Kind, dict[str, Any]] = {
    Kind.MODEL_POOL: {"selector": {"matchLabels": {"app": "vllm"}}},
    Kind.SCHEDULING_POLICY: {},
    Kind.KV_CACHE_POLICY: {},
    Kind.TENANT: {},
    Kind.INFERENCE_POOL: {
        "selector": {"matchLabels": {"app": "vllm"}},
        "targetPorts": [{"number": 8000}],
    },
}


def raw_object(
    kind: Kind,
    name: str = "one",
    *,
    spec: object = None,
    namespace: str = "serving",
    **metadata: Any,
) -> dict[str, Any]:
    """An object of ``kind`` with the smallest valid spec, or with ``spec``."""
    return {
        "apiVersion": API_VERSION,
        "kind": str(kind),
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{name}",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **metadata,
        },
        "spec": SMALLEST[kind] if spec is None else spec,
    }
