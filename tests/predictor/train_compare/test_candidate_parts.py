"""Parts of candidates that need no learning library."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.features import SCALARS
from alise_predictor.request import PredictionRequest
from alise_predictor.train.candidates.base import weighted_quantiles
from alise_predictor.train.candidates.hand_features import hand_features, names
from alise_predictor.train.candidates.vectors import VectorCache


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0.01, 10)), min_size=1, max_size=40))
def test_weighted_quantiles_are_ordered_and_inside_the_values(
    sample: list[tuple[float, float]],
) -> None:
    values, weights = (np.array(column) for column in zip(*sample, strict=True))
    found = weighted_quantiles(values, weights)
    assert np.all(np.diff(found) >= 0)
    assert values.min() <= found[0] <= found[-1] <= values.max()


def test_a_weight_counts_like_repetition() -> None:
    once = weighted_quantiles(np.array([1.0, 2.0, 9.0]), np.array([1.0, 1.0, 98.0]))
    assert once[3] == pytest.approx(9.0, abs=0.2)
    even = weighted_quantiles(np.arange(101.0), np.ones(101))
    assert even[3] == pytest.approx(50.0)


@given(st.binary(max_size=300))
def test_hand_features_are_finite_for_any_bytes(raw: bytes) -> None:
    found = hand_features(PredictionRequest(model="", prompt=raw))
    assert found.shape == (len(SCALARS) + len(names()),)
    assert np.isfinite(found).all()


def test_hand_features_see_words_places_and_numbers() -> None:
    columns = names()
    found = hand_features(PredictionRequest(model="", prompt=b"Write an essay of 500 words"))
    by_name = dict(zip(columns, found[len(SCALARS) :].tolist(), strict=True))
    assert by_name["word essay"] == by_name["word words"] == by_name["first word write"] == 1.0
    assert by_name["first word words"] == by_name["word poem"] == 0.0
    assert by_name["largest number"] == pytest.approx(np.log1p(500))


class _Encoder:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), text.count("a")] for text in texts], np.float32)


def test_a_text_is_encoded_once_and_remembered_between_runs(tmp_path: Path) -> None:
    encoder = _Encoder()
    cache = VectorCache(tmp_path / "new/v.npz", encoder, 2, lambda _: None)
    assert cache.rows(["aaa", "b", "aaa"]).tolist() == [[3, 3], [1, 0], [3, 3]]
    assert sorted(encoder.asked) == ["aaa", "b"]
    again = VectorCache(tmp_path / "new/v.npz", encoder, 2, lambda _: None)
    assert again.rows(["cc", "b"]).tolist() == [[2, 0], [1, 0]]
    assert sorted(encoder.asked) == ["aaa", "b", "cc"]


def test_nothing_asked_is_nothing_written(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / "v.npz", _Encoder(), 2, lambda _: None)
    assert cache.rows([]).shape == (0, 2)
    assert not (tmp_path / "v.npz").exists()
