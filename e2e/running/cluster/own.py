"""A cluster of the test run's own: control plane, nodes, and how tests reach them."""

import abc
import os
import sys
from pathlib import Path

from running.cluster import network
from running.cluster.api import Api
from running.cluster.cluster import Cluster
from running.cluster.control_plane import ControlPlane
from running.process import ServerProcess
from running.scrape import eventually

STATE = Path("/run/alise-e2e")
BINARIES = "ALISE_E2E_KUBERNETES"
"""Environment variable with the directory of the control plane's binaries."""
SOURCES = Path(__file__).resolve().parents[2]
NODE_SECONDS = 150.0


class OwnCluster(Cluster):
    """Started when made; nothing of it is left after ``stop``, nor when the run is killed."""

    nodes: int
    """How many register."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        network.set_up(STATE)
        self._control_plane = ControlPlane(Path(os.environ[BINARIES]), STATE, logs)
        self._node_processes: list[ServerProcess] = []
        try:
            self._control_plane.start()
            self.start_nodes()
            self._wait_for_nodes()
        except BaseException:
            self.stop()
            raise

    @abc.abstractmethod
    def start_nodes(self) -> None:
        """Start what runs pods, each process with ``add``; does not wait."""

    def add(self, *processes: ServerProcess) -> None:
        """Processes of nodes, to be ended in the reverse order."""
        self._node_processes += processes

    @property
    def api(self) -> Api:
        """As the cluster's administrator."""
        return self.control_plane.api

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.control_plane.kubeconfig

    @property
    def control_plane(self) -> ControlPlane:
        """Its processes."""
        return self._control_plane

    @property
    def processes(self) -> list[ServerProcess]:
        """Everything that runs on behalf of the cluster, pods apart."""
        return [*self.control_plane.processes, *self._node_processes]

    def empty_dir(self, uid: str, volume: str) -> Path:
        """Of a pod that runs."""
        (found,) = (
            *STATE.glob(f"pods/{uid}/volumes/{volume}"),
            *STATE.glob(f"kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/{volume}"),
        )
        return found

    def stop(self) -> None:
        """End pods, nodes and control plane."""
        while self._node_processes:
            self._node_processes.pop().stop()
        self.control_plane.stop()

    def _wait_for_nodes(self) -> None:
        def ended() -> list[ServerProcess]:
            return [process for process in self._node_processes if not process.running]

        eventually(
            lambda: bool(ended()) or len(self._ready_nodes()) == self.nodes, NODE_SECONDS, "nodes"
        )
        assert not ended(), "\n".join(str(process) for process in ended())

    def _ready_nodes(self) -> list[str]:
        return [
            node["metadata"]["name"]
            for node in self.api.items("/api/v1/nodes")
            if not node["spec"].get("taints")
        ]


class ProcessCluster(OwnCluster):
    """Its pods are processes that a small agent starts."""

    nodes = 2
    containers = False

    def start_nodes(self) -> None:
        """Start the agent, which is all nodes."""
        (self.logs / "pods").mkdir()
        command = [sys.executable, "-m", "running.node.agent"]
        command += ["--kubeconfig", str(self.kubeconfig), "--state", str(STATE)]
        command += ["--logs", str(self.logs / "pods")]
        log = self.logs / "node-agent.log"
        self.add(ServerProcess("node-agent", command, log, {"PYTHONPATH": str(SOURCES)}))
