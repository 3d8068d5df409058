"""Everything learned of one (tenant, model): predicts, then learns from what came true."""

from collections.abc import Mapping
from math import isfinite

import numpy as np

from alise_core.prediction import LEVELS
from alise_predictor.features import SCALARS
from alise_predictor.online.affine import AffineCalibration
from alise_predictor.online.answer_window import Dense
from alise_predictor.online.blend import HeadWeights, RetrievalTrust
from alise_predictor.online.censoring import complete
from alise_predictor.online.concordance import RollingConcordance
from alise_predictor.online.conformal import ConformalQuantiles, as_scores, spread_of
from alise_predictor.online.corrected import Evidence
from alise_predictor.online.coverage import RollingCoverage
from alise_predictor.online.drift import PopulationStability
from alise_predictor.online.embedding_head import EmbeddingHead
from alise_predictor.online.facts import NUMBERS, RequestFacts
from alise_predictor.online.feature_head import FeatureHead
from alise_predictor.online.histogram import LengthHistogram
from alise_predictor.online.limits import Limits
from alise_predictor.online.retrieval import RetrievalStore, sketch
from alise_predictor.online.sparse import fold
from alise_predictor.online.state import Array, Part, State, StateError, nested, take, within
from alise_predictor.online.verdict import FallbackReason, LearnedStatistics, judge
from alise_predictor.prediction import RawPrediction

BOTTOM, TOP = 0.0, 16.0
"""No prediction leaves this range of ``log(1 + tokens)``, whatever was learned."""

_SMALL_BYTES = 40_000
"""What a key's windows and histogram take, roughly, before any head has learned."""

_DENSE_SIZE = len(SCALARS) + NUMBERS
_P10, _P90 = LEVELS.index(0.1), LEVELS.index(0.9)
_REASONS = (None, *FallbackReason)


