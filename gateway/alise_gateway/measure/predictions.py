"""Metrics of predicting and learning; part of ``metrics``, which registers them."""

from typing import Final

from prometheus_client import CollectorRegistry

from alise_core.prediction import PredictionSource
from alise_core.record import PredictedLength
from alise_gateway.domain.prediction import FallbackCause, Hint, Refinement, SnapshotOperation
from alise_gateway.measure.gauges import PREFIX
from alise_gateway.measure.labels import Lesson, Place, Success
from alise_gateway.measure.series import Counters, Histograms

PREDICTION_BOUNDS: Final = (
    *(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
)
"""Seconds; the budget of a tier 0 is 0.0001 for a short prompt, ``deadline_seconds`` is 0.02."""
ERROR_BOUNDS: Final = (0.0625, 0.125, 0.25, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0, 4.0, 8.0, 16.0)
"""Ratio of real to predicted length: symmetric around 1 on a logarithmic scale."""


class PredictionMetrics:
    """What predicting does, and how right it is.

    Args:
        registry: Where the families are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._predictions = self._counters(
            "predictions_total", "Predicted requests by what predicted them.", "source"
        )
        self._fallbacks = self._counters(
            "prediction_fallbacks_total", "Predictions that no model made, by cause.", "reason"
        )
        self._seconds = Histograms(
            f"{PREFIX}prediction_seconds",
            "Time to predict one request on arrival.",
            (),
            PREDICTION_BOUNDS,
        )
        self._ratio = Histograms(
            f"{PREFIX}prediction_length_ratio",
            "Output tokens of completed answers / predicted median.",
            ("model", "source"),
            ERROR_BOUNDS,
        )
        registry.register(self._seconds)
        registry.register(self._ratio)
        self._places = self._counters(
            "predicted_answers_total",
            "Completed answers by where their length fell in the predicted distribution.",
            *("model", "source", "place"),
        )
        self._refinements = self._counters(
            "prediction_refinements_total", "Refinements of waiting requests.", "result"
        )
        self._hints = self._counters(
            "prediction_hints_total", "Requests with a hint about their length.", "result"
        )
        self._learned = self._counters(
            "learned_answers_total", "Finished answers, by whether they were learned from.",
            "result",
        )  # fmt: skip
        self._snapshots = self._counters(
            "learning_snapshots_total", "Snapshots of what was learned.", "operation", "result"
        )
        self._start_at_zero()

    def predicted(self, source: PredictionSource, seconds: float) -> None:
        """A request was predicted."""
        self._predictions.cell(source).value += 1
        self._seconds.cell().observe(seconds)

    def fell_back(self, cause: FallbackCause) -> None:
        """No model predicted, or none that is trusted."""
        self._fallbacks.cell(cause).value += 1

    def refined(self, result: Refinement) -> None:
        """A refinement has ended."""
        self._refinements.cell(result).value += 1

    def hinted(self, result: Hint) -> None:
        """A client gave a hint."""
        self._hints.cell(result).value += 1

    def learned(self) -> None:
        """An answer was learned from."""
        self._learned.cell(Lesson.LEARNED).value += 1

    def not_learned(self) -> None:
        """An answer was not learned from."""
        self._learned.cell(Lesson.LOST).value += 1

    def spared(self) -> None:
        """An answer was not learned from: others had taught enough."""
        self._learned.cell(Lesson.SPARED).value += 1

    def snapshot_done(self, operation: SnapshotOperation, worked: bool) -> None:
        """A snapshot was saved or restored."""
        result = Success.SUCCESS if worked else Success.FAILURE
        self._snapshots.cell(operation, result).value += 1

    def answered(self, model: str, predicted: PredictedLength, tokens: int, capped: bool) -> None:
        """A predicted answer is complete.

        Args:
            model: Its label.
            predicted: What was said about it.
            tokens: What became of it.
            capped: It was cut at the client's limit. Its distribution is, too, so that its place
                still says something; its ratio does not.
        """
        self._places.cell(model, predicted.source, _place(predicted, tokens)).value += 1
        if not capped:
            ratio = (tokens + 1) / (predicted.p50 + 1)
            self._ratio.cell(model, predicted.source).observe(ratio)

    def _counters(self, name: str, documentation: str, *labels: str) -> Counters:
        family = Counters(PREFIX + name, documentation, labels)
        self._registry.register(family)
        return family

    def _start_at_zero(self) -> None:
        for source in PredictionSource:
            self._predictions.cell(source)
        for cause in FallbackCause:
            self._fallbacks.cell(cause)
        for refinement in Refinement:
            self._refinements.cell(refinement)
        for hint in Hint:
            self._hints.cell(hint)
        self._seconds.cell()
        for lesson in Lesson:
            self._learned.cell(lesson)
        for result in Success:
            for operation in SnapshotOperation:
                self._snapshots.cell(operation, result)


def _place(predicted: PredictedLength, tokens: int) -> Place:
    if tokens <= predicted.p10:
        return Place.TO_P10
    if tokens <= predicted.p50:
        return Place.TO_P50
    return Place.TO_P90 if tokens <= predicted.p90 else Place.ABOVE
