"""Run the scenarios of ``e2e/cluster`` on a real Kubernetes API server: ``make e2e``.

Usage: ``python tools/cluster_tests.py [PYTEST ARGUMENTS]``. With ``KUBECONFIG`` in the environment
they run on that cluster (``e2e/running/cluster/given.py`` says what it needs). Without it: builds
the control plane, or finds it in the cache, and runs pytest in network, mount and process
namespaces of its own. Whatever the scenarios start ends with it, and this machine's networks and
files stay as they are. Needs root.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from cached_env import SetupError, say
from kubernetes_build import BUILD, ensure

SCENARIOS = "e2e/cluster"
PROGRAMS = {"unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux"}
PROGRAMS |= {"mount": "mount", "ip": "iproute2"}
"""Program -> the Debian package that has it."""
NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def main() -> NoReturn:
    """Become pytest, in namespaces of its own unless a cluster is given."""
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    pytest += sys.argv[1:] or [SCENARIOS]
    environment = dict(os.environ)
    # Helm would take it for its own.
    given = environment.pop("KUBECONFIG", None)
    if given is not None:
        environment["ALISE_E2E_KUBECONFIG"] = str(Path(given).absolute())
    os.chdir(Path(__file__).resolve().parent.parent)
    if given is not None:
        os.execvpe(pytest[0], pytest, environment)  # noqa: S606
    try:
        _check_machine()
        environment["ALISE_E2E_KUBERNETES"] = str(ensure(BUILD))
    except SetupError as error:
        say(f"cluster_tests: {error}")
        sys.exit(1)
    environment["ALISE_E2E_NAMESPACE"] = "1"
    enter = ["unshare", *NAMESPACES, "--propagation", "private"]
    os.execvpe(enter[0], [*enter, *pytest], environment)  # noqa: S606


def _check_machine() -> None:
    missing = sorted({PROGRAMS[name] for name in PROGRAMS if shutil.which(name) is None})
    if missing:
        raise SetupError(f"apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        raise SetupError("namespaces and overlay mounts need root: sudo make e2e")


if __name__ == "__main__":
    main()
