"""One prediction per request, whatever happens: the stage's entrance.

The chain: tier 0, corrected by what was learned of the tenant's traffic; else the lengths of the
tenant's finished answers; else those of the model's; else the prior; each within the bundle's
range and below ``max_tokens``. Every step away from the model is counted with its cause.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec
import numpy as np
import structlog

from alise_core.clock import Clock
from alise_core.prediction import LengthDistribution, PredictionSource
from alise_gateway.domain.content import ContentFields
from alise_gateway.domain.prediction import FallbackCause, Hint, Learning, Prediction, Refinement
from alise_gateway.domain.request import InferenceRequest, Tenant
from alise_gateway.predict.content import TooLarge, read_content, wants_one_answer
from alise_gateway.predict.hints import hinted_tokens, moved
from alise_gateway.predict.loaded import Loaded, without_bundle
from alise_gateway.predict.refiner import (
    RefinementCache,
    RefinementMeter,
    RefinementTask,
    Refiner,
)
from alise_gateway.settings import PredictorSettings
from alise_predictor.features import SCALARS, Features
from alise_predictor.online import Corrected, RequestFacts
from alise_predictor.prediction import RawPrediction
from alise_predictor.request import PredictionRequest

_OVERRUNS = 3
"""Predictions in a row that miss the deadline: one may be the system's doing, three are not."""
_PAUSE_SECONDS = 1.0
_LOG_SECONDS = 60.0
"""A cause is logged at most this often; the counter has them all."""
_NO_FEATURES = Features(np.zeros(1, np.int64), np.zeros(len(SCALARS), np.float32))
"""What a request in flight keeps in place of kilobytes that nothing looks at any more."""
_LOG = structlog.get_logger(__name__)


class PredictionMeter(RefinementMeter, Protocol):
    """Who counts."""

    def predicted(self, source: PredictionSource, seconds: float) -> None:
        """A request was predicted, in this time."""
        ...

    def fell_back(self, cause: FallbackCause) -> None:
        """A model's prediction was not to be had."""
        ...

    def hinted(self, result: Hint) -> None:
        """A client gave a hint."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be predicted.

    Attributes:
        loaded: What it is predicted with, to the end.
        tenant: Who asks.
        model: Which served model answers.
        max_tokens: Limit of the answer.
        request: What the predictor sees of it; ``None`` where it could not be read.
        facts: For learning.
        hint: Tokens that a trusted client expects.
        is_single: The answer's tokens will be those of one answer.
    """

    loaded: Loaded
    tenant: str
    model: str
    max_tokens: int | None
    request: PredictionRequest | None
    facts: RequestFacts
    hint: int | None
    is_single: bool


class PendingPrediction:
    """One request's prediction while it may still improve.

    Attributes:
        prediction: The best so far.
    """

    __slots__ = ("_predictor", "_question", "_raw", "_task", "prediction")

    def __init__(
        self,
        predictor: "Predictor",
        question: Question,
        raw: RawPrediction | None,
        prediction: Prediction,
    ) -> None:
        self._predictor = predictor
        self._question: Question | None = question
        self._raw = raw
        self._task: RefinementTask | None = None
        self.prediction = prediction

    def refine(self, on_refined: Callable[[LengthDistribution], None]) -> None:
        """The request waits: improve on the prediction meanwhile.

        Args:
            on_refined: Told once, if something better is found before ``settle``; perhaps at once.
        """
        question, raw = self._question, self._raw
        if question is None or raw is None or self._task is not None:
            return

        def take(refined: RawPrediction) -> None:
            self._task, self._raw = None, None
            self.prediction = self._predictor.conclude(question, refined)
            on_refined(self.prediction.distribution)

        self._task = self._predictor.start_refining(question, raw, take)

    def settle(self) -> None:
        """It will not improve any more: let go of the request's text."""
        task, self._task = self._task, None
        self._question = self._raw = None
        if task is not None:
            self._predictor.refiner.cancel(task)


