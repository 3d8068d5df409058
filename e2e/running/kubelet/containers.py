"""containerd with runc and the CNI plugins, and our images in it."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from running.cluster.network import API_SERVER, BRIDGE, POD_RANGE
from running.process import ServerProcess
from running.scrape import eventually

NAMESPACE = "k8s.io"
START_SECONDS = 60.0
SETTINGS = """\
version = 2
root = "{disk}/containerd"
state = "{state}/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
address = "{state}/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
disable_tcp_service = true
# Root without CAP_SYS_RESOURCE cannot make a process less likely to be killed.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{programs}/usr/lib/cni"
conf_dir = "{state}/cni"
"""


class Containers:
    """A container runtime of the test run's own.

    Args:
        programs: Root of what ``tools/node_programs.py`` unpacked.
        variables: Environment in which those programs run.
        state: Directory in memory.
        disk: Directory for images, which are large.
        pause: Image of what holds a pod's namespaces.
    """

    def __init__(
        self, programs: Path, variables: Mapping[str, str], state: Path, disk: Path, pause: str
    ) -> None:
        self.socket = state / "containerd.sock"
        self._programs = programs
        self._variables = variables
        self._state = state
        self._settings = state / "containerd.toml"
        places = {"programs": programs, "state": state, "disk": disk, "pause": pause}
        self._settings.write_text(SETTINGS.format(**places), encoding="utf-8")
        (state / "cni").mkdir()
        network = json.dumps(self._network(), indent=2)
        (state / "cni/10-e2e.conflist").write_text(network, encoding="utf-8")

    def start(self, log: Path) -> ServerProcess:
        """Start containerd and wait until it answers."""
        command = [str(self._programs / "usr/bin/containerd"), f"--config={self._settings}"]
        process = ServerProcess("containerd", command, log, self._variables)
        eventually(
            lambda: not process.running or self._ctr("version").returncode == 0,
            START_SECONDS,
            "containerd answers",
        )
        assert process.running, str(process)
        return process

    def take(self, archives: Iterable[Path]) -> None:
        """Import images."""
        for archive in archives:
            done = self._ctr("images", "import", str(archive))
            assert done.returncode == 0, f"{archive.name} is not imported: {done.stderr}"

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._programs / "usr/bin/ctr"), f"--address={self.socket}"]
        command += [f"--namespace={NAMESPACE}", *arguments]
        return subprocess.run(
            command, env=dict(self._variables), capture_output=True, text=True, check=False
        )

    def _network(self) -> dict[str, object]:
        """Pods on the bridge that the API server has its address on."""
        ranges = [[{"subnet": POD_RANGE, "gateway": API_SERVER}]]
        addresses = {
            "type": "host-local",
            "dataDir": str(self._state / "addresses"),
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True}
        return {"cniVersion": "0.4.0", "name": "e2e", "plugins": [{**bridge, "ipam": addresses}]}
