"""What holds for every predicted length and everything that a request may generate."""

from math import log1p

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import LEVELS, LengthDistribution

HIGHEST = 8_192.0
log_tokens = st.floats(-5, 40)
caps = st.none() | st.integers(1, 200_000)
probabilities = st.floats(0, 1)
counts = st.integers(0, 100_000)
distributions = st.builds(
    LengthDistribution.of,
    st.lists(log_tokens, min_size=len(LEVELS), max_size=len(LEVELS)),
    st.integers(0, 10),
    st.just(HIGHEST),
    caps,
)
CLOSE = 1e-6


@given(distributions, probabilities, probabilities)
def test_quantiles_rise_with_probability(
    predicted: LengthDistribution, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert predicted.quantile(low) <= predicted.quantile(high) * (1 + CLOSE)
    assert predicted.quantile(low) >= 0
    assert predicted.quantile(high) <= min(predicted.cap, HIGHEST) * (1 + CLOSE)


@given(distributions, counts, counts)
def test_fewer_exceed_more(predicted: LengthDistribution, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 1 >= predicted.exceeds(low) >= predicted.exceeds(high) >= 0


@given(distributions, probabilities, counts)
def test_quantile_and_exceeds_are_inverse(
    predicted: LengthDistribution, probability: float, generated: int
) -> None:
    given_that = predicted.given_more_than(generated)
    tokens = given_that.quantile(probability)
    # Steps of the distribution (equal knots, the cap) have no inverse; around them it holds.
    assert given_that.exceeds(tokens * (1 + CLOSE) + CLOSE) <= 1 - probability + CLOSE
    if tokens > 0:
        assert given_that.exceeds(tokens * (1 - CLOSE) - CLOSE) >= 1 - probability - CLOSE


@given(distributions, counts)
def test_the_mean_lies_within_what_is_possible(
    predicted: LengthDistribution, generated: int
) -> None:
    given_that = predicted.given_more_than(generated)
    assert given_that.quantile(0) * (1 - CLOSE) <= given_that.mean()
    assert given_that.mean() <= given_that.quantile(1) * (1 + CLOSE)
    assert given_that.mean() <= predicted.cap


@given(distributions, counts, counts)
def test_conditioning_composes(predicted: LengthDistribution, one: int, other: int) -> None:
    first, second = sorted((one, other))
    assert predicted.given_more_than(first).given_more_than(second) == predicted.given_more_than(
        second
    )
    if first > 0:
        assert predicted.given_more_than(first).remaining_mean(second) == pytest.approx(
            predicted.remaining_mean(second)
        )


@given(distributions, counts, counts)
def test_the_whole_is_expected_to_be_longer_the_longer_it_has_run(
    predicted: LengthDistribution, one: int, other: int
) -> None:
    less, more = sorted((one, other))
    shorter = predicted.given_more_than(less).mean()
    assert predicted.given_more_than(more).mean() >= shorter * (1 - CLOSE) - CLOSE


@given(distributions, counts)
def test_what_remains_is_never_negative_and_never_nothing_before_the_cap(
    predicted: LengthDistribution, generated: int
) -> None:
    remaining = predicted.remaining_mean(generated)
    if generated >= predicted.cap:
        assert remaining == 0
    else:
        assert remaining >= min(1, predicted.cap - generated)
        assert generated + remaining <= predicted.cap * (1 + CLOSE)


@given(distributions, st.integers(1, 30_000), st.floats(1, 3))
def test_what_remains_rises_after_an_overrun(
    predicted: LengthDistribution, overrun: int, factor: float
) -> None:
    # A cap ends the rise, and so does the training range until it is outrun as well.
    unbounded = LengthDistribution(predicted.knots, highest=1.0)
    first = unbounded.quantile(1) + HIGHEST + overrun
    assert unbounded.remaining_mean(first * factor) >= unbounded.remaining_mean(first) * (1 - CLOSE)
    assert unbounded.remaining_mean(first) >= 0.7 * first


@given(distributions, counts, probabilities)
def test_the_condition_is_kept(
    predicted: LengthDistribution, generated: int, probability: float
) -> None:
    given_that = predicted.given_more_than(generated)
    if 0 < generated < predicted.cap:
        assert given_that.quantile(probability) >= min(generated + 1, predicted.cap) * (1 - CLOSE)
        assert given_that.exceeds(generated) == 1 or generated + 1 > predicted.cap


@given(distributions, st.integers(1, 8_000), probabilities)
def test_conditioning_is_bayes(predicted: LengthDistribution, generated: int, share: float) -> None:
    beyond = generated + 1 + share * 5_000
    if beyond >= min(predicted.cap, HIGHEST):
        return
    alive = predicted.exceeds(generated)
    if alive > CLOSE:
        expected = predicted.exceeds(beyond) / alive
        assert predicted.given_more_than(generated).exceeds(beyond) == pytest.approx(
            expected, abs=1e-9, rel=1e-6
        )


@given(st.lists(log_tokens, min_size=7, max_size=7), caps)
def test_a_tighter_cap_never_predicts_more(quantiles: list[float], cap: int | None) -> None:
    free = LengthDistribution.of(quantiles, 1, HIGHEST, None)
    bound = LengthDistribution.of(quantiles, 1, HIGHEST, cap)
    assert bound.mean() <= free.mean() * (1 + CLOSE)
    assert bound.knots == free.knots
    assert log1p(bound.quantile(0.5)) <= log1p(free.quantile(0.5)) + CLOSE
