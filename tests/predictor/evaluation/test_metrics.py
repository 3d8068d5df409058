"""Errors, coverage and calibration of predicted distributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import LEVELS
from alise_predictor.evaluation.metrics import (
    FIGURES,
    PINBALL_LEVELS,
    Figures,
    calibration_curve,
    figures,
    mean_of,
    pinball,
)

# Tokens at each of LEVELS, the same for every row.
KNOTS = (5.0, 10.0, 50.0, 100.0, 200.0, 400.0, 900.0)


def test_errors_are_those_of_the_median_in_tokens() -> None:
    found = figures([100, 149, 160, 250], _rows(4))

    assert found.mae == pytest.approx((0 + 49 + 60 + 150) / 4)
    assert found.within_50 == 0.5
    assert found.within_100 == 0.75


def test_coverage_counts_what_lies_at_or_below() -> None:
    found = figures([9, 10, 100, 101, 400, 401], _rows(6))

    assert found.coverage_p50 == pytest.approx(3 / 6)
    assert found.coverage_p90 == pytest.approx(5 / 6)
    assert found.cov80 == pytest.approx(4 / 6)


def test_pinball_is_the_mean_over_rows_and_the_five_inner_levels() -> None:
    tokens = [30, 300]
    expected = []
    for level in PINBALL_LEVELS:
        knot = np.log1p(KNOTS[LEVELS.index(level)])
        for length in tokens:
            error = np.log1p(length) - knot
            expected.append(level * error if error > 0 else (level - 1) * error)

    assert figures(tokens, _rows(2)).pinball == pytest.approx(np.mean(expected))


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=60), st.sampled_from(LEVELS))
def test_no_constant_beats_the_empirical_quantile(tokens: list[int], level: float) -> None:
    truth = np.log1p(tokens)
    best = np.quantile(truth, level, method="inverted_cdf")

    least = pinball(truth, np.full(len(truth), best), level)

    assert least is not None
    for other in truth:
        loss = pinball(truth, np.full(len(truth), other), level)
        assert loss is not None
        assert least <= loss + 1e-12


def test_calibration_gives_the_observed_share_of_every_level() -> None:
    curve = calibration_curve([4, 60, 60, 1_000], _rows(4))

    assert [level for level, _ in curve] == list(LEVELS)
    assert [share for _, share in curve] == [0.25, 0.25, 0.25, 0.75, 0.75, 0.75, 0.75]


def test_a_score_orders_and_leaves_the_errors_alone() -> None:
    tokens, score = [100, 200, 300], [1.0, 2.0, 3.0]

    by_median, by_score = figures(tokens, _rows(3)), figures(tokens, _rows(3), score)

    assert by_median.tau_b is None
    assert by_score.tau_b == 1.0
    assert by_score.mae == by_median.mae


def test_a_predictor_that_only_ranks_has_no_errors() -> None:
    found = figures([1, 2, 3], score=[1.0, 3.0, 2.0])

    assert found.tau_b == pytest.approx(1 / 3)
    assert found.mae is None
    assert found.coverage_p50 is None


def test_no_rows_have_no_figures() -> None:
    found = figures([], np.empty((0, len(LEVELS))))

    assert found.n == 0
    assert {getattr(found, name) for name in FIGURES} == {None}
    assert {share for _, share in calibration_curve([], np.empty((0, len(LEVELS))))} == {None}
    assert pinball([], [], 0.5) is None


def test_one_row_has_errors_and_no_order() -> None:
    found = figures([90], _rows(1))

    assert found.mae == pytest.approx(10)
    assert found.tau_b is None
    assert found.pairwise_accuracy is None


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 7\), not \(3, 7\)"):
        figures([1, 2], _rows(3))
    with pytest.raises(ValueError, match="log_quantiles, a score"):
        figures([1, 2])


def test_means_leave_out_what_is_undefined() -> None:
    parts = [
        Figures(n=10, tau_b=0.2, mae=10.0),
        Figures(n=30, tau_b=0.4, mae=20.0),
        Figures(n=60, tau_b=None, mae=30.0),
    ]

    plain, weighted = mean_of(parts), mean_of(parts, by_rows=True)

    assert plain.n == 100
    assert plain.tau_b == pytest.approx(0.3)
    assert plain.mae == pytest.approx(20.0)
    assert weighted.tau_b == pytest.approx((2 + 12) / 40)
    assert weighted.mae == pytest.approx((100 + 600 + 1800) / 100)
    assert plain.spearman is None


def _rows(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.tile(np.log1p(KNOTS), (count, 1))
