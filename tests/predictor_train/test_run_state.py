"""What a training keeps on disk."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from alise_core.errors import ConfigError
from alise_predictor.features import BUCKETS, SCALARS
from alise_predictor.train.encoder import load_encoder, packaged_weights
from alise_predictor.train.linear import LinearModel
from alise_predictor.train.network import LengthNetwork, LengthRange
from alise_predictor.train.run_state import RunDirectory
from alise_predictor.train.tier0 import QuantileHead, Tier0Model
from fakes.predictor_bundle import description
from predictor_train.builders import SPAN

FILES = ["description.json", "fingerprint", "tier0.pt", "tier1.checkpoint", "tier1.pt"]


def _tier0(seed: int = 0, buckets: int = BUCKETS) -> Tier0Model:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    return Tier0Model(
        LinearModel(
            random.normal(size=buckets).astype(np.float32),
            random.normal(size=len(SCALARS)).astype(np.float32),
            float(random.normal()),
        ),
        QuantileHead(SPAN).eval(),
    )


def _filled(path: Path) -> RunDirectory:
    run = RunDirectory(path)
    run.claim("one")
    for name in FILES:
        if name != "fingerprint":
            (path / name).write_bytes(b"something")
    return run


def test_tier0_comes_back_bit_by_bit(tmp_path: Path) -> None:
    run, model = RunDirectory(tmp_path), _tier0()
    run.save_tier0(model)
    found = run.load_tier0(SPAN)

    assert np.array_equal(found.linear.table, model.linear.table)
    assert np.array_equal(found.linear.weights, model.linear.weights)
    assert found.linear.bias == model.linear.bias
    state, expected = found.head.state_dict(), model.head.state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.slow
def test_tier1_comes_back_bit_by_bit_and_ends_the_checkpoint(tmp_path: Path) -> None:
    run, weights = RunDirectory(tmp_path), packaged_weights()
    network = LengthNetwork(load_encoder(weights), len(SCALARS), 7, SPAN, 4.0)
    run.checkpoint.write_bytes(b"half way")
    run.save_tier1(network)
    found = run.load_tier1(weights, LengthRange(0.0, 3.0))
    state, expected = found.state_dict(), network.state_dict()

    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert state.keys() == expected.keys()
    assert found.span == LengthRange(0.0, 3.0)
    assert not found.training
    assert [path.name for path in tmp_path.iterdir()] == ["tier1.pt"]


def test_a_description_comes_back(tmp_path: Path) -> None:
    run, about = RunDirectory(tmp_path), description(tier1=True)
    run.save_description(about)

    assert run.load_description() == about
    assert run.load_description().created == date(2026, 1, 2)


def test_the_same_training_is_gone_on_with(tmp_path: Path) -> None:
    run = _filled(tmp_path)

    assert run.claim("one")
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_another_training_forgets_everything(tmp_path: Path) -> None:
    run = _filled(tmp_path)

    assert not run.claim("two")
    assert [path.name for path in tmp_path.iterdir()] == ["fingerprint"]
    assert not run.claim("two")


def test_a_first_claim_makes_the_directory(tmp_path: Path) -> None:
    assert not RunDirectory(tmp_path / "a/b").claim("one")
    assert (tmp_path / "a/b").is_dir()


def test_what_is_missing_comes_with_a_remedy(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for load in (lambda: run.load_tier0(SPAN), run.load_description):
        with pytest.raises(ConfigError, match="run 'alise predictor train' first"):
            load()
    with pytest.raises(ConfigError, match=r"tier1\.pt is missing"):
        run.load_tier1(packaged_weights(), SPAN)


def test_half_a_file_is_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.save_tier0(_tier0())
    file = tmp_path / "tier0.pt"
    for content in (file.read_bytes()[:5_000], b"", b"no archive"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"tier0\.pt cannot be read"):
            run.load_tier0(SPAN)


def test_an_interrupted_write_leaves_nothing_that_looks_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        RunDirectory(tmp_path).save_tier0(_tier0())
    assert not (tmp_path / "tier0.pt").exists()


def test_a_tier0_of_other_features_is_refused(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.save_tier0(_tier0(buckets=8))

    with pytest.raises(ConfigError, match="other features: train again"):
        run.load_tier0(SPAN)
