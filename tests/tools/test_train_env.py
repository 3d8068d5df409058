"""The training environment: its place, what it leaves to others, what it says."""

import sys
from pathlib import Path

import pytest

import lock_train
import train_env
from cached_env import STAMP


def test_the_environment_moves_with_the_pins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built: list[Path] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(train_env, "ensure", built.append)
    monkeypatch.setattr(sys, "argv", ["train_env.py"])
    caller = tmp_path / "venv"
    caller.mkdir()
    monkeypatch.setattr(sys, "prefix", str(caller))
    pins = tmp_path / "train.txt"
    for version in ("1.0", "2.0"):
        pins.write_text(f"numpy=={version}\n")
        monkeypatch.setattr(train_env, "REQUIREMENTS", pins)
        assert train_env.main() == 0

    assert built[0].parent == tmp_path / "cache/alise"
    assert built[0] != built[1]
    assert str(built[0] / "venv/bin/python") in capsys.readouterr().out
    assert (caller / "train-python").read_text() == f"{built[1] / 'venv/bin/python'}\n"


def test_what_is_there_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(root: Path) -> None:
        raise AssertionError(root)

    monkeypatch.setattr(train_env, "_build", build)
    root = tmp_path / "train-1"
    root.mkdir()
    (root / STAMP).touch()

    train_env.ensure(root)


def test_half_an_environment_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "train-1"
    root.mkdir()
    (root / "rest").touch()
    monkeypatch.setattr(train_env, "_build", lambda path: path.mkdir())

    train_env.ensure(root)

    assert (root / STAMP).exists()
    assert not (root / "rest").exists()


def test_the_lock_leaves_torch_and_its_libraries_to_the_wheel_for_cpus() -> None:
    compiled = (
        "numpy==2.0 \\\n    --hash=sha256:aa\n"
        "nvidia-cublas==13.0 \\\n    --hash=sha256:bb\n"
        "torch==2.13.0 \\\n    --hash=sha256:cc \\\n    --hash=sha256:dd\n"
        "tokenizers==0.23 \\\n    --hash=sha256:ee\n"
    )

    assert lock_train.without_torch(compiled) == (
        "numpy==2.0 \\\n    --hash=sha256:aa\ntokenizers==0.23 \\\n    --hash=sha256:ee"
    )
    assert lock_train.OTHERWISE.match("triton==3.0")
    assert not lock_train.OTHERWISE.match("torchmetrics==1.0")
