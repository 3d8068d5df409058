"""What is counted of predictions: how they were made, and how right they were."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from alise_core.outcome import Outcome
from alise_core.prediction import PredictionSource
from alise_core.record import PredictedLength
from alise_gateway.domain.prediction import FallbackCause, LearnedFigures, SnapshotOperation
from alise_gateway.measure.gauges import GaugeSnapshot, PredictionSnapshot
from alise_gateway.measure.metrics import GatewayMetrics
from alise_gateway.measure.timing import intervals_of
from fakes.record import a_record

LABELS = {"model": "org/model", "source": "tier0"}
PREDICTED = PredictedLength(PredictionSource.TIER0, p10=10, p50=99, p90=400, mean=150)


class Bench:
    def __init__(self, max_label_values: int = 10) -> None:
        self.registry = CollectorRegistry()
        self.metrics = GatewayMetrics(self.registry, max_label_values)

    def finish(self, tokens: int | None, **fields: Any) -> None:
        record = a_record(output_tokens=tokens, **{"predicted": PREDICTED, **fields})
        self.metrics.finished(record, intervals_of(record))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"alise_gateway_{name}", labels)

    def places(self) -> dict[str, float]:
        found = {}
        for place in ("to_p10", "to_p50", "to_p90", "above"):
            value = self.value("predicted_answers_total", **LABELS, place=place)
            if value:
                found[place] = value
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("tokens", "place"),
    [
        (0, "to_p10"),
        (10, "to_p10"),
        (11, "to_p50"),
        (99, "to_p50"),
        (400, "to_p90"),
        (401, "above"),
    ],
)
def test_an_answer_falls_into_one_place(bench: Bench, tokens: int, place: str) -> None:
    bench.finish(tokens)
    assert bench.places() == {place: 1}


def test_the_ratio_of_real_to_predicted_is_kept(bench: Bench) -> None:
    bench.finish(199)
    assert bench.value("prediction_length_ratio_sum", **LABELS) == 2
    assert bench.value("prediction_length_ratio_bucket", **LABELS, le="2.0") == 1
    assert bench.value("prediction_length_ratio_bucket", **LABELS, le="1.4") == 0


def test_an_answer_that_a_limit_cut_has_a_place_and_no_ratio(bench: Bench) -> None:
    bench.finish(400, output_capped=True)
    assert bench.places() == {"to_p90": 1}
    assert bench.value("prediction_length_ratio_count", **LABELS) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"predicted": None},
        {"outcome": Outcome.CLIENT_CANCELLED},
        {"outcome": Outcome.FAILED_BACKEND_LOST_MIDSTREAM},
    ],
)
def test_only_predicted_answers_that_are_complete_count(
    bench: Bench, fields: dict[str, Any]
) -> None:
    bench.finish(50, **fields)
    bench.finish(None)
    assert bench.places() == {}


def test_a_backend_that_talks_nonsense_spoils_no_sum(bench: Bench) -> None:
    bench.finish(2**40)
    total = bench.value("prediction_length_ratio_sum", **LABELS)
    assert total is not None
    assert total < 10**8


def test_every_cause_and_source_starts_at_zero(bench: Bench) -> None:
    for cause in FallbackCause:
        assert bench.value("prediction_fallbacks_total", reason=cause) == 0
    for source in PredictionSource:
        assert bench.value("predictions_total", source=source) == 0
    assert bench.value("prediction_seconds_count") == 0


def test_predicting_is_timed_and_counted(bench: Bench) -> None:
    counts = bench.metrics.predictions
    counts.predicted(PredictionSource.TIER0, 0.00007)
    counts.fell_back(FallbackCause.DEADLINE)
    counts.snapshot_done(SnapshotOperation.RESTORE, worked=False)
    assert bench.value("predictions_total", source="tier0") == 1
    assert bench.value("prediction_seconds_bucket", le="0.0001") == 1
    assert bench.value("prediction_fallbacks_total", reason="deadline") == 1
    failed = {"operation": "restore", "result": "failure"}
    assert bench.value("learning_snapshots_total", **failed) == 1


def test_what_is_learned_shows_for_known_pairs_only(bench: Bench) -> None:
    bench.finish(50)

    def figures(tenant: str, trusted: bool = True) -> LearnedFigures:
        fallback = None if trusted else "coverage"
        return LearnedFigures(tenant, "org/model", 900, 0.7, None, 0.9, 0.1, fallback)

    learned = [figures("team-a", trusted=False), figures("stranger"), figures("unheard")]
    state = PredictionSnapshot({"tier0": True, "tier1": False}, 3, 2, learned)
    bench.metrics.bind_gauges(lambda: GaugeSnapshot(predictions=state))
    pair = {"model": "org/model", "tenant": "team-a"}
    assert bench.value("prediction_concordance_ratio", **pair) == 0.7
    assert bench.value("prediction_coverage_p80_ratio", **pair) is None
    assert bench.value("prediction_trusted", **pair) == 0
    assert bench.value("predictor_tier_loaded", tier="tier1") == 0
    assert bench.value("refinement_backlog_requests") == 3
    text = bench.metrics.render(None)[0].decode()
    assert "stranger" not in text
    assert 'tenant="other"' not in text
