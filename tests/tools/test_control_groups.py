"""Control groups of a run are made in every hierarchy and leave nothing; others are left alone."""

import os
from pathlib import Path

import pytest

import control_groups
from cached_env import SetupError

NOBODY = 2**22 + 1
"""More than any process id."""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    """A table of two hierarchies of version 1 and one of version 2, which are plain directories."""
    lines = [
        f"30 25 0:26 / {tmp_path}/cpu rw - cgroup cgroup rw,{','.join(control_groups.WANTED[:3])}",
        f"31 25 0:27 / {tmp_path}/rest rw - cgroup cgroup rw,{','.join(control_groups.WANTED[3:])}",
        f"32 25 0:28 / {tmp_path}/unified rw - cgroup2 cgroup2 rw",
        f"33 25 0:29 /below {tmp_path}/part rw - cgroup cgroup rw,memory",
        f"34 25 8:1 / {tmp_path}/data rw - ext4 /dev/vda rw",
    ]
    for name in ("cpu", "rest", "unified", "part", "data"):
        (tmp_path / name).mkdir()
    table = tmp_path / "mountinfo"
    table.write_text("\n".join(lines), encoding="utf-8")
    return table


def groups(mounts: Path) -> set[str]:
    root = mounts.parent
    return {str(path.relative_to(root)) for path in root.glob("*/**/*")}


def test_a_group_is_made_everywhere_and_goes_with_what_was_made_below(mounts: Path) -> None:
    with control_groups.made(mounts) as name:
        assert groups(mounts) == {f"{place}{name}" for place in ("cpu", "rest", "unified")}
        (mounts.parent / f"cpu{name}/kubepods/pod").mkdir(parents=True)

    assert groups(mounts) == set()


def test_groups_go_when_the_run_fails(mounts: Path) -> None:
    with pytest.raises(OSError, match="of the run"), control_groups.made(mounts):
        raise OSError("of the run")
    assert groups(mounts) == set()


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(mounts: Path) -> None:
    dead = mounts.parent / f"cpu/{control_groups.PREFIX}{NOBODY}"
    living = mounts.parent / f"rest/{control_groups.PREFIX}{os.getppid()}"
    for group in (dead, living):
        (group / "kubepods").mkdir(parents=True)

    with control_groups.made(mounts):
        assert not dead.exists()

    assert living.exists()


def test_hierarchies_that_are_missing_are_named(mounts: Path) -> None:
    control_groups.check_machine(mounts)
    lines = mounts.read_text(encoding="utf-8").splitlines()
    mounts.write_text("\n".join(lines[1:]), encoding="utf-8")

    with pytest.raises(SetupError, match="not mounted are: cpu, cpuacct, cpuset"):
        control_groups.check_machine(mounts)


def test_where_groups_cannot_be_made_it_says_so(mounts: Path) -> None:
    (mounts.parent / "unified").rmdir()
    with pytest.raises(SetupError, match="cannot be made"), control_groups.made(mounts):
        pass
    assert groups(mounts) == set()
