"""Raw objects as an API server has them, and what ALISE's books make of them."""

from collections.abc import Mapping
from typing import Any

from alise_core.crds.book import ObjectBook, Stored
from alise_core.crds.names import Kind
from alise_operator.decide.pods import parse_pod
from alise_operator.decide.scope import Scope

Raw = dict[str, Any]

OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def a_raw(name: str, spec: Raw, created: str = OLD, **more: Any) -> Raw:
    metadata = {
        "name": name,
        "namespace": "ns",
        "uid": f"uid-{name}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": created,
    }
    return {"metadata": metadata, "spec": spec, **more}


def a_pool(name: str = "chat", **spec: Any) -> Raw:
    """A ModelPool; selects the pods that are labelled ``app: NAME``."""
    source = {} if "inferencePoolRef" in spec else {"selector": {"matchLabels": {"app": name}}}
    return a_raw(name, source | spec)


def an_inference_pool(name: str = "chat", picker: bool = False, **spec: Any) -> Raw:
    whole = {
        "selector": {"matchLabels": {"app": name}},
        "targetPorts": [{"number": 8000}],
        **spec,
    }
    if picker:
        whole["endpointPickerRef"] = {"name": "picker", "port": {"number": 9002}}
    return a_raw(name, whole)


def a_policy(name: str, *targets: str, created: str = OLD, **spec: Any) -> Raw:
    """A policy of either kind, for ModelPools of these names."""
    refs = {"targetRefs": [{"kind": "ModelPool", "name": target} for target in targets]}
    return a_raw(name, (refs if targets else {}) | spec, created)


def a_tenant(name: str = "team-a", *secrets: str, **spec: Any) -> Raw:
    return a_raw(name, {"apiKeySecretRefs": [{"name": each} for each in secrets]} | spec)


def a_pod(
    name: str = "chat-0",
    app: str = "chat",
    ip: str | None = "10.0.0.1",
    ready: bool = True,
    terminating: bool = False,
    **more: Any,
) -> Raw:
    """A pod that serves; ``more`` are ``phase`` and ``restarts``."""
    raw = a_raw(name, {})
    raw["metadata"]["labels"] = {"app": app}
    if terminating:
        raw["metadata"]["deletionTimestamp"] = NEW
    raw["status"] = {
        "phase": more.get("phase", "Running"),
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        "containerStatuses": [{"name": "vllm", "restartCount": more.get("restarts", 0)}],
    }
    if ip is not None:
        raw["status"]["podIP"] = ip
    return raw


def stored(kind: Kind, *raws: Raw) -> Stored[Any]:
    """What a book holds after it has seen these, which are one object over time."""
    held: ObjectBook[Any] = ObjectBook(kind)
    for raw in raws:
        held.put(raw)
    (item,) = held.items()
    return item


def a_scope(
    pools: tuple[Raw, ...] = (),
    inference_pools: tuple[Raw, ...] = (),
    scheduling: tuple[Raw, ...] = (),
    kv_cache: tuple[Raw, ...] = (),
    pods: tuple[Raw, ...] = (),
) -> Scope:
    """Namespace ``ns`` with these in it."""
    parsed = (parse_pod(raw) for raw in pods)
    return Scope(
        namespace="ns",
        model_pools={raw["metadata"]["name"]: stored(Kind.MODEL_POOL, raw) for raw in pools},
        inference_pools={
            raw["metadata"]["name"]: stored(Kind.INFERENCE_POOL, raw) for raw in inference_pools
        },
        scheduling=tuple(stored(Kind.SCHEDULING_POLICY, raw) for raw in scheduling),
        kv_cache=tuple(stored(Kind.KV_CACHE_POLICY, raw) for raw in kv_cache),
        pods=tuple(pod for pod in parsed if pod is not None),
    )


def condition(status: Mapping[str, Any], kind: str) -> Raw:
    """The one of this type."""
    (found,) = (each for each in status["conditions"] if each["type"] == kind)
    return dict(found)
