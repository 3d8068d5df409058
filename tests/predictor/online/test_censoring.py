"""Answers cut at ``max_tokens`` are lower bounds: they must not teach that answers are short."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import LEVELS
from alise_predictor.online.censoring import complete
from fakes.online_traffic import NORMAL, Traffic, learner, log_tokens, raw, tokens, words

QUANTILES = tuple(5.0 + 0.5 * value for value in NORMAL)


@given(st.floats(0, 16), st.integers(0, 10_000))
def test_completed_length_is_at_least_the_bound_and_finite(bound: float, turn: int) -> None:
    found = complete(bound, QUANTILES, turn)

    assert bound <= found <= max(bound, QUANTILES[-1]) + 0.35


def test_completions_below_everything_follow_the_prediction() -> None:
    found = [complete(0.0, QUANTILES, turn) for turn in range(2_000)]

    shares = [np.mean([value <= quantile for value in found]) for quantile in QUANTILES]

    assert shares[1:6] == pytest.approx(LEVELS[1:6], abs=0.02)


def test_traffic_that_is_always_cut_does_not_look_short() -> None:
    rng = np.random.default_rng(0)
    traffic = Traffic(learner())

    for _ in range(600):
        traffic.finish(raw(words(rng), 6.0), 50, censored=True)

    assert traffic.ask(raw(words(rng), 6.0)).log_quantiles[3] > 5.8


def test_cut_beyond_what_was_predicted_teaches_length() -> None:
    rng = np.random.default_rng(0)
    traffic = Traffic(learner())

    for _ in range(300):
        traffic.finish(raw(words(rng), 4.0, 0.3), 1_000, censored=True)

    assert traffic.ask(raw(words(rng), 4.0, 0.3)).log_quantiles[3] >= log_tokens(1_000) - 0.2


@pytest.mark.slow
def test_partly_cut_traffic_keeps_its_median() -> None:
    rng = np.random.default_rng(0)
    traffic, limit = Traffic(learner()), 6.3

    for _ in range(1_200):
        length = rng.normal(6.0, 0.5)
        traffic.finish(
            raw(words(rng), 5.5, 0.5), tokens(min(length, limit)), censored=length > limit
        )

    middle = np.mean([c.log_quantiles[3] for c in traffic.corrections[-200:]])
    assert middle == pytest.approx(6.0, abs=0.12)
