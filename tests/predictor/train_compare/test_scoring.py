"""From predictions to figures."""

import numpy as np
import pytest

from alise_core.prediction import LEVELS
from alise_predictor.train.candidates.base import Fitted
from alise_predictor.train.compare.rows import GroupRows
from alise_predictor.train.compare.scoring import predict, score

_SPAN = (0.0, 9.0)
_STEPS = np.linspace(-0.6, 0.6, len(LEVELS))


def _group(source: str, log_lengths: np.ndarray, aside: np.ndarray, first: int = 0) -> GroupRows:
    prompts = np.arange(first, first + len(log_lengths) + len(aside))
    tokens = np.round(np.expm1(np.concatenate((log_lengths, aside)))).astype(np.int64)
    size = len(log_lengths)
    return GroupRows(source, "m", prompts[:size], tokens[:size], prompts[size:], tokens[size:])


def _fitted(levels: np.ndarray, sign: float = 1.0) -> Fitted:
    def quantiles(prompts: np.ndarray) -> np.ndarray:
        return np.asarray(levels[prompts][:, None] + _STEPS, np.float32)

    return Fitted(quantiles, score=lambda prompts: sign * levels[prompts])


def test_the_offset_of_a_group_comes_from_rows_that_are_not_scored() -> None:
    levels = np.linspace(3.0, 6.0, 60)
    group = _group("a", levels[:40] + 0.7, levels[40:] + 0.7)
    fitted = _fitted(levels)
    with_rows = score(predict(fitted, [group]), [group], None, _SPAN).grouped.macro
    without = score(predict(fitted, [group]), [group], {}, _SPAN).grouped.macro
    assert with_rows.mae is not None
    assert without.mae is not None
    assert with_rows.mae < 1.0 < without.mae
    assert with_rows.tau_b == without.tau_b == pytest.approx(1.0)
    assert with_rows.n == 40


def test_known_offsets_are_used_as_they_are() -> None:
    levels = np.linspace(3.0, 6.0, 40)
    group = _group("a", levels + 0.5, np.zeros(0))
    found = score(predict(_fitted(levels), [group]), [group], {("a", "m"): 0.5}, _SPAN)
    assert found.grouped.macro.mae == pytest.approx(0.0, abs=0.6)


def test_nothing_is_predicted_outside_the_training_range() -> None:
    levels = np.linspace(3.0, 6.0, 40)
    group = _group("a", levels, np.zeros(0))
    found = score(predict(_fitted(levels), [group]), [group], {("a", "m"): 40.0}, (0.0, 6.0))
    assert found.grouped.macro.mae is not None
    assert found.grouped.macro.mae < np.expm1(6.0)


def test_order_is_judged_by_the_score_where_there_is_one() -> None:
    levels = np.linspace(3.0, 6.0, 40)
    group = _group("a", levels, np.zeros(0))
    found = score(predict(_fitted(levels, -1.0), [group]), [group], {}, _SPAN)
    assert found.grouped.macro.tau_b == pytest.approx(-1.0)


def test_every_data_set_counts_the_same_in_the_curve() -> None:
    levels = np.full(180, 4.0)
    low = _group("low", np.full(40, 2.0), np.zeros(0))
    high = _group("high", np.full(120, 6.0), np.zeros(0), first=40)
    found = score(predict(_fitted(levels), [low, high]), [low, high], {}, _SPAN)
    assert [level for level, _ in found.curve] == list(LEVELS)
    assert [share for _, share in found.curve] == pytest.approx([0.5] * len(LEVELS))
