"""What setting up says when a machine lacks something."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import bootstrap


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_machine_without_venv_learns_which_package_to_install(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == module else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)

    message = bootstrap._missing()

    assert message
    assert f"apt-get install python3.{sys.version_info[1]}-venv" in message


def test_machine_with_everything_misses_nothing() -> None:
    assert bootstrap._missing() is None


def test_old_python_without_a_newer_one_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    monkeypatch.setenv("PATH", str(tmp_path))

    assert bootstrap.main() == 1

    shown = capsys.readouterr().err
    assert "Python 3.11 or newer is needed" in shown
    assert "3.9.18" in shown


def test_old_python_hands_over_to_the_newest_that_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, script in {
        "python3.13": "exit 127",
        "python3.12": '[ "$1" = -c ] || exit 42',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    monkeypatch.setattr(sys, "argv", ["tools/bootstrap.py"])
    monkeypatch.setenv("PATH", str(tmp_path))

    assert bootstrap.main() == 42


@pytest.mark.parametrize("state", ["absent", "broken"])
def test_environment_that_does_not_run_is_not_kept(
    state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "VENV", tmp_path)
    if state == "broken":
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/python").symlink_to(tmp_path / "gone")

    assert not bootstrap._venv_is_ours()
