"""Histograms stand in when no model answers, and when a model's predictions are not kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import PredictionSource
from alise_predictor.online.histogram import BIN_WIDTH, LengthHistogram, prior_mass, quantiles
from alise_predictor.online.verdict import FallbackReason, judge
from fakes.online_traffic import NORMAL, PRIOR, Traffic, learner, raw, tokens, words


def test_tenants_own_history_comes_first() -> None:
    traffic = Traffic(learner())
    for _ in range(30):
        traffic.finish(raw("a b c"), 100)

    found = traffic.ask(None)

    assert found.source is PredictionSource.TENANT_HISTOGRAM
    assert found.log_quantiles[3] == pytest.approx(np.log(101), abs=BIN_WIDTH)


def test_own_history_is_up_to_date_with_every_answer() -> None:
    traffic, told = Traffic(learner()), []
    for turn in range(10):
        traffic.finish(None, 100 + 400 * turn)
        told.append(traffic.ask(None).log_quantiles[5])

    own = told[5:]
    assert own == sorted(set(own))


def test_answers_without_a_model_teach_the_histogram_only() -> None:
    traffic = Traffic(learner())
    for _ in range(60):
        traffic.finish(None, 1_000)

    assert traffic.ask(None).source is PredictionSource.TENANT_HISTOGRAM
    assert traffic.ask(raw("a b c")).log_quantiles == pytest.approx(raw("a b c").log_quantiles)
    assert traffic.to.statistics("t", "m").answers == 60


def test_new_tenant_leans_on_the_model() -> None:
    here = learner()
    for tenant in ("a", "b", "c", "d"):
        traffic = Traffic(here, tenant=tenant)
        for _ in range(60):
            traffic.finish(None, 3_000)

    found = Traffic(here, tenant="new").ask(None)

    assert found.source is PredictionSource.MODEL_HISTOGRAM
    assert found.log_quantiles[3] == pytest.approx(np.log(3_001), abs=BIN_WIDTH)


def test_model_without_any_answer_has_the_prior() -> None:
    here = learner()
    Traffic(here, model="other").finish(None, 3_000)

    assert Traffic(here, tenant="new").ask(None).source is PredictionSource.PRIOR


@given(st.lists(st.floats(0, 12), min_size=1, max_size=50))
def test_histogram_quantiles_are_ordered_and_near_the_data(lengths: list[float]) -> None:
    here = LengthHistogram()
    for length in lengths:
        here.update(length)

    found = quantiles(here.mass)

    assert list(found) == sorted(found)
    assert min(lengths) - BIN_WIDTH <= found[3] <= max(lengths) + BIN_WIDTH


@given(st.floats(1, 9), st.floats(0.1, 1.2))
def test_prior_keeps_its_quantiles(median: float, spread: float) -> None:
    wanted = [min(max(median + spread * value, 0.0), 11.9) for value in NORMAL]

    assert quantiles(prior_mass(wanted)) == pytest.approx(wanted, abs=2 * BIN_WIDTH)


def test_model_that_ranks_nothing_is_not_trusted_and_the_histogram_answers() -> None:
    rng = np.random.default_rng(0)
    traffic = Traffic(learner())
    for _ in range(520):
        traffic.finish(raw(words(rng), rng.normal(5, 0.5)), tokens(rng.normal(5, 0.5)))

    found = traffic.ask(raw("a b c"))

    assert traffic.to.statistics("t", "m").fallback is FallbackReason.CONCORDANCE
    assert not found.is_trusted
    assert found.source is PredictionSource.TENANT_HISTOGRAM


@pytest.mark.slow
def test_trust_returns_when_the_ranking_does() -> None:
    rng = np.random.default_rng(0)
    traffic = Traffic(learner())
    for _ in range(520):
        traffic.finish(raw(words(rng), rng.normal(5, 0.5)), tokens(rng.normal(5, 0.5)))
    assert not traffic.ask(raw("a b c")).is_trusted

    for _ in range(900):
        length = rng.normal(5, 0.8)
        traffic.finish(raw(words(rng), length), tokens(length + rng.normal(0, 0.2)))

    assert traffic.ask(raw("a b c")).is_trusted
    assert traffic.to.statistics("t", "m").fallback is None


@pytest.mark.parametrize(
    ("present", "answers", "concordance", "coverage", "expected"),
    [
        (None, 499, 0.1, 0.1, None),
        (None, 500, 0.54, 0.9, FallbackReason.CONCORDANCE),
        (None, 500, 0.56, 0.9, None),
        (FallbackReason.CONCORDANCE, 500, 0.56, 0.9, FallbackReason.CONCORDANCE),
        (FallbackReason.CONCORDANCE, 500, 0.58, 0.9, None),
        (None, 500, 0.7, 0.79, FallbackReason.COVERAGE),
        (None, 500, 0.7, 0.98, FallbackReason.COVERAGE),
        (FallbackReason.COVERAGE, 500, 0.7, 0.81, FallbackReason.COVERAGE),
        (FallbackReason.COVERAGE, 500, 0.7, 0.83, None),
        (FallbackReason.COVERAGE, 500, None, None, FallbackReason.COVERAGE),
    ],
)
def test_verdict_has_thresholds_and_hysteresis(
    present: FallbackReason | None,
    answers: int,
    concordance: float | None,
    coverage: float | None,
    expected: FallbackReason | None,
) -> None:
    assert judge(present, answers, concordance, coverage) is expected


def test_prior_is_what_the_prior_says() -> None:
    assert quantiles(prior_mass(PRIOR)) == pytest.approx(PRIOR, abs=0.07)
