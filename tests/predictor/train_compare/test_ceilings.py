"""What is reachable, computed from answers alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import zstandard

from alise_predictor.train.compare.ceilings import (
    Ceiling,
    corpus_ceilings,
    temperature_ceilings,
)
from fakes.length_corpus import make_corpus


def _of(found: list[Ceiling], kind: str) -> Ceiling:
    (one,) = [ceiling for ceiling in found if ceiling.kind == kind]
    return one


def test_two_answers_two_models_and_the_oracle_are_compared() -> None:
    corpus = make_corpus({"a": (True, True)}, prompts=300, models=6, samples=2)
    found = corpus_ceilings(corpus, seed=0)
    twice = _of(found, "two answers of one model")
    models = _of(found, "two models")
    oracle = _of(found, "oracle: mean of all other models")
    assert (twice.comparisons, models.comparisons, oracle.comparisons) == (6, 15, 6)
    # The noise of all answers is the same here, and an average of five has less of it.
    assert twice.tau == pytest.approx(models.tau, abs=0.05)
    assert oracle.tau > models.tau + 0.03
    assert oracle.low <= oracle.tau <= oracle.high


def test_single_answers_of_one_model_have_no_ceiling() -> None:
    corpus = make_corpus({"a": (True, True)}, models=1)
    assert corpus_ceilings(corpus, seed=0) == []


def test_too_few_prompts_have_none() -> None:
    corpus = make_corpus({"a": (True, True)}, prompts=30, models=3, samples=2)
    assert corpus_ceilings(corpus, seed=0) == []


def test_temperatures_are_read_from_the_length_files(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [{"id": str(n), "L_gt": 1, "L_t0.0": n, "L_t0.3": n, "L_t0.5": -n,
             "L_t0.7": int(random.integers(0, 1000))} for n in range(200)]  # fmt: skip
    folder = tmp_path / "alpaca_vicuna_lengths"
    folder.mkdir()
    raw = zstandard.ZstdCompressor().compress(json.dumps(rows).encode())
    (folder / "alpaca-val-10k-length.json.zst").write_bytes(raw)
    found = temperature_ceilings(tmp_path)
    assert len(found) == 6
    assert _of(found, "Vicuna-7B, temperature 0.0 and 0.3").tau == pytest.approx(1.0)
    assert _of(found, "Vicuna-7B, temperature 0.0 and 0.5").tau == pytest.approx(-1.0)
    assert abs(_of(found, "Vicuna-7B, temperature 0.0 and 0.7").tau) < 0.15


def test_without_the_files_there_are_no_temperatures(tmp_path: Path) -> None:
    assert temperature_ceilings(tmp_path) == []
