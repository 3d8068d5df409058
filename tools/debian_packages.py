"""Debian packages in a directory of one's own: downloaded and unpacked, never installed.

The apt of the machine stays as it is: packages are listed and downloaded with lists, sources and a
cache that belong to one build. They come from one release whatever the machine runs, so that a
build is the same everywhere.
"""

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from cached_env import SetupError, step

SUITE = "bookworm"
"""The last Debian release whose Kubernetes source package is whole."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
PROGRAMS = ("apt-get", "dpkg", "tar")


def check_machine(programs: Iterable[str], advice: str) -> None:
    """Look for what a build from Debian's packages needs.

    Args:
        programs: Needed beside apt, dpkg and tar.
        advice: What else somebody may do, as the end of the message.

    Raises:
        SetupError: Something is missing; the message says what.
    """
    missing = [name for name in (*PROGRAMS, *programs) if shutil.which(name) is None]
    if sys.platform != "linux" or missing:
        lacks = ", ".join(missing) or "Linux"
        raise SetupError(f"this is built on Debian only; no {lacks}{advice}")
    if not KEYRING.exists():
        raise SetupError(f"{KEYRING} is missing: apt-get install debian-archive-keyring{advice}")


def fetch(root: Path, work: Path, packages: Iterable[str], source: str | None = None) -> Path:
    """Download packages, and the source of one.

    Args:
        root: Where logs are written.
        work: Directory of the build's own; apt's files go below it.
        packages: Names of binary packages.
        source: Name of a source package.

    Returns:
        The directory that has the files.

    Raises:
        SetupError: A package is not to be had.
    """
    for name in ("apt/lists/partial", "apt/cache/archives/partial", "packages"):
        (work / name).mkdir(parents=True)
    apt = _apt(work)
    step("package lists", [*apt, "update"], root)
    found = work / "packages"
    download = [*apt, "download", *(f"{name}/{SUITE}" for name in packages)]
    step("download packages", within(found, download), root)
    if source is not None:
        step("download source", within(found, [*_source(apt), f"{source}/{SUITE}"]), root)
    return found


def unpack(root: Path, packages: Path, into: Path) -> None:
    """Unpack every package of a directory over one tree of files."""
    into.mkdir()
    for package in sorted(packages.glob("*.deb")):
        step(f"unpack {package.name}", ["dpkg", "-x", str(package), str(into)], root)


def mirror() -> str:
    """The Debian mirror that this machine uses.

    Raises:
        SetupError: It uses none.
    """
    if APT_SOURCES.exists():
        for line in APT_SOURCES.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key == "URIs" and value.strip().rstrip("/").endswith("/debian"):
                return value.split()[0]
    raise SetupError(
        f"{APT_SOURCES} names no mirror of Debian, from whose packages this is built; "
        "add it there as a URI that ends with /debian, or give a cluster: KUBECONFIG=file make e2e"
    )


def within(directory: Path, command: list[str]) -> list[str]:
    """The command, run in a directory."""
    return ["env", "-C", str(directory), *command]


def _source(apt: list[str]) -> list[str]:
    return [*apt, "source", "--download-only"]


def _apt(work: Path) -> list[str]:
    """An apt-get with lists, sources and cache of its own."""
    sources = work / "apt/debian.sources"
    sources.write_text(
        f"Types: deb deb-src\nURIs: {mirror()}\nSuites: {SUITE}\nComponents: main\n"
        f"Signed-By: {KEYRING}\n",
        encoding="utf-8",
    )
    options = {
        "Dir::Etc::sourcelist": str(sources),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State::lists": str(work / "apt/lists"),
        "Dir::Cache": f"{work / 'apt/cache'}{os.sep}",
        "APT::Sandbox::User": "root",
    }
    return ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]
