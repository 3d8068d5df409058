"""Where predicting and learning meet: which endings teach, and what is shown of them."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from alise_core.outcome import Outcome
from alise_gateway.measure.predictions import PredictionMetrics
from alise_gateway.predicting import Predicting
from alise_gateway.settings import PredictorSettings
from fakes.clock import FakeClock
from fakes.length_model import asked, tenant
from fakes.predictor import bundle
from fakes.record import a_record


@pytest.fixture
async def predicting(tmp_path: Path) -> Predicting:
    settings = PredictorSettings(bundle_dir=bundle(tmp_path / "b", tier1=True))
    metrics = PredictionMetrics(CollectorRegistry())
    return Predicting(settings, FakeClock(), metrics, lambda _: None)


@pytest.mark.parametrize(
    ("fields", "teaches"),
    [
        ({}, True),
        ({"output_capped": True}, True),
        ({"output_tokens": None}, False),
        ({"outcome": Outcome.CLIENT_CANCELLED}, False),
        ({"outcome": Outcome.FAILED_BACKEND_LOST_MIDSTREAM}, False),
    ],
)
async def test_only_complete_answers_of_known_length_teach(
    predicting: Predicting, fields: dict[str, Any], teaches: bool
) -> None:
    prediction = predicting.begin(asked(), "m", tenant()).prediction
    predicting.finished(prediction, a_record(**fields))
    assert predicting.status().learning_backlog == teaches


async def test_the_state_is_shown_before_and_after_the_bundle_is_there(
    predicting: Predicting,
) -> None:
    before = predicting.status()
    assert (before.enabled, before.name, before.tiers) == (True, None, ())
    assert predicting.gauges().tiers == {"tier0": False, "tier1": False}
    await predicting.start()
    after = predicting.status()
    assert (after.name, after.version, after.tiers) == ("tiny", "1", ("tier0", "tier1"))
    assert after.error is None
    await predicting.stop()


async def test_the_figures_of_a_pair_are_the_learners(predicting: Predicting) -> None:
    learning = predicting.begin(asked(), "m", tenant("a")).prediction.learning
    assert learning is not None
    learning.learner.observe(
        "a", "m", learning.raw, learning.corrected, learning.facts, 9, censored=False, now=0.0
    )
    (figures,) = predicting.figures()
    assert (figures.tenant, figures.model, figures.answers) == ("a", "m", 1)
    assert figures.fallback is None
