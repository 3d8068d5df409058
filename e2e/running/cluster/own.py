"""A cluster of the test run's own: control plane, node agent, and how tests reach them."""

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
NODE_SECONDS = 60.0


class OwnCluster(Cluster):
    """Started when made; nothing of it is left after ``stop``, nor when the run is killed."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        network.set_up(STATE)
        self._control_plane = ControlPlane(Path(os.environ[BINARIES]), STATE, logs)
        self.agent: ServerProcess | None = None
        try:
            self._control_plane.start()
            self.agent = self._start_agent()
        except BaseException:
            self.stop()
            raise

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
        agent = [] if self.agent is None else [self.agent]
        return [*self.control_plane.processes, *agent]

    def stop(self) -> None:
        """End pods, node and control plane."""
        if self.agent is not None:
            self.agent.stop()
        self.control_plane.stop()

    def _start_agent(self) -> ServerProcess:
        (self.logs / "pods").mkdir()
        command = [sys.executable, "-m", "running.node.agent"]
        command += ["--kubeconfig", str(self.kubeconfig), "--state", str(STATE)]
        command += ["--logs", str(self.logs / "pods")]
        log = self.logs / "node-agent.log"
        agent = ServerProcess("node-agent", command, log, {"PYTHONPATH": str(SOURCES)})
        eventually(lambda: not agent.running or len(self._ready_nodes()) > 1, NODE_SECONDS, "nodes")
        assert agent.running, str(agent)
        return agent

    def _ready_nodes(self) -> list[str]:
        return [
            node["metadata"]["name"]
            for node in self.api.items("/api/v1/nodes")
            if not node["spec"].get("taints")
        ]
