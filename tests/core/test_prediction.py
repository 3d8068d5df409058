"""A predicted length: what is stored, what is read, and what a running request does to it."""

from itertools import pairwise
from math import inf, log1p, nan

import pytest

from alise_core.prediction import LEVELS, LengthDistribution

TOKENS = (10, 40, 100, 200, 400, 800, 1_600)
QUANTILES = [log1p(tokens) for tokens in TOKENS]


def distribution(cap: float | None = None, highest: float = 4_000) -> LengthDistribution:
    return LengthDistribution.of(QUANTILES, 1, highest, cap)


def test_what_was_predicted_is_read_back() -> None:
    predicted = distribution()
    for level, tokens in zip(LEVELS, TOKENS, strict=True):
        assert predicted.quantile(level) == pytest.approx(tokens)
        assert predicted.exceeds(tokens) == pytest.approx(1 - level)


def test_the_mean_is_that_of_the_quantiles() -> None:
    predicted = distribution()
    steps = 200_000
    mean = sum(predicted.quantile((index + 0.5) / steps) for index in range(steps)) / steps
    assert predicted.mean() == pytest.approx(mean, rel=1e-3)


@pytest.mark.parametrize("generated", [0, 5, 150, 3_000, 50_000])
def test_the_mean_given_what_was_generated_is_that_of_the_quantiles(generated: float) -> None:
    predicted = distribution(cap=100_000).given_more_than(generated)
    steps = 50_000
    mean = sum(predicted.quantile((index + 0.5) / steps) for index in range(steps)) / steps
    assert predicted.mean() == pytest.approx(mean, rel=1e-3)


def test_a_head_that_explodes_is_put_back_into_the_range() -> None:
    predicted = LengthDistribution.of([5, 4, inf, 90, -inf, 3, 2], 4, 1_000, None)
    assert list(predicted.knots) == sorted(predicted.knots)
    assert predicted.quantile(0) == pytest.approx(4)
    assert predicted.quantile(0) <= predicted.quantile(1) <= 1_000


@pytest.mark.parametrize("quantiles", [[nan, *QUANTILES[1:]], QUANTILES[:-1], []])
def test_what_is_no_prediction_is_refused(quantiles: list[float]) -> None:
    with pytest.raises(ValueError, match="7 numbers"):
        LengthDistribution.of(quantiles, 1, 1_000, None)


def test_max_tokens_ends_it() -> None:
    predicted = distribution(cap=64)
    assert predicted.quantile(0.5) == predicted.quantile(1) == 64
    assert predicted.quantile(0.02) == pytest.approx(10)
    assert (predicted.exceeds(63) > 0.8, predicted.exceeds(64)) == (True, 0.0)
    assert predicted.mean() < 64
    assert predicted.remaining_mean(64) == 0
    assert predicted.remaining_mean(63.5) == pytest.approx(0.5)


def test_nothing_generated_changes_nothing() -> None:
    predicted = distribution()
    assert predicted.given_more_than(0) is predicted
    later = predicted.given_more_than(50)
    assert later.given_more_than(20) is later


def test_who_outruns_the_prediction_is_expected_to_go_on_for_as_long_again() -> None:
    predicted = distribution(highest=1_000_000)
    for generated in (2_000, 4_000, 8_000):
        assert predicted.remaining_mean(generated) == pytest.approx(generated, rel=0.02)


def test_who_outruns_the_training_range_is_still_running() -> None:
    predicted = distribution(highest=2_000)
    assert predicted.quantile(1) == 2_000
    for generated in (2_000, 10_000, 100_000):
        assert predicted.remaining_mean(generated) == pytest.approx(0.75 * generated, rel=0.01)


def test_a_certain_prediction_is_a_point() -> None:
    predicted = LengthDistribution.of([log1p(7)] * 7, 1, 1_000, None)
    assert predicted.quantile(0) == predicted.quantile(0.9) == pytest.approx(7)
    assert predicted.exceeds(6.9) == 1
    assert predicted.exceeds(7.1) < 0.03
    assert predicted.remaining_mean(2) == pytest.approx(5, abs=0.3)


ATOM_CASES = [
    distribution(),
    distribution(cap=64),
    distribution(cap=5),
    distribution(cap=100_000).given_more_than(50),
    distribution(cap=100_000).given_more_than(1_599.5),
    distribution().given_more_than(3_999),
    distribution(cap=5_000).given_more_than(4_999.5),
    distribution(highest=2_000).given_more_than(1e8),
    LengthDistribution.of([log1p(7)] * 7, 1, 1_000, None),
    LengthDistribution.of([0.0] * 7, 0, 1_000, None),
    LengthDistribution.of([log1p(1e9)] * 7, 1, 1e9, None),
]


@pytest.mark.parametrize("predicted", ATOM_CASES)
def test_atoms_are_the_distribution_in_a_few_lengths(predicted: LengthDistribution) -> None:
    atoms = predicted.atoms()
    weights, tokens = zip(*atoms, strict=True)
    assert 1 <= len(atoms) <= len(LEVELS) + 1
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= -1e-12
    for low, high in pairwise(tokens):
        assert low <= high * (1 + 1e-9)
    assert predicted.quantile(0) * (1 - 1e-9) <= tokens[0]
    assert tokens[-1] <= predicted.quantile(1) * (1 + 1e-9)
    mean = sum(weight * length for weight, length in atoms)
    assert predicted.mean() == pytest.approx(mean)


def test_atoms_lie_between_the_stored_quantiles() -> None:
    atoms = distribution().atoms()
    shares = (0.02, 0.08, 0.15, 0.25, 0.25, 0.15, 0.08, 0.02)
    assert [weight for weight, _ in atoms] == pytest.approx(shares)
    for (_, tokens), low, high in zip(atoms[1:], TOKENS, (*TOKENS[1:], 4_000), strict=True):
        assert low < tokens < high


def test_atoms_of_what_has_run_are_those_still_possible() -> None:
    later = distribution().given_more_than(300).atoms()
    assert len(later) == 4
    assert later[0][1] > 300
    before = distribution().atoms()
    # What lies wholly above keeps its length and gains weight.
    alive = distribution().exceeds(300)
    for (weight, tokens), (old_weight, old_tokens) in zip(later[1:], before[-3:], strict=True):
        assert tokens == pytest.approx(old_tokens)
        assert weight == pytest.approx(old_weight / alive)
