"""The settings of ``kubernetes``: what to find in a cluster, and how to get there."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_SELECTOR_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*=[A-Za-z0-9._-]*")

_Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class KubernetesSettings(BaseModel):
    """Find backends, policies and tenants in a Kubernetes cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    namespace: _Namespace | None = None
    """Where to look; the gateway's own without it."""
    all_namespaces: bool = False
    """Look in all of them, which takes a ClusterRole."""
    kubeconfig: Path | None = None
    """Outside of the cluster: how to get there. Needs ``alise[kubernetes]``."""
    context: str | None = None
    """Of the kubeconfig; its current one without it."""
    peers_selector: str | None = None
    """Labels of the gateway's own pods, as ``kubectl -l`` takes them: ``name=value,name=value``.
    Ready ones share every backend in equal parts; without it this gateway is alone."""
    pod_name: str | None = None
    """Of the gateway's own pod; the peers are counted only with it."""
    serve_inference_pools: bool = True
    """Look for InferencePools (Gateway API), and serve those without an endpoint picker."""
    serve_picked_inference_pools: bool = False
    """Serve those with an endpoint picker too, without asking it."""
    sync_seconds: float = Field(default=30, gt=0, le=86_400)
    """How long the first look at the cluster may take before the gateway goes on without it."""

    @field_validator("peers_selector")
    @classmethod
    def _selector_is_equalities(cls, value: str | None) -> str | None:
        for term in () if value is None else value.split(","):
            if not _SELECTOR_TERM.fullmatch(term.strip()):
                raise ValueError(f"{term!r} must look like name=value; join several with commas")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> "KubernetesSettings":
        if self.all_namespaces and self.namespace is not None:
            raise ValueError("namespace and all_namespaces exclude each other; set one")
        return self

    @model_validator(mode="after")
    def _knows_itself(self) -> "KubernetesSettings":
        if self.peers_selector and not self.pod_name:
            raise ValueError(
                "peers_selector needs pod_name: set ALISE_GATEWAY_KUBERNETES__POD_NAME from the "
                "downward API (metadata.name)"
            )
        return self
