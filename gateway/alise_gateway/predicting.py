"""Predicting and learning as the rest of the gateway sees them: one object, or none at all.

``predict`` and ``learn`` meet here. A gateway with ``predictor.enabled: false`` imports neither,
and with them neither numpy nor ONNX Runtime.
"""

from collections.abc import Callable

from alise_core.clock import Clock
from alise_core.errors import ConfigError
from alise_core.outcome import Outcome
from alise_core.record import RequestRecord
from alise_gateway.control.view import PredictorStatus
from alise_gateway.domain.prediction import LearnedFigures, Prediction
from alise_gateway.domain.request import InferenceRequest, Tenant
from alise_gateway.learn.answers import AnswerLearner, FinishedAnswer
from alise_gateway.learn.pace import LearningPace
from alise_gateway.learn.snapshots import Learned, SnapshotKeeper
from alise_gateway.measure.gauges import PredictionSnapshot
from alise_gateway.measure.predictions import PredictionMetrics
from alise_gateway.predict.bundles import BundleKeeper
from alise_gateway.predict.predictor import PendingPrediction, Predictor
from alise_gateway.settings import PredictorSettings

_SHOWN_PAIRS = 200
"""Figures of this many pairs are shown and exported, those that learned last."""


class Predicting:
    """See the module; used on the event loop only.

    Args:
        settings: What to be.
        clock: Time for everything.
        metrics: Counts.
        on_bundle_read: Told whether a bundle that was looked at could be used.

    Raises:
        ConfigError: The snapshot could not be written where it is to be.
    """

    def __init__(
        self,
        settings: PredictorSettings,
        clock: Clock,
        metrics: PredictionMetrics,
        on_bundle_read: Callable[[bool], None],
    ) -> None:
        self.predictor = Predictor(settings, clock, metrics)
        self._bundles = BundleKeeper(settings, self.predictor, on_bundle_read, self._take_up)
        self._learner: AnswerLearner | None = None
        self._snapshots: SnapshotKeeper | None = None
        if not settings.learning:
            return
        self._learner = AnswerLearner(
            clock,
            metrics,
            settings.learning_backlog,
            LearningPace(clock, settings.learning_per_second),
        )
        path = settings.snapshot_file
        if path is None:
            return
        if not path.parent.is_dir():
            raise ConfigError(f"predictor.snapshot_file: the directory {path.parent} is missing")
        self._snapshots = SnapshotKeeper(
            path,
            settings.snapshot_seconds,
            self._learned,
            self._learner,
            metrics.snapshot_done,
        )

    async def start(self) -> None:
        """Load the bundle and what was learned; serves with less where either does not work."""
        await self._bundles.start()
        if self._snapshots is not None:
            self._snapshots.start()

    async def stop(self) -> None:
        """Learn from what has finished, save it, and let threads end."""
        await self._bundles.stop()
        if self._snapshots is not None and self._learner is not None:
            await self._snapshots.stop(self._learner.finish)
        await self.predictor.close()

    def begin(self, asked: InferenceRequest, model: str, tenant: Tenant) -> PendingPrediction:
        """Predict a request that has been routed; never raises."""
        return self.predictor.begin(asked, model, tenant)

    def finished(self, prediction: Prediction, record: RequestRecord) -> None:
        """A predicted request is over: learn from it where its answer is complete."""
        tokens = record.output_tokens
        if self._learner is None or tokens is None or record.outcome is not Outcome.COMPLETED:
            return
        self._learner.add(FinishedAnswer(prediction, tokens, record.output_capped))

    def status(self) -> PredictorStatus:
        """What is in use, and how right it is."""
        loaded = self.predictor.loaded
        manifest = None if loaded.model is None else loaded.model.manifest
        return PredictorStatus(
            enabled=True,
            name=None if manifest is None else manifest.name,
            version=None if manifest is None else manifest.version,
            tiers=tuple(name for name, is_used in self.tiers().items() if is_used),
            error=self._bundles.error,
            learned_pairs=len(loaded.learner),
            learned_bytes=loaded.learner.size_bytes,
            learning_backlog=0 if self._learner is None else self._learner.pending,
            refinement_backlog=self.predictor.refiner.pending,
            learned=self.figures(),
        )

    def gauges(self) -> PredictionSnapshot:
        """For one scrape."""
        return PredictionSnapshot(
            self.tiers(),
            self.predictor.refiner.pending,
            len(self.predictor.loaded.learner),
            self.figures(),
        )

    def tiers(self) -> dict[str, bool]:
        """Which tiers are in use."""
        loaded = self.predictor.loaded
        return {"tier0": loaded.model is not None, "tier1": loaded.has_tier1}

    def figures(self) -> tuple[LearnedFigures, ...]:
        """Figures of the pairs that learned last."""
        learner = self.predictor.loaded.learner
        found = []
        for tenant, model in learner.keys()[-_SHOWN_PAIRS:]:
            known = learner.statistics(tenant, model)
            found.append(
                LearnedFigures(
                    tenant,
                    model,
                    known.answers,
                    known.concordance,
                    known.coverage_p80,
                    known.coverage_p90,
                    known.drift,
                    None if known.fallback is None else str(known.fallback),
                )
            )
        return tuple(found)

    async def _take_up(self) -> None:
        """A bundle is in use: what an earlier process has learned of it counts again."""
        if self._snapshots is not None:
            await self._snapshots.restore()

    def _learned(self) -> Learned | None:
        loaded = self.predictor.loaded
        return None if loaded.model is None else loaded.learner
