"""A real node: kubelet and kube-proxy on a container runtime, and a name server for its pods."""

import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from running.cluster.authority import Authority
from running.cluster.network import API_SERVER, POD_RANGE
from running.kubelet.containers import Containers
from running.node.directory import DOMAIN
from running.process import ServerProcess

NAME = "node-0"
SOURCES = Path(__file__).resolve().parents[2]


class Node:
    """Processes of one node, on the address of the pods' bridge.

    Args:
        binaries: Directory of kubelet and kube-proxy, made by ``tools/kubernetes_build.py``.
        variables: Environment in which the programs of ``tools/node_programs.py`` are found.
        authority: Signs who the node is.
        state: Directory in memory.
        control_group: Which the pods' control groups are made below, in every hierarchy.
    """

    def __init__(
        self,
        binaries: Path,
        variables: Mapping[str, str],
        authority: Authority,
        state: Path,
        control_group: str,
    ) -> None:
        self._binaries = binaries
        self._variables = variables
        self._pki = authority.directory
        self._state = state
        authority.issue("kubelet-server", NAME, hosts=[NAME, API_SERVER])
        self._kubelet = authority.issue_kubeconfig(
            "kubelet", f"system:node:{NAME}", ["system:nodes"]
        )
        self._proxy = authority.issue_kubeconfig("kube-proxy", "system:kube-proxy")
        self._settings = state / "kubelet.yaml"
        self._settings.write_text(yaml.safe_dump(self._configuration(control_group)), "utf-8")

    def start(self, containers: Containers, logs: Path, administrator: Path) -> list[ServerProcess]:
        """Start all parts; does not wait for the node to be ready."""
        names = [sys.executable, "-m", "running.kubelet.names"]
        names += ["--kubeconfig", str(administrator), "--address", API_SERVER]
        return [
            ServerProcess(
                "kubelet", self._kubelet_command(containers), logs / "kubelet.log", self._variables
            ),
            ServerProcess(
                "kube-proxy", self._proxy_command(), logs / "kube-proxy.log", self._variables
            ),
            ServerProcess("names", names, logs / "names.log", {"PYTHONPATH": str(SOURCES)}),
        ]

    def _kubelet_command(self, containers: Containers) -> list[str]:
        return [
            str(self._binaries / "kubelet"),
            f"--config={self._settings}",
            f"--kubeconfig={self._kubelet}",
            f"--hostname-override={NAME}",
            f"--node-ip={API_SERVER}",
            f"--root-dir={self._state / 'kubelet'}",
            f"--volume-plugin-dir={self._state / 'volume-plugins'}",
            "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{containers.socket}",
            f"--image-service-endpoint=unix://{containers.socket}",
            "--v=2",
        ]

    def _proxy_command(self) -> list[str]:
        return [
            str(self._binaries / "kube-proxy"),
            f"--kubeconfig={self._proxy}",
            f"--hostname-override={NAME}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={POD_RANGE}",
            f"--bind-address={API_SERVER}",
            "--healthz-bind-address=127.0.0.1:10256",
            "--metrics-bind-address=127.0.0.1:10249",
            # The limits of connection tracking are the machine's.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ]

    def _configuration(self, control_group: str) -> dict[str, object]:
        certificate = {"clientCAFile": str(self._pki / "ca.crt")}
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": API_SERVER,
            "authentication": {"anonymous": {"enabled": False}, "x509": certificate},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(self._pki / "kubelet-server.crt"),
            "tlsPrivateKeyFile": str(self._pki / "kubelet-server.key"),
            "readOnlyPort": 0,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": control_group,
            "enforceNodeAllocatable": [],
            "protectKernelDefaults": True,
            "failSwapOn": False,
            "clusterDNS": [API_SERVER],
            "clusterDomain": DOMAIN,
            "resolvConf": "",
            # Files in memory have no device whose room could be measured.
            "featureGates": {"LocalStorageCapacityIsolation": False},
            "evictionHard": {"memory.available": "100Mi"},
            "imageGCHighThresholdPercent": 100,
            # Statuses are told at once, as a kubelet of today does.
            "kubeAPIQPS": 50,
            "kubeAPIBurst": 100,
            "eventRecordQPS": 50,
            "eventBurst": 100,
        }
