"""What a node and its images are made with: containerd, runc, CNI plugins, iptables, buildah.

Usage: ``python tools/node_programs.py`` prints the directory; progress goes to stderr. Programs
are Debian's, unpacked in the cache beside the control plane (``tools/kubernetes_build.py``) and not
installed: what runs them needs ``variables``. About 60 MB to download, 260 MB after.
"""

import os
import shutil
import sys
from pathlib import Path

import debian_packages
from cached_env import STAMP, SetupError, cached_directory, lock, say

PROGRAMS = ("containerd", "runc", "containernetworking-plugins", "iptables", "conntrack", "buildah")
HELPERS = ("debootstrap", "golang-github-containers-common", "catatonit")
LIBRARIES = (
    *("libseccomp2", "libip4tc2", "libip6tc2", "libmnl0", "libnetfilter-conntrack3"),
    *("libnfnetlink0", "libnftnl11", "libxtables12", "libgpgme11", "libassuan0", "libgpg-error0"),
    "libdevmapper1.02.1",
)
"""What the programs link to and a small machine may lack."""
PACKAGES = (*PROGRAMS, *HELPERS, *LIBRARIES)
IPTABLES = ("iptables", "iptables-save", "iptables-restore")
"""Names that Debian's alternatives would give to the program of several names."""
RECIPE = 2


def main() -> int:
    """Fetch what is missing and print where it is; returns the exit code."""
    try:
        print(ensure())
    except SetupError as error:
        say(f"node_programs: {error}")
        return 1
    return 0


def ensure() -> Path:
    """The root of the unpacked programs, downloaded when they are not there.

    Raises:
        SetupError: A package is not to be had.
    """
    root = cached_directory("node-programs", (RECIPE, debian_packages.SUITE, PACKAGES))
    if not (root / STAMP).exists():
        debian_packages.check_machine([], "")
        root.parent.mkdir(parents=True, exist_ok=True)
        with lock(root.with_name(root.name + ".lock")):
            if not (root / STAMP).exists():
                shutil.rmtree(root, ignore_errors=True)
                work = root / "work"
                found = debian_packages.fetch(root, work, PACKAGES)
                debian_packages.unpack(root, found, root / "system")
                _name_iptables(root / "system/usr/sbin")
                shutil.rmtree(work)
                (root / STAMP).touch()
    return root / "system"


def _name_iptables(directory: Path) -> None:
    for name in (*IPTABLES, *(item.replace("ip", "ip6", 1) for item in IPTABLES)):
        (directory / name).symlink_to("xtables-nft-multi")


def variables(system: Path) -> dict[str, str]:
    """Environment in which the unpacked programs find each other, and their libraries."""
    directories = ("usr/sbin", "usr/bin", "sbin", "bin")
    libraries = [*system.glob("usr/lib/*-linux-gnu"), *system.glob("lib/*-linux-gnu")]
    extensions = next(system.glob("usr/lib/*-linux-gnu/xtables"))
    paths = [*(str(system / name) for name in directories), os.environ["PATH"], "/usr/sbin:/sbin"]
    return {
        "PATH": ":".join(paths),
        "LD_LIBRARY_PATH": ":".join(str(path) for path in libraries),
        "XTABLES_LIBDIR": str(extensions),
        "DEBOOTSTRAP_DIR": str(system / "usr/share/debootstrap"),
    }


if __name__ == "__main__":
    sys.exit(main())
