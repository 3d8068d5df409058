"""One prediction per request, whatever the model, the learner or the body does."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from alise_core.prediction import PredictionSource
from alise_gateway.domain.prediction import FallbackCause, Hint
from fakes.length_model import PredictionBench, asked, tenant


@pytest.fixture
def bench() -> PredictionBench:
    return PredictionBench()


def median(bench: PredictionBench, **fields: Any) -> float:
    return bench.predictor.begin(asked(**fields), "m", tenant()).prediction.median


def test_what_the_model_says_is_predicted(bench: PredictionBench) -> None:
    request = asked("How far is it to the lighthouse?", max_tokens=400)
    prediction = bench.predictor.begin(request, "served", tenant("a")).prediction
    assert (prediction.tenant, prediction.model) == ("a", "served")
    assert prediction.source is PredictionSource.TIER0
    assert prediction.median == pytest.approx(50)
    assert prediction.distribution.cap == 400
    (seen,) = bench.model.asked
    assert (seen.model, seen.prompt) == ("served", b"How far is it to the lighthouse?")
    assert seen.max_tokens == 400
    assert request.content is None, "the body is let go of"
    assert bench.meter.sources == [PredictionSource.TIER0]
    assert bench.meter.causes == []


def test_a_prediction_stays_in_the_bundles_range(bench: PredictionBench) -> None:
    bench.model.tokens = 10.0**12
    assert median(bench) == bench.predictor.loaded.highest


def test_without_a_bundle_the_prior_answers(bench: PredictionBench) -> None:
    bench.use(None)
    prediction = bench.predictor.begin(asked(), "m", tenant()).prediction
    assert prediction.source is PredictionSource.PRIOR
    assert bench.meter.causes == [FallbackCause.NO_BUNDLE]


@pytest.mark.parametrize("error", [RuntimeError("x"), ValueError(), MemoryError()])
def test_a_model_that_raises_is_replaced_by_the_prior(
    bench: PredictionBench, error: Exception
) -> None:
    bench.model.error = error
    prediction = bench.predictor.begin(asked(max_tokens=20), "m", tenant()).prediction
    assert prediction.source is PredictionSource.PRIOR
    assert prediction.distribution.quantile(1) <= 20
    assert bench.meter.causes == [FallbackCause.MODEL_FAILED]


def test_the_tenants_own_answers_come_before_the_models_and_the_prior(
    bench: PredictionBench,
) -> None:
    bench.model.error = RuntimeError()
    learner = bench.predictor.loaded.learner
    for name, tokens in (("short", 5), ("long", 900)):
        for _ in range(100):
            learning = bench.predictor.begin(asked(), "m", tenant(name)).prediction.learning
            assert learning is not None
            learner.observe(
                name,
                "m",
                learning.raw,
                learning.corrected,
                learning.facts,
                tokens,
                censored=False,
                now=0.0,
            )
    found = {
        name: bench.predictor.begin(asked(), "m", tenant(name)).prediction
        for name in ("short", "long", "new")
    }
    assert found["short"].source is found["long"].source is PredictionSource.TENANT_HISTOGRAM
    assert found["short"].median < 10
    assert found["long"].median > 500
    assert found["new"].source is PredictionSource.MODEL_HISTOGRAM
    other = bench.predictor.begin(asked(), "other-model", tenant("short")).prediction
    assert other.source is PredictionSource.PRIOR


def test_a_learner_that_raises_costs_its_corrections(
    bench: PredictionBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("alise_predictor.online.OnlineLearner.correct", broken)
    prediction = bench.predictor.begin(asked(), "m", tenant()).prediction
    assert prediction.source is PredictionSource.PRIOR
    assert prediction.learning is None
    assert bench.meter.causes == [FallbackCause.LEARNING_FAILED]


def test_a_slow_model_is_left_alone_for_a_while(bench: PredictionBench) -> None:
    bench.model.seconds = 0.5
    for _ in range(3):
        assert median(bench) == pytest.approx(50), "what came late is used all the same"
    bench.model.seconds = 0.0
    median(bench)
    assert bench.meter.causes == [FallbackCause.DEADLINE]
    assert len(bench.model.asked) == 3
    bench.clock.advance(2)
    assert median(bench) == pytest.approx(50)


def test_one_late_prediction_means_nothing(bench: PredictionBench) -> None:
    for seconds in (0.5, 0.5, 0.0, 0.5, 0.5, 0.0):
        bench.model.seconds = seconds
        median(bench)
    assert bench.meter.causes == []


def test_content_with_too_many_parts_is_not_read(bench: PredictionBench) -> None:
    request = asked([{"type": "text"}, *[1] * 60_000])
    prediction = bench.predictor.begin(request, "m", tenant()).prediction
    assert prediction.source is PredictionSource.PRIOR
    assert bench.meter.causes == [FallbackCause.TOO_LARGE]


def test_a_hint_of_a_tenant_that_may_schedule_moves_it(bench: PredictionBench) -> None:
    hint = {"agent_hints": {"osl": 100}}
    for may_schedule, expected in ((True, 100), (False, 50)):
        who = tenant(may_schedule=may_schedule)
        found = bench.predictor.begin(asked(nvext=hint), "m", who).prediction
        assert found.median == pytest.approx(expected)
    assert bench.meter.hints == [Hint.TAKEN, Hint.UNTRUSTED]
    far = {"agent_hints": {"osl": 100_000}}
    found = bench.predictor.begin(asked(nvext=far), "m", tenant(may_schedule=True)).prediction
    assert found.median == pytest.approx(203, abs=1)


@pytest.mark.parametrize(
    ("fields", "learns"),
    [({}, True), ({"n": 1}, True), ({"n": None}, True), ({"n": 3}, False), ({"n": "x"}, False)],
)
def test_only_single_answers_are_learned_from(
    bench: PredictionBench, fields: dict[str, Any], learns: bool
) -> None:
    found = bench.predictor.begin(asked(**fields), "m", tenant()).prediction
    assert (found.learning is not None) is learns


def test_a_settled_prediction_holds_no_text_and_no_features(bench: PredictionBench) -> None:
    pending = bench.predictor.begin(asked("secret " * 500), "m", tenant())
    pending.settle()
    learning = pending.prediction.learning
    assert learning is not None
    assert learning.raw is not None
    assert len(learning.raw.features.ids) == 1
    assert "secret" not in repr([getattr(pending, name) for name in pending.__slots__])


def test_a_defect_is_logged_by_its_type_and_not_each_time(bench: PredictionBench) -> None:
    bench.model.error = ValueError("the prompt was: open the pod bay doors")
    with capture_logs() as logs:
        for _ in range(5):
            median(bench)
    assert [(line["cause"], line["error"]) for line in logs] == [("model_failed", "ValueError")]
    assert "pod bay" not in repr(logs)
    assert len(bench.meter.causes) == 5
