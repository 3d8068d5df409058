"""The machine as a node may see and change it, in a mount namespace that is the test run's own.

A kubelet writes to fixed places and sets kernel parameters of the whole machine. Here it finds its
places on file systems that end with the run, and the parameters as it wants them, so that it leaves
those of the machine alone.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from running.cluster import network

KERNEL_PARAMETERS: Mapping[str, str] = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""Below ``/proc/sys``, and what a kubelet wants there."""
NETWORK_PARAMETERS: Mapping[str, str] = {
    "net/ipv4/ip_forward": "1",
    # Both pods of a connection through a Service may be on the one bridge: its answers pass
    # through the translation of addresses all the same.
    "net/bridge/bridge-nf-call-iptables": "1",
}
"""Of our network namespace only."""


def prepare(state: Path, logs: Path) -> None:
    """Make what a kubelet and a container runtime rely on.

    Args:
        state: Directory in memory for what ends with the run.
        logs: What containers say is written below it.
    """
    if not network.inside():
        raise AssertionError("a machine is prepared in a namespace of its own only")
    # Mounts of pods must be seen by the container runtime; nobody outside sees either.
    _run("mount", "--make-rshared", "/")
    written, work = state / "written", state / "work"
    for directory in (written, work, logs):
        directory.mkdir(parents=True)
    options = f"lowerdir=/var/lib,upperdir={written},workdir={work}"
    _run("mount", "-t", "overlay", "-o", options, "overlay", "/var/lib")
    _run("mount", "--bind", str(logs), "/var/log")
    for name, value in KERNEL_PARAMETERS.items():
        shown = state / name.replace("/", ".")
        shown.write_text(f"{value}\n", encoding="utf-8")
        _run("mount", "--bind", str(shown), f"/proc/sys/{name}")
    # Nobody has a Service's address; what is sent there has another destination on its way out.
    _run("ip", "route", "add", network.SERVICE_RANGE, "dev", network.BRIDGE)
    for name, value in NETWORK_PARAMETERS.items():
        Path("/proc/sys", name).write_text(value, encoding="utf-8")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
