"""Objects of a cluster as ``kubectl`` and the kubelet would make them."""

import base64
from pathlib import Path
from typing import Any

import yaml

from fakes.api_server_store import Raw

API = "alise.dev/v1alpha1"


def pod(
    name: str,
    address: str = "10.0.0.1",
    *,
    ready: bool = True,
    phase: str = "Running",
    leaving: bool = False,
    **labels: str,
) -> Raw:
    """A pod; labels with ``_`` in place of ``-``; ``app=vllm`` without any."""
    meta: Raw = {
        "name": name,
        "labels": {key.replace("_", "-"): value for key, value in labels.items()}
        or {"app": "vllm"},
        "deletionTimestamp": "2026-01-01T00:00:00Z" if leaving else None,
    }
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": meta,
        "spec": {"containers": [{"name": "engine", "env": [{"name": "A", "value": "b" * 100}]}]},
        "status": {
            "phase": phase,
            "podIP": address,
            "conditions": [{"type": "Initialized", "status": "True"}, condition],
        },
    }


def model_pool(name: str = "chat", ports: tuple[int, ...] = (8000,), **spec: Any) -> Raw:
    """A ModelPool of the pods with ``app=vllm``; fields in camelCase."""
    usual: Raw = {
        "selector": {"matchLabels": {"app": "vllm"}},
        "targetPorts": [{"number": port} for port in ports],
    }
    return {"metadata": {"name": name}, "spec": usual | spec}


def inference_pool(name: str = "pool", port: int = 8000, **spec: Any) -> Raw:
    usual: Raw = {
        "selector": {"matchLabels": {"app": "vllm"}},
        "targetPorts": [{"number": port}],
    }
    return {"metadata": {"name": name}, "spec": usual | spec}


def policy(name: str, *targets: str, **spec: Any) -> Raw:
    refs = [{"kind": "ModelPool", "name": target} for target in targets]
    return {"metadata": {"name": name}, "spec": {"targetRefs": refs} | spec}


def tenant(name: str, *secrets: str, **spec: Any) -> Raw:
    refs = [{"name": secret} for secret in secrets]
    return {"metadata": {"name": name}, "spec": {"apiKeySecretRefs": refs} | spec}


def secret(name: str, **entries: str) -> Raw:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}
    return {"metadata": {"name": name}, "data": data}


def kubeconfig(directory: Path, url: str, namespace: str = "ns") -> Path:
    """A kubeconfig file for a server without credentials."""
    file = directory / "kubeconfig"
    context = {"cluster": "c", "user": "u", "namespace": namespace}
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "dev",
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "dev", "context": context}],
            }
        )
    )
    return file
