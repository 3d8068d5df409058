"""Where the scenarios cannot run it is said at once, before anything is built."""

import os
from pathlib import Path

import pytest

import cluster_tests
import control_groups
from cached_env import SetupError


def test_a_node_is_not_added_to_somebodys_cluster(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", "some.kubeconfig")
    monkeypatch.setattr("sys.argv", ["cluster_tests.py", "--node"])

    assert cluster_tests.main() == 1

    assert "leave NODE=1 out" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--node"]])
def test_without_root_nothing_is_built(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr("sys.argv", ["cluster_tests.py", *arguments])
    monkeypatch.setattr(cluster_tests, "PROGRAMS", {})
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)

    assert cluster_tests.main() == 1

    assert "sudo make e2e" in capfd.readouterr().err


def test_without_control_groups_nothing_is_built(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(mounts: Path = control_groups.MOUNTS) -> None:
        raise SetupError("not mounted are: memory")

    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr("sys.argv", ["cluster_tests.py", "--node"])
    monkeypatch.setattr(cluster_tests, "PROGRAMS", {})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(control_groups, "check_machine", refuse)

    assert cluster_tests.main() == 1

    assert "not mounted are: memory" in capfd.readouterr().err
