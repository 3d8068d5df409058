"""From a run's files to a bundle, and the command that does it."""

import json
from datetime import date
from pathlib import Path

import pytest

pytest.importorskip("torch")

from alise_cli import main
from alise_predictor.artifact import ArtifactError, load_bundle
from alise_predictor.request import from_prompt
from alise_predictor.serving import LengthPredictor
from alise_predictor.train.export import export_bundle
from alise_predictor.train.run_state import RunDirectory
from predictor_train.conftest import Training

pytestmark = pytest.mark.slow


def _export(run: Path, out: Path, *flags: str) -> int:
    return main(["predictor", "export", "--run", str(run), "--out", str(out), *flags])


def test_an_exported_bundle_is_the_trained_one(tiny_training: Training, tmp_path: Path) -> None:
    out = tiny_training.options.out

    assert _export(out / "run", tmp_path / "bundle") == 0
    exported, trained = load_bundle(tmp_path / "bundle"), load_bundle(out / "bundle")
    assert exported.manifest.files == trained.manifest.files
    assert exported.manifest.metrics == trained.manifest.metrics
    predictor = LengthPredictor.open(exported, tier1=True)
    request = from_prompt("How long?", "")
    assert predictor.refine(request, predictor.predict(request)).embedding is not None


def test_without_tier_1_nothing_of_it_is_left(
    tiny_training: Training, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tiny_training.options.out / "run"

    assert _export(run, tmp_path / "bundle", "--no-tier1", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    bundle = load_bundle(tmp_path / "bundle")
    assert shown == bundle.manifest.model_dump(mode="json")
    assert sorted(path.name for path in bundle.directory.iterdir()) == [
        "manifest.json",
        "tier0.onnx",
    ]
    assert shown["tier1"] is None
    assert shown["base_model"] is None
    assert "tier0.in" in shown["metrics"]
    assert not any(name.startswith("tier1") for name in shown["metrics"])
    assert not LengthPredictor.open(bundle, tier1=True).has_tier1


def test_the_date_is_the_callers(tiny_training: Training, tmp_path: Path) -> None:
    run = RunDirectory(tiny_training.options.out / "run")
    about = run.load_description().model_copy(update={"tier1": None, "base_model": None})
    bundle = export_bundle(run, about, tmp_path / "bundle", created=date(2001, 2, 3))

    assert bundle.manifest.created == date(2001, 2, 3)


def test_no_training_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _export(tmp_path / "run", tmp_path / "bundle") != 0
    assert "holds no finished training: run 'alise predictor train' first" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "bundle").exists()


def test_other_peoples_files_are_not_written_over(tiny_training: Training, tmp_path: Path) -> None:
    run = RunDirectory(tiny_training.options.out / "run")
    (tmp_path / "mine.txt").write_text("mine")
    about = run.load_description().model_copy(update={"tier1": None})

    with pytest.raises(ArtifactError, match="choose another destination"):
        export_bundle(run, about, tmp_path, created=date(2001, 2, 3))
    assert (tmp_path / "mine.txt").read_text() == "mine"
