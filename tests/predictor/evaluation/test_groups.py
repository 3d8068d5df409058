"""Figures within sources and models, and what they average to."""

import numpy as np
import pytest

from alise_core.prediction import LEVELS
from alise_predictor.evaluation.groups import Rows, grouped


def test_knowing_only_the_source_flatters_the_pooled_tau() -> None:
    # The prediction is the source's mean and says nothing about the rows within.
    tokens = [*range(100, 150), *range(1_000, 1_050)]
    medians = [125] * 50 + [1_025] * 50
    sources = ["short"] * 50 + ["long"] * 50

    found = grouped(Rows(tokens, sources, ["m"] * 100, _quantiles(medians)))

    assert found.pooled.tau_b is not None
    assert found.pooled.tau_b > 0.7
    assert found.macro.tau_b is None
    assert found.macro.pairwise_accuracy == 0.5


def test_sources_count_the_same_whatever_they_hold() -> None:
    right, wrong = list(range(40)), list(range(40, 0, -1))
    tokens = right * 4
    score = right * 3 + wrong
    sources = ["a"] * 120 + ["b"] * 40
    models = ["x"] * 40 + ["y"] * 40 + ["z"] * 40 + ["x"] * 40

    found = grouped(Rows(tokens, sources, models, score=[float(value) for value in score]))

    assert [(group.source, group.model, group.figures.n) for group in found.groups] == [
        ("a", "x", 40),
        ("a", "y", 40),
        ("a", "z", 40),
        ("b", "x", 40),
    ]
    assert found.by_source["a"].tau_b == pytest.approx(1.0)
    assert found.by_source["b"].tau_b == pytest.approx(-1.0)
    assert found.macro.tau_b == pytest.approx(0.0)
    assert found.macro.n == 160


def test_small_groups_are_left_out_and_counted() -> None:
    sources = ["big"] * 40 + ["small"] * 39
    tokens = list(range(79))

    found = grouped(Rows(tokens, sources, ["m"] * 79, _quantiles(tokens)))

    assert list(found.by_source) == ["big"]
    assert (found.left_out_groups, found.left_out_rows) == (1, 39)
    assert found.pooled.n == 79
    assert found.macro.n == 40


def test_nothing_has_no_figures() -> None:
    found = grouped(Rows([], [], [], _quantiles([])))

    assert found.groups == ()
    assert found.macro.tau_b is None
    assert found.pooled.n == 0


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 lengths, 1 sources and 2 models"):
        grouped(Rows([1, 2], ["a"], ["m", "m"], score=[1.0, 2.0]))


def _quantiles(medians: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    middle = np.log1p(np.asarray(medians, np.float64))
    spread = np.linspace(-1.0, 1.0, len(LEVELS))
    return middle[:, None] + spread[None, :]
