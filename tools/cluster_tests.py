"""Run the scenarios of ``e2e/cluster`` on a real Kubernetes API server: ``make e2e``.

Usage: ``python tools/cluster_tests.py [--node] [PYTEST ARGUMENTS]``. With ``KUBECONFIG`` in the
environment they run on that cluster (``e2e/running/cluster/given.py`` says what it needs). Without
it: builds the control plane, or finds it in the cache, and runs pytest in network, mount and
process namespaces of its own. Whatever the scenarios start ends with it, and this machine's
networks and files stay as they are. ``--node``: builds a kubelet and the images of the working
tree as well, and pods are containers, not processes. Needs root.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import control_groups
import images
import kubernetes_build
import kubernetes_source
import node_programs
from cached_env import SetupError, say

SCENARIOS = "e2e/cluster"
PROGRAMS = {"unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux"}
PROGRAMS |= {"mount": "mount", "ip": "iproute2"}
"""Program -> the Debian package that has it."""
NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
DISK = Path("build/e2e-node")
"""Images and layers of the run's container runtime."""


def main() -> int:
    """Run pytest, in namespaces of its own unless a cluster is given; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--node", action="store_true", help="a kubelet with containers")
    options, arguments = parser.parse_known_args()
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    pytest += arguments or [SCENARIOS]
    os.chdir(Path(__file__).resolve().parent.parent)
    try:
        return _run(pytest, node=options.node)
    except SetupError as error:
        say(f"cluster_tests: {error}")
        return 1


def _run(pytest: list[str], *, node: bool) -> int:
    environment = dict(os.environ)
    # Helm would take it for its own.
    given = environment.pop("KUBECONFIG", None)
    if given is not None:
        if node:
            raise SetupError("the cluster of KUBECONFIG has nodes of its own: leave NODE=1 out")
        environment["ALISE_E2E_KUBECONFIG"] = str(Path(given).absolute())
        _become(pytest, environment)
    _check_machine()
    if node:
        control_groups.check_machine()
    environment["ALISE_E2E_KUBERNETES"] = str(
        kubernetes_build.ensure(kubernetes_source.CONTROL_PLANE)
    )
    environment["ALISE_E2E_NAMESPACE"] = "1"
    enter = ["unshare", *NAMESPACES, "--propagation", "private"]
    if not node:
        _become([*enter, *pytest], environment)
    return _with_node([*enter, *pytest], environment)


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    os.execvpe(command[0], command, environment)  # noqa: S606


def _with_node(command: list[str], environment: dict[str, str]) -> int:
    """Run with what a node is made of, and clean up what namespaces do not."""
    programs = node_programs.ensure()
    binaries = kubernetes_build.ensure(kubernetes_source.NODE)
    archives = {name: str(path) for name, path in images.ensure(images.OUT).items()}
    shutil.rmtree(DISK, ignore_errors=True)
    with control_groups.made() as group:
        parts = {
            "binaries": str(binaries),
            "programs": str(programs),
            "variables": node_programs.variables(programs),
            "registry": images.REGISTRY,
            "archives": archives,
            "disk": str(DISK.absolute()),
            "control_group": group,
        }
        environment["ALISE_E2E_NODE"] = json.dumps(parts)
        try:
            return _call(command, environment)
        finally:
            shutil.rmtree(DISK, ignore_errors=True)


def _call(command: list[str], environment: dict[str, str]) -> int:
    """Run to the end, whoever is told to stop; pytest hears of an interrupt by itself."""
    process = subprocess.Popen(command, env=environment)
    signal.signal(signal.SIGINT, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Its child is killed with it, and with that all that runs in the namespaces.
        signal.signal(number, lambda *_: process.kill())
    return process.wait()


def _check_machine() -> None:
    missing = sorted({PROGRAMS[name] for name in PROGRAMS if shutil.which(name) is None})
    if missing:
        raise SetupError(f"apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        raise SetupError("namespaces and overlay mounts need root: sudo make e2e")


if __name__ == "__main__":
    sys.exit(main())
