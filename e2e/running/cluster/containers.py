"""A cluster of the test run's own whose pods are containers: a real kubelet on a real runtime."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from running.cluster.own import STATE, OwnCluster
from running.kubelet import machine
from running.kubelet.containers import Containers
from running.kubelet.node import Node

NODE = "ALISE_E2E_NODE"
"""Environment variable that ``tools/cluster_tests.py --node`` sets: a node's parts, as JSON."""
PAUSE = "pause"


class ContainerCluster(OwnCluster):
    """One node with the images of the working tree."""

    nodes = 1
    values: Mapping[str, Any] = {
        # As shipped: kube-proxy follows a second or more after the endpoints.
        "gateway": {"preStopSeconds": 10, "resources": {"requests": {"cpu": "50m"}}},
        # One small node has room for the pods of all scenarios.
        "operator": {"resources": {"requests": {"cpu": "10m"}}},
    }

    def __init__(self, logs: Path) -> None:
        self._parts: Mapping[str, Any] = json.loads(os.environ[NODE])
        self.registry = self._parts["registry"]
        super().__init__(logs)

    def image_megabytes(self) -> Mapping[str, float]:
        """Of the archives, which are not compressed."""
        sizes = {name: Path(path).stat().st_size for name, path in self._parts["archives"].items()}
        return {name: round(size / 1e6, 1) for name, size in sizes.items() if name != PAUSE}

    def start_nodes(self) -> None:
        """Start the container runtime, give it the images, start the kubelet."""
        parts = self._parts
        machine.prepare(STATE / "machine", self.logs / "node")
        containers = Containers(
            programs=Path(parts["programs"]),
            variables=parts["variables"],
            state=STATE,
            disk=Path(parts["disk"]),
            pause=self.image(PAUSE),
        )
        self.add(containers.start(self.logs / "containerd.log"))
        containers.take(Path(archive) for archive in parts["archives"].values())
        node = Node(
            binaries=Path(parts["binaries"]),
            variables=parts["variables"],
            authority=self.control_plane.authority,
            state=STATE,
            control_group=parts["control_group"],
        )
        self.add(*node.start(containers, self.logs, self.kubeconfig))

    def pod_logs(self, namespace: str) -> list[Path]:
        """What all containers of a namespace have said; a kubelet removes those of pods gone."""
        return list((self.logs / "node/pods").glob(f"{namespace}_*/*/*.log"))
