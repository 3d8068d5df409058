"""Finished requests once more, in file order: what would have been predicted, and how fast.

Learning in place is the gateway's own: each request is predicted before its answer is learned, and
with a delay an answer is learned only after that many more requests, as when requests overlap.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alise_core.clock import Clock
from alise_core.prediction import LEVELS, LengthDistribution
from alise_predictor.artifact import Description
from alise_predictor.evaluation.ranking import Floats
from alise_predictor.evaluation.samples import Sample
from alise_predictor.online import NOTHING_KNOWN, Corrected, KnownLengths, RequestFacts
from alise_predictor.prediction import RawPrediction
from alise_predictor.request import PredictionRequest, from_prompt
from alise_predictor.serving import PredictorError

_WARM_UP = from_prompt("Hello", "")
_SECONDS_APART = 1.0
"""Between requests of a file without timestamps."""


class Predictor(Protocol):
    """What of ``LengthPredictor`` is evaluated."""

    @property
    def manifest(self) -> Description:
        """Ranges and prior."""
        ...

    def predict(self, request: PredictionRequest) -> RawPrediction:
        """Tier 0."""
        ...

    def refine(self, request: PredictionRequest, first: RawPrediction) -> RawPrediction:
        """Tier 1 averaged with tier 0."""
        ...


class Learner(Protocol):
    """What of ``OnlineLearner`` is used."""

    def correct(
        self,
        tenant: str,
        model: str,
        raw: RawPrediction | None,
        facts: RequestFacts,
        now: float,
    ) -> Corrected:
        """The prediction to use."""
        ...

    def observe(  # noqa: PLR0913  OnlineLearner's
        self,
        tenant: str,
        model: str,
        raw: RawPrediction | None,
        corrected: Corrected,
        facts: RequestFacts,
        output_tokens: int,
        *,
        censored: bool,
        now: float,
    ) -> None:
        """Learn from a finished answer."""
        ...


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of it, row by row in file order.

    Attributes:
        tokens: True output tokens, shape ``(n,)``.
        models: Who answered.
        static: ``log(1 + tokens)`` at each of ``LEVELS`` as the model says it, shape
            ``(n, len(LEVELS))``; clamped to the range of training and to ``max_tokens``.
        learned: The same after correction; ``None`` without learning.
        seconds: What each prediction took: features, tiers, and correction if there is one.
        failed: Predictions that the model refused; the fallback stands in their place.
    """

    tokens: npt.NDArray[np.int64]
    models: tuple[str, ...]
    static: Floats
    learned: Floats | None
    seconds: Floats
    failed: int

    @property
    def served(self) -> Floats:
        """The quantiles that the gateway would have used."""
        return self.static if self.learned is None else self.learned


def replay(
    samples: Sequence[Sample],
    predictor: Predictor,
    clock: Clock,
    *,
    refine: bool = False,
    learner: Learner | None = None,
    delay: int = 0,
) -> Replayed:
    """Predict every request in order.

    Args:
        samples: In file order; with learning that is the order of events.
        predictor: Opened.
        clock: Read before and after every prediction.
        refine: Every request gets tier 1 too, as if it had waited in the queue.
        learner: Learns as it goes; ``None`` for the static model.
        delay: Further requests that are predicted before an answer is learned.
    """
    run = _Run(predictor, clock, refine=refine, learner=learner, delay=delay)
    run.warm_up()
    for sample in samples:
        run.step(sample)
    return run.result([sample.output_tokens for sample in samples])


class _Run:
    """One replay in progress."""

    def __init__(
        self,
        predictor: Predictor,
        clock: Clock,
        *,
        refine: bool,
        learner: Learner | None,
        delay: int,
    ) -> None:
        self._predictor = predictor
        self._manifest = predictor.manifest
        self._clock = clock
        self._refine = refine
        self._learner = learner
        self._delay = delay
        self._running: deque[tuple[Sample, RawPrediction | None, Corrected]] = deque()
        self._now = 0.0
        self._models: list[str] = []
        self._static: list[tuple[float, ...]] = []
        self._learned: list[tuple[float, ...]] = []
        self._seconds: list[float] = []
        self._failed = 0

    def warm_up(self) -> None:
        """One call that is not timed: tables that are built once are no part of a prediction."""
        self._predict(_WARM_UP)

    def step(self, sample: Sample) -> None:
        """Predict a request, then learn the answers that are due."""
        request = sample.request
        self._advance(sample)
        begin = self._clock.now()
        raw = self._predict(request)
        corrected = None if self._learner is None else self._correct(self._learner, sample, raw)
        self._seconds.append(self._clock.now() - begin)
        self._failed += raw is None
        self._models.append(request.model)
        prior = self._manifest.prior.log_quantiles
        self._static.append(self._clamped(prior if raw is None else raw.log_quantiles, request))
        if self._learner is None or corrected is None:
            return
        known = corrected.known
        self._learned.append(self._clamped(corrected.log_quantiles, request, known))
        self._running.append((sample, raw, corrected))
        if len(self._running) > self._delay:
            self._observe(self._learner, *self._running.popleft())

    def result(self, tokens: list[int]) -> Replayed:
        """Everything so far, as columns."""
        return Replayed(
            tokens=np.asarray(tokens, np.int64),
            models=tuple(self._models),
            static=np.asarray(self._static, np.float64).reshape(-1, len(LEVELS)),
            learned=None
            if self._learner is None
            else np.asarray(self._learned, np.float64).reshape(-1, len(LEVELS)),
            seconds=np.asarray(self._seconds, np.float64),
            failed=self._failed,
        )

    def _advance(self, sample: Sample) -> None:
        """Time as the learner sees it: never backwards, whatever the file's timestamps do."""
        stamp = sample.timestamp
        self._now = self._now + _SECONDS_APART if stamp is None else max(self._now, stamp)

    def _predict(self, request: PredictionRequest) -> RawPrediction | None:
        try:
            first = self._predictor.predict(request)
            return self._predictor.refine(request, first) if self._refine else first
        except PredictorError:
            return None

    def _correct(self, learner: Learner, sample: Sample, raw: RawPrediction | None) -> Corrected:
        request = sample.request
        facts = RequestFacts.of(request)
        return learner.correct(sample.tenant, request.model, raw, facts, self._now)

    def _observe(
        self,
        learner: Learner,
        sample: Sample,
        raw: RawPrediction | None,
        corrected: Corrected,
    ) -> None:
        learner.observe(
            sample.tenant,
            sample.request.model,
            raw,
            corrected,
            RequestFacts.of(sample.request),
            sample.output_tokens,
            censored=sample.is_censored,
            now=self._now,
        )

    def _clamped(
        self,
        log_quantiles: Sequence[float],
        request: PredictionRequest,
        known: KnownLengths = NOTHING_KNOWN,
    ) -> tuple[float, ...]:
        """As the gateway uses them: ordered, in the range that is known, below ``max_tokens``."""
        manifest = self._manifest
        lowest, highest = known.widen(manifest.lowest_tokens, manifest.highest_tokens)
        distribution = LengthDistribution.of(log_quantiles, lowest, highest, request.max_tokens)
        return tuple(log1p(distribution.quantile(level)) for level in LEVELS)