class KeyState:
    """State of one (tenant, model); zero-initialised, so that it begins by changing nothing."""

    __slots__ = (
        "_affine", "_answers", "_by_embedding", "_by_text", "_completed", "_concordance",
        "_conformal", "_coverage", "_drift", "_fallback", "_retrieval", "_trust", "_weights",
        "histogram",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.histogram = LengthHistogram()
        self._affine = AffineCalibration()
        self._by_text = FeatureHead(_DENSE_SIZE)
        self._by_embedding = EmbeddingHead()
        self._weights = HeadWeights()
        self._trust = RetrievalTrust()
        self._retrieval = RetrievalStore(limits.retrieved, limits.retrieval_seconds)
        self._conformal = ConformalQuantiles()
        self._concordance = RollingConcordance()
        self._coverage = RollingCoverage()
        self._drift = PopulationStability()
        self._answers = 0
        self._completed = 0
        self._fallback: FallbackReason | None = None

    @property
    def size_bytes(self) -> int:
        """Estimate of the memory held."""
        heads = self._by_text.size_bytes + self._by_embedding.size_bytes
        return _SMALL_BYTES + heads + self._retrieval.size_bytes

    @property
    def fallback(self) -> FallbackReason | None:
        """Why predictions are not trusted; ``None`` when they are."""
        return self._fallback

    def predict(self, raw: RawPrediction, facts: RequestFacts, now: float) -> Evidence:
        """Correct a model's prediction.

        Args:
            raw: The model's.
            facts: Of the request.
            now: Seconds on the caller's clock.
        """
        request = fold(raw.features.ids, facts)
        numbers = _dense(raw, facts)
        base, spread = _clamped(raw.log_median), spread_of(raw.log_quantiles)
        affine = self._affine.apply(base)
        by_text = self._by_text.predict(request, numbers)
        by_embedding = self._by_embedding.predict(raw.embedding)
        centre = affine + self._weights.by_text * by_text
        centre += self._weights.by_embedding * by_embedding
        scale, retrieved, weight = spread, None, 0.0
        found = self._retrieval.find(sketch(request), now) if len(self._retrieval) else None
        if found is not None:
            share, factor = self._trust.weigh(found.weight)
            retrieved, weight = found.mean, found.weight
            centre += share * (found.mean - centre)
            scale *= factor
        scores = self._conformal.scores(as_scores(raw.log_quantiles, spread))
        return Evidence(
            base=base,
            spread=spread,
            affine=affine,
            by_text=by_text,
            by_embedding=by_embedding,
            centre=_clamped(centre),
            scale=scale,
            retrieved=retrieved,
            retrieved_weight=weight,
            log_quantiles=tuple(_clamped(centre + scale * score) for score in scores),
            request=request,
            numbers=numbers,
        )

    def learn_length(self, bound: float, censored: bool, expected: tuple[float, ...]) -> float:
        """Count a finished answer; gives its length, completed where it was cut.

        Args:
            bound: ``log(1 + tokens)`` produced.
            censored: The answer was cut there.
            expected: Quantiles that were predicted.
        """
        length = bound
        if censored:
            self._completed += 1
            length = complete(bound, expected, self._completed)
        self._answers += 1
        self.histogram.update(length)
        return length

    def learn(self, said: Evidence, raw: RawPrediction, length: float, now: float) -> None:
        """Learn from an answer what a model could have said better.

        Args:
            said: What was predicted, before the answer.
            raw: What the model said.
            length: ``log(1 + tokens)`` of the answer.
            now: Seconds on the caller's clock.
        """
        self._judge(said, raw, length)
        below = [length <= value for value in said.log_quantiles]
        self._conformal.update((length - said.centre) / said.scale, below)
        self._weigh(said, length)
        self._affine.update(said.base, length)
        line = (self._affine.offset, self._affine.slope)
        self._by_text.update(said.request, said.numbers, said.base, length, line)
        if raw.embedding is not None:
            self._by_embedding.update(raw.embedding, length - said.affine)
        self._retrieval.add(sketch(said.request), length, now)

    def statistics(self) -> LearnedStatistics:
        """What is known so far."""
        return LearnedStatistics(
            answers=self._answers,
            slope=self._affine.slope,
            offset=self._affine.offset,
            concordance=self._concordance.value(),
            coverage_p80=self._coverage.p80,
            coverage_p90=self._coverage.p90,
            drift=self._drift.value(),
            fallback=self._fallback,
        )

    def state(self) -> State:
        """For a snapshot."""
        place = _REASONS.index(self._fallback)
        found = {"counts": np.array((self._answers, self._completed, place), np.int64)}
        for name, part in self._parts().items():
            found |= nested(name, part.state())
        return found

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        answers, completed, place = map(int, take(state, "counts", np.int64, 3))
        if min(answers, completed, place) < 0 or place >= len(_REASONS):
            raise StateError("counts out of range")
        self._answers, self._completed, self._fallback = answers, completed, _REASONS[place]
        for name, part in self._parts().items():
            part.load(within(name, state))

    def _parts(self) -> dict[str, Part]:
        return {
            "histogram": self.histogram,
            "affine": self._affine,
            "text": self._by_text,
            "embedding": self._by_embedding,
            "weights": self._weights,
            "trust": self._trust,
            "retrieval": self._retrieval,
            "conformal": self._conformal,
            "concordance": self._concordance,
            "coverage": self._coverage,
            "drift": self._drift,
        }

    def _weigh(self, said: Evidence, length: float) -> None:
        self._weights.update(length - said.affine, said.by_text, said.by_embedding)
        if said.retrieved is not None:
            without = said.affine + self._weights.by_text * said.by_text
            without += self._weights.by_embedding * said.by_embedding
            self._trust.update(length - said.retrieved, length - without)

    def _judge(self, said: Evidence, raw: RawPrediction, length: float) -> None:
        low, middle, high = (said.log_quantiles[i] for i in (_P10, len(LEVELS) // 2, _P90))
        self._concordance.update(middle, length)
        self._coverage.update(is_inside=low <= length <= high, is_below_p90=length <= high)
        self._drift.update(raw.log_quantiles, length)
        self._fallback = judge(
            self._fallback, len(self._coverage), self._concordance.value(), self._coverage.p90
        )


def _dense(raw: RawPrediction, facts: RequestFacts) -> Dense:
    dense = np.empty(_DENSE_SIZE, np.float32)
    dense[: len(SCALARS)] = raw.features.scalars
    dense[len(SCALARS) :] = facts.numbers()
    return dense


def _clamped(value: float) -> float:
    return float(min(max(value, BOTTOM), TOP)) if isfinite(value) else BOTTOM
