"""The head: an honest spread around a score whose order it keeps."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import LEVELS
from alise_predictor.features import SCALARS
from alise_predictor.train.examples import Examples
from alise_predictor.train.linear import LinearSettings
from alise_predictor.train.tier0 import (
    HeadSettings,
    QuantileHead,
    fit_head,
    fit_tier0,
    head_quantiles,
    sample_answers,
)
from predictor_train.builders import SPAN, word_examples

pytestmark = pytest.mark.slow

SETTINGS = HeadSettings(steps=400, batch=512)


def _examples(count: int, seed: int) -> tuple[Examples, np.ndarray]:
    """Examples and their scores: answers lie around the score, twice as far with code."""
    random = np.random.default_rng(seed)
    data = word_examples(count, seed)
    code = random.random(count) < 0.5
    scores = random.normal(4.0, 0.7, count)
    scalars = np.zeros((count, len(SCALARS)), np.float32)
    scalars[:, SCALARS.index("code_fence")] = code
    features = [replace(one, scalars=row) for one, row in zip(data.features, scalars, strict=True)]
    answers = [
        random.normal(score, 0.6 if fenced else 0.3, 5).astype(np.float32)
        for score, fenced in zip(scores, code, strict=True)
    ]
    return replace(data, features=features, answers=answers), scores


@pytest.fixture(scope="module")
def head() -> QuantileHead:
    data, scores = _examples(1_500, 0)
    return fit_head(data, scores, SPAN, SETTINGS)


def test_coverage_is_what_the_levels_promise(head: QuantileHead) -> None:
    data, scores = _examples(1_500, 1)
    quantiles = head_quantiles(head, scores, data.scalars())
    answers = np.array(data.answers)
    for index, level in enumerate(LEVELS):
        covered = np.mean(answers <= quantiles[:, index : index + 1])
        assert covered == pytest.approx(level, abs=0.03)


def test_the_spread_follows_the_features(head: QuantileHead) -> None:
    data, scores = _examples(1_500, 1)
    quantiles = head_quantiles(head, scores, data.scalars())
    spread = quantiles[:, 5] - quantiles[:, 1]
    code = data.scalars()[:, SCALARS.index("code_fence")] > 0

    assert np.median(spread[code]) / np.median(spread[~code]) == pytest.approx(2.0, abs=0.4)


def test_the_median_keeps_the_order_of_the_score(head: QuantileHead) -> None:
    data, scores = _examples(300, 2)
    median = head_quantiles(head, scores, data.scalars())[:, 3]
    order = np.argsort(scores)

    assert np.all(np.diff(median[order]) >= 0)
    inside = (scores > SPAN.low + 0.5) & (scores < SPAN.high - 0.5)
    assert np.corrcoef(scores[inside], median[inside])[0, 1] > 0.999


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=5),
    st.lists(st.floats(-10, 10, width=32), min_size=len(SCALARS), max_size=len(SCALARS)),
)
def test_quantiles_are_ordered_and_in_the_span_whatever_comes(
    head: QuantileHead, scores: list[float], scalars: list[float]
) -> None:
    rows = np.array([scalars] * len(scores), np.float32)
    quantiles = head_quantiles(head, np.array(scores), rows)

    assert np.all(np.diff(quantiles, axis=1) >= 0)
    assert SPAN.low <= quantiles.min() <= quantiles.max() <= SPAN.high


def test_a_sample_has_a_prompts_own_answers_each_at_most_once() -> None:
    data = replace(
        word_examples(3),
        answers=[
            np.arange(20, dtype=np.float32),
            np.zeros(0, np.float32),
            np.array([1, 2], np.float32),
        ],
    )
    sampled = sample_answers(data, np.random.default_rng(0), 8)

    assert len(set(sampled[0].tolist())) == 8
    assert set(sampled[0].tolist()) <= set(range(20))
    assert np.isnan(sampled[1]).all()
    assert sampled[2][:2].tolist() == [1, 2]
    assert np.isnan(sampled[2][2:]).all()


def test_tier_0_is_the_same_for_the_same_seed_and_honest_about_unseen_prompts() -> None:
    data, unseen = word_examples(900), word_examples(600, seed=3)
    one = fit_tier0(data, SPAN, LinearSettings(), SETTINGS).log_quantiles(unseen)
    other = fit_tier0(data, SPAN, LinearSettings(), SETTINGS).log_quantiles(unseen)
    covered = np.mean((unseen.level >= one[:, 1]) & (unseen.level <= one[:, 5]))

    assert np.array_equal(one, other)
    assert covered == pytest.approx(0.8, abs=0.07)
