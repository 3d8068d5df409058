"""What words, facts and embeddings say about lengths here is learned, and within bounds."""

import numpy as np
import pytest

from alise_predictor.online import RequestFacts
from alise_predictor.online.answer_window import WINDOW
from alise_predictor.online.blend import HeadWeights
from alise_predictor.online.embedding_head import EmbeddingHead
from alise_predictor.online.feature_head import MOST_RESIDUAL, RIDGE, FeatureHead
from alise_predictor.online.sparse import MOST_FEATURES, SparseRequest, fold
from fakes.online_traffic import Traffic, learner, medians, raw, tokens, words

LINE = (0.0, 1.0)
NO_NUMBERS = np.zeros(1, np.float32)


def request(*buckets: int) -> SparseRequest:
    return SparseRequest.of(np.array(sorted(buckets), np.uint16))


def test_word_that_lengthens_answers_is_learned() -> None:
    rng = np.random.default_rng(0)
    traffic, gap = Traffic(learner()), []

    for _ in range(500):
        marked = bool(rng.integers(2))
        prompt = words(rng) + (" thoroughly" if marked else "")
        length = rng.normal(6.0 if marked else 4.0, 0.2)
        corrected = traffic.finish(raw(prompt), tokens(length))
        gap.append(abs(corrected.log_quantiles[3] - length))

    assert np.mean(gap[400:]) < 0.5 * np.mean(gap[:100])
    assert np.mean(gap[400:]) < 0.4


def test_application_is_told_by_its_system_prompt() -> None:
    traffic = Traffic(learner())
    short, long = RequestFacts(system_hash=11), RequestFacts(system_hash=22)
    rng = np.random.default_rng(0)

    for _ in range(150):
        traffic.finish(raw(words(rng)), tokens(4.0), facts=short)
        traffic.finish(raw(words(rng)), tokens(6.0), facts=long)

    said = raw(words(rng))
    assert (
        traffic.ask(said, long).log_quantiles[3] - traffic.ask(said, short).log_quantiles[3] > 1.0
    )


@pytest.mark.slow
def test_direction_of_an_embedding_is_learned() -> None:
    rng = np.random.default_rng(0)
    direction = rng.normal(size=32)
    direction /= np.linalg.norm(direction)
    traffic, gap = Traffic(learner()), []

    for _ in range(600):
        embedding = rng.normal(size=32)
        embedding /= np.linalg.norm(embedding)
        length = 5.0 + 4.0 * float(embedding @ direction)
        said = raw("the same words", embedding=embedding.astype(np.float32))
        gap.append(abs(traffic.finish(said, tokens(length)).log_quantiles[3] - length))

    assert np.mean(gap[500:]) < 0.4 * np.mean(gap[:50])


@pytest.mark.slow
def test_noise_is_not_learned() -> None:
    rng = np.random.default_rng(0)
    traffic = Traffic(learner())

    for _ in range(600):
        traffic.finish(raw(words(rng)), tokens(rng.normal(5.0, 0.5)))

    assert np.std(medians(traffic.corrections[300:])) < 0.15


def test_head_that_proved_nothing_contributes_nothing() -> None:
    rng = np.random.default_rng(0)
    weights = HeadWeights()

    for residual, text, embedding in rng.normal(0, 0.5, (2_000, 3)):
        weights.update(residual, -residual + 0.1 * text, embedding)

    assert weights.by_text == 0.0
    assert 0.0 <= weights.by_embedding < 0.2


def test_head_that_is_right_contributes_in_full() -> None:
    weights = HeadWeights()

    for residual in np.random.default_rng(0).normal(0, 0.5, 500):
        weights.update(residual, residual, 0.0)

    assert weights.by_text == pytest.approx(1.0, abs=0.05)
    assert weights.by_embedding == 0.0


@pytest.mark.parametrize("observed", [1e6, -1e6])
def test_one_answer_changes_a_prediction_by_no_more_than_stated(observed: float) -> None:
    head = FeatureHead(1)

    head.update(request(1, 2, 3), NO_NUMBERS, 5.0, observed, LINE)

    assert abs(head.predict(request(1, 2, 3), NO_NUMBERS)) <= MOST_RESIDUAL / RIDGE
    assert head.predict(request(7, 8, 9), NO_NUMBERS) == 0.0


def test_answer_that_left_the_window_leaves_no_trace() -> None:
    head = FeatureHead(1)
    head.update(request(1), NO_NUMBERS, 5.0, 9.0, LINE)
    assert head.predict(request(1), NO_NUMBERS) > 0.5

    for _ in range(WINDOW):
        head.update(request(2), NO_NUMBERS, 5.0, 5.0, LINE)

    assert head.predict(request(1), NO_NUMBERS) == pytest.approx(0.0, abs=1e-5)


def test_ridge_regression_is_solved() -> None:
    rng = np.random.default_rng(0)
    rows = [request(*rng.choice(60, 8, replace=False).tolist()) for _ in range(80)]
    targets = rng.uniform(-0.5, 0.5, 80)
    head = FeatureHead(1)

    for row, target in zip(rows, targets, strict=True):
        head.update(row, NO_NUMBERS, 5.0, 5.0 + target, LINE)
    for _ in range(600):  # Answers with nothing in common with the others: time to settle.
        head.update(request(100), NO_NUMBERS, 5.0, 5.0, LINE)

    dense = np.zeros((80, 60))
    for index, row in enumerate(rows):
        dense[index, row.buckets] = row.value
    exact = dense @ np.linalg.solve(dense.T @ dense + RIDGE * np.eye(60), dense.T @ targets)
    found = [head.predict(row, NO_NUMBERS) for row in rows]
    assert found == pytest.approx(exact, abs=0.02)


def test_embedding_of_another_size_starts_anew() -> None:
    head = EmbeddingHead()
    four = np.full(4, 0.5, np.float32)
    head.update(four, 0.5)

    head.update(np.array([1.0, 0.0], np.float32), 0.5)

    assert head.predict(four) == 0.0
    assert head.predict(np.array([1.0, 0.0], np.float32)) > 0.0


def test_long_prompts_keep_a_bounded_and_consistent_sample() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 65_536, 5_000)

    whole, most = fold(ids, RequestFacts()), fold(ids[:4_900], RequestFacts())

    assert len(whole.buckets) <= MOST_FEATURES
    assert (np.diff(whole.buckets.astype(int)) > 0).all()
    shared = np.intersect1d(whole.buckets, most.buckets)
    assert len(shared) > 0.9 * len(whole.buckets)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_encoder_gone_wrong_leaves_nothing_behind(value: float) -> None:
    traffic = Traffic(learner())
    good = np.array([1.0, 0.0], np.float32)
    for _ in range(5):
        traffic.finish(raw("a b", embedding=good), 100)
    broken = np.full(2, value, np.float32)

    corrected = traffic.finish(raw("a b", embedding=broken), 100)

    assert np.isfinite(corrected.log_quantiles).all()
    after = traffic.ask(raw("a b", embedding=good)).log_quantiles
    assert abs(after[3] - np.log(101)) < 0.3


def test_absurd_numbers_of_clients_and_backends_are_survived() -> None:
    traffic = Traffic(learner())
    facts = RequestFacts(max_tokens=10**400, turns=10**400, tools=10**400)

    traffic.finish(raw("a b"), 10**400, facts=facts)

    assert np.isfinite(traffic.ask(raw("a b"), facts).log_quantiles).all()
