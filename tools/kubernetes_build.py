"""Make a real Kubernetes control plane for tests, from Debian's source package.

Usage: ``python tools/kubernetes_build.py`` prints one line of JSON, ``{"bin": ..., "version":
...}``, the directory of kube-apiserver, kube-controller-manager, kube-scheduler, etcd and kubectl;
progress goes to stderr. ``--node`` adds ``"node_bin"``, the directory of kubelet and kube-proxy.
Everything lives outside the checkout, in ``${XDG_CACHE_HOME:-~/.cache}/alise``, where directories
carry a hash of the code that builds them: other code builds anew. Nothing is installed and the apt
of the machine stays as it is: packages are listed, downloaded and unpacked in a directory of their
own. Needs apt, dpkg, a Debian mirror and Debian's archive key, and a C compiler for ``--node``.
Takes about six minutes of CPU time for the control plane; 2 GB of disk while it builds, 320 MB
after.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import debian_packages
import kubernetes_source
from cached_env import STAMP, SetupError, cached_directory, code_of, lock, say
from kubernetes_source import CONTROL_PLANE, NODE, VERSION, Build

INSTEAD = (
    "; to run the scenarios on a cluster of yours instead: KUBECONFIG=FILE make e2e "
    "(docs/design/0013-cluster-tests.md says what it needs)"
)
HERE = Path(__file__).resolve().parent
BUILDERS = (HERE / "kubernetes_source.py", HERE / "debian_packages.py")
"""Files whose code decides what is built."""


def main() -> int:
    """Build what is missing and print where it is; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--where", action="store_true", help="print the directory and stop")
    parser.add_argument("--node", action="store_true", help="kubelet and kube-proxy as well")
    arguments = parser.parse_args()
    if arguments.where:
        print(directory(CONTROL_PLANE))
        return 0
    try:
        found = {"bin": str(ensure(CONTROL_PLANE)), "version": VERSION}
        if arguments.node:
            found["node_bin"] = str(ensure(NODE))
    except SetupError as error:
        say(f"kubernetes_build: {error}")
        return 1
    print(json.dumps(found))
    return 0


def directory(build: Build) -> Path:
    """Where a build lives, whether it exists or not."""
    return cached_directory(f"{build.name}-{VERSION}", code_of(*BUILDERS))


def ensure(build: Build) -> Path:
    """Return the directory of a build's binaries, building what is not there.

    Raises:
        SetupError: Something the build needs is not to be had.
    """
    root = directory(build)
    if (root / STAMP).exists():
        return root / "bin"
    debian_packages.check_machine(["gcc"] if build.cgo else [], INSTEAD)
    root.parent.mkdir(parents=True, exist_ok=True)
    with lock(root.with_name(root.name + ".lock")):
        if not (root / STAMP).exists():
            shutil.rmtree(root, ignore_errors=True)
            say(
                f"building {build.name} {VERSION} in {root}: some 150 MB to download, "
                "minutes of CPU, once"
            )
            root.mkdir()
            kubernetes_source.compile_into(build, root)
            (root / STAMP).touch()
    return root / "bin"


if __name__ == "__main__":
    sys.exit(main())