class Predictor:
    """See the module; used on the event loop only.

    Args:
        settings: Deadlines and bounds.
        clock: Times predictions, and dates what is learned.
        meter: Counts.

    Attributes:
        loaded: The bundle in use.
        refiner: Tier 1.
    """

    def __init__(self, settings: PredictorSettings, clock: Clock, meter: PredictionMeter) -> None:
        self.loaded = without_bundle(settings)
        self.refiner = Refiner(settings, clock, meter)
        self._cache = RefinementCache(settings.refine_cache_entries)
        self._deadline_seconds = settings.deadline_seconds
        self._clock = clock
        self._meter = meter
        self._overruns = 0
        self._resume_at = 0.0
        self._logged: dict[FallbackCause, float] = {}

    def begin(self, asked: InferenceRequest, model: str, tenant: Tenant) -> PendingPrediction:
        """Predict a request that has been routed; never raises.

        Args:
            asked: As it was parsed; its content is let go of.
            model: Name of the served model.
            tenant: Who asks.
        """
        began = self._clock.now()
        question = self._question(asked, model, tenant)
        raw = self._ask_model(question)
        prediction = self.conclude(question, raw)
        self._meter.predicted(prediction.source, self._clock.now() - began)
        return PendingPrediction(self, question, raw, prediction)

    def conclude(self, question: Question, raw: RawPrediction | None) -> Prediction:
        """From what the model says to what is used; never raises."""
        loaded = question.loaded
        try:
            corrected = loaded.learner.correct(
                question.tenant, question.model, raw, question.facts, self._clock.unix()
            )
            quantiles = corrected.log_quantiles
            if question.hint is not None:
                quantiles = moved(quantiles, question.hint)
            # This tenant's own answers may vouch for more than training has seen.
            lowest, highest = corrected.known.widen(loaded.lowest, loaded.highest)
            distribution = LengthDistribution.of(quantiles, lowest, highest, question.max_tokens)
        except Exception as error:
            self._fell_back(FallbackCause.LEARNING_FAILED, error)
            return _prior(question)
        if raw is not None and not corrected.is_trusted:
            self._meter.fell_back(FallbackCause.DISTRUSTED)
        return Prediction(
            question.tenant,
            question.model,
            corrected.source,
            distribution,
            distribution.quantile(0.5),
            _learning(question, raw, corrected) if question.is_single else None,
        )

    def start_refining(
        self,
        question: Question,
        raw: RawPrediction,
        take: Callable[[RawPrediction], None],
    ) -> RefinementTask | None:
        """Have tier 1 look at a request.

        Args:
            question: Of the request.
            raw: What tier 0 said.
            take: Told what both together say; called at once where it is remembered.

        Returns: ``None`` where nothing was begun.
        """
        model, request = question.loaded.model, question.request
        if model is None or request is None or not model.has_tier1:
            return None
        key = self._cache.key(request, question.loaded.artifact)
        remembered = self._cache.get(key)
        if remembered is not None:
            self._meter.refined(Refinement.REMEMBERED)
            take(replace(remembered, features=raw.features))
            return None

        def keep(refined: RawPrediction) -> None:
            self._cache.put(key, replace(refined, features=_NO_FEATURES))
            take(refined)

        return self.refiner.submit(lambda: model.refine(request, raw), keep)

    async def close(self) -> None:
        """Let threads end."""
        await self.refiner.close()

    def _question(self, asked: InferenceRequest, model: str, tenant: Tenant) -> Question:
        content, asked.content = asked.content or ContentFields(), None
        request = self._read(content, model, asked.max_tokens)
        if request is None:
            facts = RequestFacts(max_tokens=asked.max_tokens)
        else:
            facts = RequestFacts.of(request)
        return Question(
            self.loaded,
            tenant.id,
            model,
            asked.max_tokens,
            request,
            facts,
            self._hint(content, tenant),
            wants_one_answer(content),
        )

    def _read(
        self, content: ContentFields, model: str, max_tokens: int | None
    ) -> PredictionRequest | None:
        try:
            return read_content(content, model, max_tokens)
        except TooLarge:
            self._meter.fell_back(FallbackCause.TOO_LARGE)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            self._meter.fell_back(FallbackCause.UNREADABLE)
        except Exception as error:
            self._fell_back(FallbackCause.UNREADABLE, error)
        return None

    def _hint(self, content: ContentFields, tenant: Tenant) -> int | None:
        tokens = hinted_tokens(content)
        if tokens is None:
            return None
        self._meter.hinted(Hint.TAKEN if tenant.may_schedule else Hint.UNTRUSTED)
        return tokens if tenant.may_schedule else None

    def _ask_model(self, question: Question) -> RawPrediction | None:
        model, request = question.loaded.model, question.request
        if request is None:
            return None
        if model is None:
            self._meter.fell_back(FallbackCause.NO_BUNDLE)
            return None
        began = self._clock.now()
        if began < self._resume_at:
            self._meter.fell_back(FallbackCause.DEADLINE)
            return None
        try:
            raw = model.predict(request)
        except Exception as error:
            self._fell_back(FallbackCause.MODEL_FAILED, error)
            return None
        self._judge_time(self._clock.now() - began)
        return raw

    def _judge_time(self, seconds: float) -> None:
        """What came late is used all the same; it is the next ones that must not be held up."""
        if seconds <= self._deadline_seconds:
            self._overruns = 0
            return
        self._overruns += 1
        if self._overruns >= _OVERRUNS:
            self._overruns = 0
            self._resume_at = self._clock.now() + _PAUSE_SECONDS
            _LOG.warning("predictor_too_slow", seconds=seconds, pause_seconds=_PAUSE_SECONDS)

    def _fell_back(self, cause: FallbackCause, error: Exception) -> None:
        """Count, and log now and then: by its type, because its text may quote the request."""
        self._meter.fell_back(cause)
        now = self._clock.now()
        if now - self._logged.get(cause, -_LOG_SECONDS) >= _LOG_SECONDS:
            self._logged[cause] = now
            _LOG.error("prediction_failed", cause=str(cause), error=type(error).__name__)


def _prior(question: Question) -> Prediction:
    loaded = question.loaded
    distribution = LengthDistribution.of(
        loaded.prior, loaded.lowest, loaded.highest, question.max_tokens
    )
    return Prediction(
        question.tenant,
        question.model,
        PredictionSource.PRIOR,
        distribution,
        distribution.quantile(0.5),
        None,
    )


def _learning(question: Question, raw: RawPrediction | None, corrected: Corrected) -> Learning:
    if raw is not None:
        raw = RawPrediction(raw.log_quantiles, raw.source, _NO_FEATURES, raw.embedding)
    return Learning(question.loaded.learner, raw, corrected, question.facts)
