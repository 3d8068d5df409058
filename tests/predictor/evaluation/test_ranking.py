"""Figures of order: against SciPy's numbers, and against counting every pair."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.evaluation.ranking import (
    average_ranks,
    kendall_tau_b,
    pairwise_accuracy,
    pairwise_accuracy_2x,
    spearman,
)

# name: truth, prediction, scipy.stats.kendalltau, scipy.stats.spearmanr (SciPy 1.17.1)
SCIPY: dict[str, tuple[list[int], list[float], float, float]] = {
    "no_ties": (
        [1, 2, 3, 4, 5, 6, 7, 8],
        [2, 1, 4, 3, 7, 5, 8, 6],
        0.6428571428571428,
        0.8333333333333335,
    ),
    "ties_in_truth": (
        [10, 10, 20, 20, 30, 40, 40, 40],
        [5, 1, 2, 9, 4, 7, 3, 8],
        0.27583864218368526,
        0.3459163477751806,
    ),
    "ties_in_prediction": (
        [3, 1, 4, 1, 5, 9, 2, 6],
        [0.5, 0.5, 0.5, 0.5, 2.0, 2.0, 0.5, 2.0],
        0.7453559924999298,
        0.8502303018977037,
    ),
    "ties_in_both": (
        [1, 1, 2, 2, 2, 3, 3, 5, 8, 8],
        [1, 2, 2, 2, 3, 3, 1, 5, 5, 9],
        0.6666666666666666,
        0.7531645569620254,
    ),
    "reversed": ([1, 2, 3, 4], [9, 7, 5, 1], -1.0, -1.0),
    "lengths": (
        [12, 340, 55, 55, 800, 7, 91, 340, 120, 0, 18, 640],
        [40.0, 210.5, 40.0, 71.2, 190.0, 33.1, 71.2, 520.0, 88.0, 12.0, 12.0, 205.3],
        0.7401804263097366,
        0.8924176136948817,
    ),
}
Figure = Callable[[list[int], list[int]], float | None]
FIGURES: list[Figure] = [kendall_tau_b, spearman, pairwise_accuracy, pairwise_accuracy_2x]

# Few different values: ties on either side and on both are the rule.
rows = st.lists(st.tuples(st.integers(0, 12), st.integers(-6, 6)), max_size=40)


@pytest.mark.parametrize("case", SCIPY)
def test_tau_b_is_scipys(case: str) -> None:
    truth, predicted, tau, _ = SCIPY[case]

    assert kendall_tau_b(truth, predicted) == pytest.approx(tau, abs=1e-12)


@pytest.mark.parametrize("case", SCIPY)
def test_spearman_is_scipys(case: str) -> None:
    truth, predicted, _, rho = SCIPY[case]

    assert spearman(truth, predicted) == pytest.approx(rho, abs=1e-12)


@given(rows)
def test_tau_b_counts_every_pair(pairs: list[tuple[int, int]]) -> None:
    found = [_sign(a, c) * _sign(b, d) for (a, b), (c, d) in combinations(pairs, 2)]
    untied_truth = sum(a != c for (a, _), (c, _) in combinations(pairs, 2))
    untied_prediction = sum(b != d for (_, b), (_, d) in combinations(pairs, 2))

    tau = kendall_tau_b([a for a, _ in pairs], [b for _, b in pairs])

    if untied_truth * untied_prediction == 0:
        assert tau is None
    else:
        assert tau == pytest.approx(sum(found) / (untied_truth * untied_prediction) ** 0.5)


@given(rows)
def test_pairwise_accuracy_counts_every_pair_of_different_lengths(
    pairs: list[tuple[int, int]],
) -> None:
    expected = _credits(pairs, lambda short, long: short < long)

    found = pairwise_accuracy([a for a, _ in pairs], [b for _, b in pairs])

    assert found == (pytest.approx(np.mean(expected)) if expected else None)


@given(rows)
def test_pairwise_accuracy_2x_counts_only_pairs_twice_as_long(pairs: list[tuple[int, int]]) -> None:
    expected = _credits(pairs, lambda short, long: short < long and long >= 2 * short)

    found = pairwise_accuracy_2x([a for a, _ in pairs], [b for _, b in pairs])

    assert found == (pytest.approx(np.mean(expected)) if expected else None)


@given(rows)
def test_spearman_is_the_correlation_of_average_ranks(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = [a for a, _ in pairs], [b for _, b in pairs]

    found = spearman(truth, predicted)

    if len(set(truth)) < 2 or len(set(predicted)) < 2:
        assert found is None
    else:
        expected = np.corrcoef(_slow_ranks(truth), _slow_ranks(predicted))[0, 1]
        assert found == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.integers(-5, 5), max_size=30))
def test_equal_values_share_the_mean_of_their_ranks(values: list[int]) -> None:
    assert average_ranks(values).tolist() == _slow_ranks(values)


@given(rows)
def test_order_is_all_that_counts(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = [a for a, _ in pairs], [b for _, b in pairs]

    stretched = np.expm1(np.asarray(predicted) / 3.0)

    assert kendall_tau_b(truth, stretched) == kendall_tau_b(truth, predicted)
    assert pairwise_accuracy_2x(truth, stretched) == pairwise_accuracy_2x(truth, predicted)


@given(rows)
def test_a_reversed_prediction_mirrors_the_figures(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = [a for a, _ in pairs], [b for _, b in pairs]
    mirrored = [-value for value in predicted]

    tau, accuracy = kendall_tau_b(truth, predicted), pairwise_accuracy(truth, predicted)

    assert kendall_tau_b(truth, mirrored) == (None if tau is None else pytest.approx(-tau))
    mirror = None if accuracy is None else pytest.approx(1.0 - accuracy)
    assert pairwise_accuracy(truth, mirrored) == mirror


def test_a_tie_in_the_prediction_is_a_coin_toss() -> None:
    assert pairwise_accuracy([1, 2, 3], [0, 0, 5]) == pytest.approx(2.5 / 3)
    assert pairwise_accuracy([1, 2], [7, 7]) == 0.5


def test_an_empty_answer_is_far_from_any_other() -> None:
    assert pairwise_accuracy_2x([0, 1], [0.0, 1.0]) == 1.0
    assert pairwise_accuracy_2x([0, 0], [0.0, 1.0]) is None


def test_pairs_closer_than_a_factor_of_two_do_not_count() -> None:
    assert pairwise_accuracy_2x([100, 199, 200], [3.0, 2.0, 4.0]) == 1.0


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("truth", [[], [7], [7, 7, 7]], ids=["none", "one", "constant"])
def test_what_cannot_be_told_apart_has_no_figure(figure: Figure, truth: list[int]) -> None:
    assert figure(truth, list(range(len(truth)))) is None


@pytest.mark.parametrize("figure", FIGURES)
def test_columns_of_different_length_are_refused(figure: Figure) -> None:
    with pytest.raises(ValueError, match=r"\(2,\)"):
        figure([1, 2], [1, 2, 3])


def _sign(first: int, second: int) -> int:
    return (first < second) - (first > second)


def _credits(pairs: list[tuple[int, int]], counts: Callable[[int, int], bool]) -> list[float]:
    found = []
    for (a, b), (c, d) in combinations(sorted(pairs), 2):
        if counts(a, c):
            found.append((_sign(b, d) + 1) / 2)
    return found


def _slow_ranks(values: list[int]) -> list[float]:
    return [
        sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values
    ]
