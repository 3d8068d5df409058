"""Differences in tau: exact on the rows as they are, honest about chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.evaluation.ranking import kendall_tau_b
from alise_predictor.train.compare.bootstrap import tau_differences, weighted_tau
from alise_predictor.train.compare.rows import GroupRows

_columns = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3)), min_size=2,
                    max_size=25)  # fmt: skip


def _group(source: str, tokens: np.ndarray, model: str = "m") -> GroupRows:
    nothing = np.zeros(0, np.int64)
    return GroupRows(source, model, np.arange(len(tokens)), tokens, nothing, nothing)


@given(_columns)
def test_the_tau_of_a_resample_is_that_of_its_rows(rows: list[tuple[int, int, int]]) -> None:
    truth, predicted, weights = (np.array(column) for column in zip(*rows, strict=True))
    expected = kendall_tau_b(np.repeat(truth, weights), np.repeat(predicted, weights))
    found = weighted_tau(truth.astype(float), predicted.astype(float), weights[None])
    assert found[0] == pytest.approx(expected or 0.0, abs=1e-5)


def test_the_same_scores_differ_by_nothing() -> None:
    random = np.random.default_rng(0)
    tokens = random.integers(1, 900, 60)
    scores = [random.normal(size=60)]
    found = tau_differences([_group("a", tokens)], {"tier0": scores, "copy": scores}, "tier0",
                            models=3, resamples=20, seed=0)  # fmt: skip
    assert (found["copy"].mean, found["copy"].low, found["copy"].high) == (0.0, 0.0, 0.0)
    assert "tier0" not in found


def test_a_clearly_better_order_is_beyond_its_interval() -> None:
    random = np.random.default_rng(1)
    groups = [_group(source, random.integers(1, 900, 80)) for source in ("a", "b")]
    noise = [random.normal(size=80) for _ in groups]
    truth = [group.tokens.astype(float) for group in groups]
    found = tau_differences(groups, {"tier0": noise, "oracle": truth}, "tier0",
                            models=3, resamples=50, seed=0)["oracle"]  # fmt: skip
    assert 0 < found.low <= found.mean <= found.high
    worse = tau_differences(groups, {"tier0": truth, "noise": noise}, "tier0",
                            models=3, resamples=50, seed=0)["noise"]  # fmt: skip
    assert worse.high < 0
    assert worse.mean == pytest.approx(-found.mean)


def test_every_data_set_counts_the_same_and_only_its_first_models_count() -> None:
    tokens = np.arange(1, 41)
    rising, falling = tokens.astype(float), -tokens.astype(float)
    groups = [_group("a", tokens, "1"), _group("a", tokens, "2"), _group("b", tokens)]
    scores = {"tier0": [rising] * 3, "other": [rising, falling, falling]}
    one = tau_differences(groups, scores, "tier0", models=1, resamples=5, seed=0)
    both = tau_differences(groups, scores, "tier0", models=2, resamples=5, seed=0)
    assert one["other"].mean == pytest.approx(-1.0)
    assert both["other"].mean == pytest.approx(-1.5)
