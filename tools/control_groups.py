"""Control groups that one run's pods are in, in every hierarchy, and nobody else.

A kubelet of Kubernetes 1.20 with runc wants the hierarchies of version 1. They are made below one
name and removed with all that was made below them, when every process in them has ended.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from cached_env import SetupError

WANTED = ("cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")
PREFIX = "alise-e2e-"
INHERITED = ("cpuset.cpus", "cpuset.mems")
"""Empty in a new group, which can hold no process until they are written."""
WEIGHT = ("cpu.shares", "16384")
"""A group counts as one process, 1024, beside those that are in none: pods would starve."""
GONE_SECONDS = 20.0
MOUNTS = Path("/proc/self/mountinfo")


def check_machine(mounts: Path = MOUNTS) -> None:
    """Look for the hierarchies.

    Args:
        mounts: Table as of ``/proc/self/mountinfo``.

    Raises:
        SetupError: Some are not mounted.
    """
    missing = sorted(set(WANTED) - {name for _, names in _hierarchies(mounts) for name in names})
    if missing:
        raise SetupError(
            f"a kubelet of Kubernetes 1.20 needs control groups of version 1; not mounted are: "
            f"{', '.join(missing)}. Without NODE=1 the scenarios run without a kubelet"
        )


@contextlib.contextmanager
def made(mounts: Path = MOUNTS) -> Iterator[str]:
    """Make a group in every hierarchy; yields its name, as seen from each hierarchy's root.

    Args:
        mounts: Table as of ``/proc/self/mountinfo``.

    Raises:
        SetupError: They cannot be made.
    """
    hierarchies = [path for path, _ in _hierarchies(mounts)]
    for path in hierarchies:
        _remove_leftovers(path)
    name = f"{PREFIX}{os.getpid()}"
    try:
        _make([path / name for path in hierarchies])
        yield f"/{name}"
    finally:
        for path in hierarchies:
            _remove(path / name)


def _hierarchies(mounts: Path) -> list[tuple[Path, list[str]]]:
    """Where each is mounted whole, and its controllers or name."""
    found: dict[Path, list[str]] = {}
    for line in mounts.read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        root, place = before.split()[3:5]
        kind, _, options = after.split(maxsplit=2)
        if kind in {"cgroup", "cgroup2"} and root == "/":
            found[Path(place)] = options.split(",") if kind == "cgroup" else []
    return list(found.items())


def _make(groups: Iterable[Path]) -> None:
    try:
        for group in groups:
            group.mkdir()
            for name in INHERITED:
                if (group / name).exists():
                    (group / name).write_text((group.parent / name).read_text("ascii"), "ascii")
            if (group / WEIGHT[0]).exists():
                (group / WEIGHT[0]).write_text(WEIGHT[1], "ascii")
    except OSError as error:
        raise SetupError(f"control groups cannot be made: {error}") from error


def _remove_leftovers(hierarchy: Path) -> None:
    """Of runs that were killed before they could."""
    for group in hierarchy.glob(f"{PREFIX}*"):
        if not Path("/proc", group.name.removeprefix(PREFIX)).exists():
            _remove(group)


def _remove(group: Path) -> None:
    """Remove a group and all below it, deepest first; waits for processes that are ending."""
    deadline = time.monotonic() + GONE_SECONDS
    for directory, _, _ in os.walk(group, topdown=False):
        while True:
            try:
                Path(directory).rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                break
