"""Answers beyond those of training widen what is predicted, but not one answer alone."""

from math import log1p

import pytest

from alise_core.prediction import PredictionSource
from alise_predictor.features import extract
from alise_predictor.online import NOTHING_KNOWN, KnownLengths, OnlineLearner, RequestFacts
from alise_predictor.prediction import RawPrediction
from alise_predictor.request import from_prompt

PRIOR = tuple(log1p(tokens) for tokens in (10, 30, 60, 100, 200, 400, 900))


def answer(learner: OnlineLearner, tokens: int, now: float) -> None:
    request = from_prompt(f"Solve step by step, number {now}", "reasoner")
    raw = RawPrediction(PRIOR, PredictionSource.TIER0, extract(request))
    facts = RequestFacts.of(request)
    corrected = learner.correct("t", "reasoner", raw, facts, now)
    learner.observe("t", "reasoner", raw, corrected, facts, tokens, censored=False, now=now)


def known(learner: OnlineLearner) -> KnownLengths:
    request = from_prompt("Solve this", "reasoner")
    raw = RawPrediction(PRIOR, PredictionSource.TIER0, extract(request))
    return learner.correct("t", "reasoner", raw, RequestFacts.of(request), 1e6).known


def test_nothing_is_vouched_for_without_answers() -> None:
    assert known(OnlineLearner(PRIOR)) == NOTHING_KNOWN
    assert NOTHING_KNOWN.widen(4, 2_000) == (4, 2_000)


def test_one_long_answer_vouches_for_nothing() -> None:
    learner = OnlineLearner(PRIOR)
    for now in range(20):
        answer(learner, 100, float(now))
    before = known(learner)
    answer(learner, 30_000, 20.0)

    assert known(learner) == before


@pytest.mark.parametrize("tokens", [3_000, 12_000, 30_000])
def test_some_long_answers_do(tokens: int) -> None:
    learner = OnlineLearner(PRIOR)
    for now in range(5):
        answer(learner, tokens, float(now))

    assert tokens <= known(learner).longest <= 1.2 * tokens
    assert known(learner).widen(4, 2_000)[1] == known(learner).longest


def test_the_reach_survives_a_restart() -> None:
    learner = OnlineLearner(PRIOR)
    for now in range(5):
        answer(learner, 12_000, float(now))
    again = OnlineLearner(PRIOR)
    again.restore(learner.snapshot())

    assert known(again) == known(learner)


def test_answers_of_one_token_are_possible_once_there_were_some() -> None:
    learner = OnlineLearner(PRIOR)
    for now in range(5):
        answer(learner, 1, float(now))

    assert 0 <= known(learner).widen(4, 2_000)[0] <= 1
