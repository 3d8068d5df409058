"""A learner that has seen nothing changes nothing."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import PredictionSource
from alise_predictor.online import OnlineLearner, RequestFacts
from alise_predictor.request import from_prompt
from fakes.online_traffic import PRIOR, Traffic, learner, raw


@given(st.text(max_size=200), st.floats(1.0, 8.0), st.floats(0.1, 1.5))
def test_first_prediction_is_the_models(prompt: str, median: float, spread: float) -> None:
    said = raw(prompt, median, spread)

    corrected = Traffic(learner()).ask(said)

    assert corrected.log_quantiles == pytest.approx(np.clip(said.log_quantiles, 0.0, 16.0))
    assert corrected.source is said.source
    assert corrected.is_trusted


@given(st.lists(st.tuples(st.text(max_size=40), st.integers(0, 50_000)), max_size=12))
def test_unknown_keys_are_told_what_a_fresh_learner_says(answers: list[tuple[str, int]]) -> None:
    here = learner()
    facts = RequestFacts(max_tokens=64, turns=3, tools=1, system_hash=7)
    for turn, (prompt, length) in enumerate(answers):
        # Questions of unknown keys between the answers of known ones.
        Traffic(here, tenant=f"new{turn}").ask(raw(prompt))
        Traffic(here).finish(raw(prompt), length, facts=facts)
    said = raw("hello there", 6.0)

    found, fresh = (Traffic(to, tenant="new").ask(said, facts) for to in (here, learner()))

    assert replace(found, evidence=None) == replace(fresh, evidence=None)
    assert found.evidence is not None
    assert fresh.evidence is not None
    np.testing.assert_equal(asdict(found.evidence), asdict(fresh.evidence))


def test_first_answer_teaches_nobody_but_its_key() -> None:
    here = learner()
    for _ in range(20):
        Traffic(here).finish(raw("hello"), 3_000)

    unknown, known = Traffic(here, tenant="new").ask(raw("hello")), Traffic(here).ask(raw("hello"))

    assert unknown.log_quantiles == pytest.approx(raw("hello").log_quantiles)
    assert known.log_quantiles[3] > unknown.log_quantiles[3] + 1.0


def test_prediction_alone_stores_nothing() -> None:
    here = learner()

    Traffic(here).ask(raw("hello"))

    assert len(here) == 0
    assert here.size_bytes == 0


def test_without_any_model_or_answer_the_prior_speaks() -> None:
    corrected = Traffic(learner()).ask(None)

    assert corrected.source is PredictionSource.PRIOR
    assert corrected.log_quantiles == pytest.approx(PRIOR, abs=0.07)


def test_statistics_of_an_unknown_key_say_that_nothing_was_learned() -> None:
    found = learner().statistics("nobody", "m")

    assert (found.answers, found.slope, found.offset, found.fallback) == (0, 1.0, 0.0, None)


def test_prior_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="3 prior quantiles"):
        OnlineLearner((1.0, 2.0, 3.0))


def test_facts_hold_the_system_prompt_only_as_a_number() -> None:
    facts = RequestFacts.of(from_prompt("hello", "m", system="Be brief.", max_tokens=7))

    assert facts.max_tokens == 7
    assert facts.system_hash != RequestFacts.of(from_prompt("hello", "m", system="Be!")).system_hash
    assert RequestFacts.of(from_prompt("hello", "m")).system_hash == 0
