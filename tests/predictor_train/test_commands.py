"""``alise predictor train``: flags, what is printed, and what is said when something is wrong."""

import argparse
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from alise_cli import main
from alise_predictor.artifact import load_bundle
from alise_predictor.train import commands
from alise_predictor.train.commands import TOLERANCE, differences
from predictor_train.conftest import Training
from predictor_train.tiny_data import write_gsm8k
from predictor_train.tiny_training import ranks


def _train(data: Path, out: Path, *flags: str) -> int:
    return main(
        ["predictor", "train", "--data", str(data), "--out", str(out), "--ranks", str(ranks()),
         "--no-tier1", *flags]
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    write_gsm8k(data, 420)
    return data


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--epochs", "0"), "--epochs must be at least 1, not 0"),
        (("--seed", "-1"), "--seed must be at least 0, not -1"),
    ],
)
def test_wrong_numbers_are_named(
    tmp_path: Path, flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(tmp_path, tmp_path / "out", *flags) != 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_directory_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _train(tmp_path / "nowhere", tmp_path / "out") != 0
    assert "nowhere is no directory; docs/predictor.md says what it holds" in (
        capsys.readouterr().err
    )


def test_without_data_the_sample_of_a_checkout_is_meant_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["predictor", "train"]) == 2
    assert "--data: predictor/sample is no directory" in capsys.readouterr().err


@pytest.mark.slow
def test_json_has_the_bundle_and_its_figures_and_check_compares_them(
    tiny_training: Training, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(commands, "shipped_bundle", lambda: tiny_training.options.out / "bundle")

    assert _train(data, tmp_path, "--json", "--seed", "3", "--version", "7", "--check") == 1
    out, err = capsys.readouterr()
    shown = json.loads(out)
    manifest = load_bundle(Path(shown["bundle"])).manifest

    assert "tier1.in: not measured, shipped tau-b" in err
    assert list(shown) == ["bundle", "metrics"]
    assert shown["metrics"] == manifest.metrics
    assert {"tau_b", "mae", "pinball"} <= shown["metrics"]["tier0.in"].keys()
    assert manifest.version == "7"
    assert manifest.training.seed == 3
    # Nothing of this machine is in a bundle that may be published.
    assert manifest.training.command == "alise predictor train --data DIR --no-tier1"
    assert str(tmp_path) not in manifest.model_dump_json()


@pytest.mark.slow
def test_people_get_a_table_and_the_next_command(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(data, tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split()[0] == "tau_b"
    assert lines[1].startswith("tier0.in ")
    assert lines[2].startswith("tier0.in.gsm8k ")
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[-2:] == [
        f"bundle: {tmp_path / 'bundle'}",
        f"alise predictor inspect --bundle {tmp_path / 'bundle'}",
    ]
    # What it says can be typed.
    assert main(lines[-1].split()[1:]) == 0


def test_a_table_of_nothing_says_why() -> None:
    assert commands._summary({}) == ["no data set has enough test prompts to be measured on"]


def test_check_without_a_shipped_bundle_does_not_train(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "shipped_bundle", lambda: tmp_path / "none")

    assert _train(data, tmp_path / "out", "--check") != 0
    assert not (tmp_path / "out").exists()


def test_only_differences_beyond_the_tolerance_are_reported() -> None:
    shipped = {"tier0.in": {"tau_b": 0.5}, "tier1.out": {"tau_b": 0.4, "mae": 90.0}}

    def found(tier0: float, tier1: float) -> list[str]:
        metrics = {"tier0.in": {"tau_b": tier0}, "tier1.out": {"tau_b": tier1, "mae": 20.0}}
        return [line.partition(":")[0] for line in differences(metrics, shipped)]

    inside = {name: 0.9 * value for name, value in TOLERANCE.items()}
    assert found(0.5 + inside["tier0"], 0.4 - inside["tier1"]) == []
    assert found(0.5 + 1.2 * TOLERANCE["tier0"], 0.4) == ["tier0.in"]
    assert found(0.4, 0.5) == ["tier0.in", "tier1.out"]


def test_single_data_sets_may_differ_but_nothing_may_be_missing() -> None:
    shipped = {"tier0.in": {"tau_b": 0.5}, "tier0.in.gsm8k": {"tau_b": 0.5}}

    assert differences({"tier0.in": {"tau_b": 0.5}}, shipped) == []
    assert (
        differences({"tier0.in": {"tau_b": 0.5}, "tier0.in.gsm8k": {"tau_b": 0.1}}, shipped) == []
    )
    assert differences({}, shipped) == ["tier0.in: not measured, shipped tau-b 0.500"]
    assert differences({}, {}) == ["the shipped bundle has no figures to compare with"]


def test_a_command_names_flags_and_no_paths() -> None:
    parser = argparse.ArgumentParser()
    commands.add_train_arguments(parser)
    words = ["--data", "/secret", "--all-licences", "--epochs", "2", "--out", "/other"]

    command = commands._command("train", parser.parse_args(words))

    assert command == "alise predictor train --data DIR --all-licences --epochs 2"
