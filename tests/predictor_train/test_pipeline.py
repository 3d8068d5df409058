"""The whole training, from a data directory to a bundle that serves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from alise_core.errors import ConfigError
from alise_core.prediction import LEVELS
from alise_predictor.artifact import load_bundle
from alise_predictor.request import from_prompt
from alise_predictor.serving import LengthPredictor
from alise_predictor.train.dataset.errors import DatasetError
from alise_predictor.train.pipeline import with_epochs
from predictor_train.conftest import Training
from predictor_train.tiny_data import write_alpaca, write_gsm8k, write_own, write_tulu
from predictor_train.tiny_training import tiny_options, train

pytestmark = pytest.mark.slow


def test_both_tiers_are_trained_measured_and_served(tiny_training: Training) -> None:
    trained, manifest = tiny_training.trained, tiny_training.trained.bundle.manifest
    predictor = LengthPredictor.open(tiny_training.options.out / "bundle", tier1=True)
    request = from_prompt("Problem 7: apples trains how many?", "gpt3")
    first = predictor.predict(request)
    second = predictor.refine(request, first)

    assert predictor.has_tier1
    assert second.embedding is not None
    assert second.embedding.shape == (384,)
    assert second.log_quantiles != first.log_quantiles
    assert {"tier0.in", "tier1.in", "tier0.in.gsm8k"} <= trained.metrics.keys()
    assert trained.metrics["tier0.in"]["tau_b"] > 0.3
    assert manifest.metrics == trained.metrics
    assert manifest.training.seed == 0
    assert manifest.base_model is not None
    assert manifest.base_model.licence == "Apache-2.0"
    assert manifest.licence == "Apache-2.0"
    assert manifest.levels == LEVELS
    low, high = manifest.log_range
    assert low <= manifest.prior.log_quantiles[0] <= manifest.prior.log_quantiles[-1] <= high


def test_the_manifest_says_what_was_learned_from(tiny_training: Training) -> None:
    (dataset,) = tiny_training.trained.bundle.manifest.training.datasets

    assert dataset.name.startswith("gsm8k (openai/grade-school-math@")
    assert (dataset.licence, dataset.permissive) == ("MIT", True)
    # 78 % of 420 prompts, with four answers each.
    assert dataset.prompts == pytest.approx(0.78 * 420, abs=30)
    assert dataset.answers == 4 * dataset.prompts


def test_progress_is_told(tiny_training: Training) -> None:
    text = "\n".join(tiny_training.said)

    assert "training prompts from gsm8k" in text
    assert "fine-tuning tier 1" in text
    assert "distilling tier 1 into tier 0" in text
    assert "tier1.in: tau-b" in text
    assert [one.step for one in tiny_training.steps] == list(range(1, len(tiny_training.steps) + 1))
    assert tiny_training.steps[-1].steps == len(tiny_training.steps) > 10


def test_a_second_run_does_not_fine_tune_again(tiny_training: Training) -> None:
    before = tiny_training.trained.bundle.manifest
    trained, said, steps = train(tiny_training.options)

    assert "tier 1 is trained already" in said
    assert steps == []
    assert trained.metrics == tiny_training.trained.metrics
    # The same bytes: nothing in a training is left to chance.
    assert trained.bundle.manifest.files == before.files


def test_tier_0_alone_is_bit_identical_and_names_permissive_data_only(tmp_path: Path) -> None:
    write_gsm8k(tmp_path / "data", 420)
    write_alpaca(tmp_path / "data", 420)
    bundles = []
    for out in ("one", "two"):
        trained, said, steps = train(tiny_options(tmp_path / "data", tmp_path / out, tier1=False))
        bundles.append(trained.bundle)
        assert steps == []
        assert not any("tier 1" in line for line in said)
    manifest = bundles[0].manifest

    assert manifest.files == bundles[1].manifest.files
    assert list(manifest.files) == ["tier0.onnx"]
    assert manifest.tier1 is None
    assert manifest.base_model is None
    assert [one.permissive for one in manifest.training.datasets] == [True]
    # What must not train tests: as data that the predictor has never seen.
    assert "tier0.out.alpaca_dv3" in manifest.metrics
    assert not LengthPredictor.open(bundles[0], tier1=True).has_tier1


def test_own_logs_train_for_internal_use(tmp_path: Path) -> None:
    write_own(tmp_path / "data", 420)
    write_alpaca(tmp_path / "data", 120)
    options = tiny_options(tmp_path / "data", tmp_path / "out", tier1=False, permissive_only=False)
    trained, _, _ = train(options)
    manifest = trained.bundle.manifest
    predictor = LengthPredictor.open(load_bundle(tmp_path / "out/bundle"), tier1=False)
    short, long = (
        predictor.predict(from_prompt(f"{word} apples trains stones 7", "")).log_quantiles[3]
        for word in ("Name", "Explain")
    )

    assert manifest.licence.startswith("for internal use")
    assert {one.name.partition(" ")[0] for one in manifest.training.datasets} == {
        "own",
        "alpaca_dv3",
    }
    assert not any(one.permissive for one in manifest.training.datasets)
    assert long > short + 1
    assert trained.metrics["tier0.in.own"]["tau_b"] > 0.5


def test_data_that_may_not_be_shipped_is_not_learned_from_unasked(tmp_path: Path) -> None:
    write_own(tmp_path / "data", 100)
    write_alpaca(tmp_path / "data", 100)

    with pytest.raises(ConfigError, match=r"licence lets the result be shipped.*--all-licences"):
        train(tiny_options(tmp_path / "data", tmp_path / "out", tier1=False))
    assert not (tmp_path / "out/bundle").exists()


def test_what_is_held_out_tests_and_does_not_train(tmp_path: Path) -> None:
    write_gsm8k(tmp_path / "data", 200)
    write_alpaca(tmp_path / "data", 200)
    options = tiny_options(tmp_path / "data", tmp_path / "out", tier1=False, permissive_only=False)
    trained, _, _ = train(replace(options, hold_out=("gsm8k",)))
    (dataset,) = trained.bundle.manifest.training.datasets

    assert dataset.name.startswith("alpaca_dv3 ")
    assert "tier0.out.gsm8k" in trained.metrics


def test_holding_out_does_not_let_other_licences_in(tmp_path: Path) -> None:
    # Permissive itself, but its prompts come from sets that are not.
    write_tulu(tmp_path / "data", 200)
    write_gsm8k(tmp_path / "data", 200)
    write_alpaca(tmp_path / "data", 100)
    options = tiny_options(tmp_path / "data", tmp_path / "out", tier1=False)
    with pytest.raises(ConfigError, match="holds no data set that can be learned from"):
        train(replace(options, hold_out=("gsm8k",)))
    with pytest.raises(ConfigError, match="--hold-out: no data set 'flask'; there are"):
        train(replace(options, hold_out=("flask",)))


@pytest.mark.parametrize(
    ("rows", "tokens", "said"),
    [
        (20, None, r"\d+ different prompts to learn from; at least 60"),
        (300, 128, "all answers have 128 tokens"),
    ],
)
def test_too_little_to_learn_from_is_said(
    tmp_path: Path, rows: int, tokens: int | None, said: str
) -> None:
    write_own(tmp_path / "data", rows, tokens)
    options = tiny_options(tmp_path / "data", tmp_path / "out", tier1=False, permissive_only=False)

    with pytest.raises(ConfigError, match=said):
        train(options)


def test_an_empty_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    with pytest.raises(DatasetError, match="no answers in the data directory"):
        train(tiny_options(tmp_path / "data", tmp_path / "out", tier1=False))


def test_epochs_are_part_of_what_decides_tier_1(tiny_training: Training) -> None:
    options = with_epochs(tiny_training.options, 4)

    assert options.encoder.fit.epochs == 4
    assert options.encoder.fit.plan == tiny_training.options.encoder.fit.plan
    assert replace(options, encoder=tiny_training.options.encoder) == tiny_training.options


def test_few_prompts_are_learned_from_but_not_measured_on(tmp_path: Path) -> None:
    write_gsm8k(tmp_path / "data", 120)
    trained, _, _ = train(tiny_options(tmp_path / "data", tmp_path / "out", tier1=False))

    # Figures need 40 prompts that were held out.
    assert trained.metrics == {}
    assert np.all(np.isfinite(trained.bundle.manifest.prior.log_quantiles))
