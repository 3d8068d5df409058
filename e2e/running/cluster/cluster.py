"""A cluster as scenarios see it, whoever runs it."""

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from running.cluster.api import Api
from running.cluster.control_plane import ControlPlane


class Cluster(abc.ABC):
    """Where scenarios install things.

    Attributes:
        logs: Directory for what is written about the run.
        registry: What comes before images' names; empty where they are this machine's files.
        values: Of the chart, for every release here.
        containers: Whether pods are containers under a kubelet, of images that were built.
    """

    logs: Path
    registry: str = ""
    values: Mapping[str, Any] = {}
    containers: bool = True

    @property
    @abc.abstractmethod
    def api(self) -> Api:
        """As the cluster's administrator."""

    @property
    @abc.abstractmethod
    def kubeconfig(self) -> Path:
        """The administrator's."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Leave nothing."""

    @property
    def control_plane(self) -> ControlPlane:
        """Its processes, for scenarios that stop them; others are skipped."""
        pytest.skip("the control plane of a given cluster is left alone")

    def image(self, name: str) -> str:
        """Reference of one of our images."""
        return f"{self.registry}/{name}:e2e" if self.registry else f"{name}:e2e"

    def image_megabytes(self) -> Mapping[str, float]:
        """Sizes of the images that were built for it, unpacked, by name."""
        return {}

    def url(self, namespace: str, service: str, port: str) -> str:
        """Base URL of a Service's port, by its name."""
        found = self.api.read(f"/api/v1/namespaces/{namespace}/services/{service}")["spec"]
        number = next(each["port"] for each in found["ports"] if each.get("name", "") == port)
        return f"http://{found['clusterIP']}:{number}"

    def empty_dir(self, uid: str, volume: str) -> Path | None:
        """Where this machine sees an emptyDir of a pod; ``None`` where it does not."""
        del uid, volume
        return None

    def pod_logs(self, namespace: str) -> list[Path]:
        """What all containers of a namespace have said, those of pods that are gone too."""
        return list((self.logs / "pods").glob(f"{namespace}.*.log"))
