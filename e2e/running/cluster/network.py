"""Networks of a cluster on one machine, in a network namespace that is the test run's own.

Pods are network namespaces of their own on a bridge; Services have addresses on the loopback
device of the outer namespace, which is every pod's gateway. Nothing of it is on the machine itself,
and all of it is gone with the namespace's last process.
"""

import os
import subprocess
from pathlib import Path

BRIDGE = "cluster0"
API_SERVER = "10.244.0.1"
"""The bridge's address, which is also the API server's."""
POD_RANGE = "10.244.0.0/16"
NOTHING_RANGE = "10.245.0.0/16"
"""Addresses of pods that run nothing: all of them are this namespace's own, so that a connection is
refused at once, or answered by whoever listens on all addresses."""
SERVICE_RANGE = "10.96.0.0/16"
INSIDE = "ALISE_E2E_NAMESPACE"
"""Environment variable that ``tools/cluster_tests.py`` sets in the namespaces that it makes."""


def inside() -> bool:
    """Whether this process is in namespaces of its own."""
    return INSIDE in os.environ


def set_up(state: Path) -> None:
    """Make the bridge, and a ``/run`` of our own in which network namespaces are named.

    Args:
        state: Directory below ``/run`` for what must not outlive the run.
    """
    if not inside():
        raise AssertionError("networks are made in a namespace of their own only")
    for command in (
        "mount -t tmpfs -o mode=755 tmpfs /run",
        "ip link set lo up",
        f"ip link add {BRIDGE} type bridge",
        f"ip addr add {API_SERVER}/16 dev {BRIDGE}",
        f"ip link set {BRIDGE} up",
        f"ip route add local {NOTHING_RANGE} dev lo",
    ):
        subprocess.run(command.split(), check=True)
    state.mkdir(parents=True)
