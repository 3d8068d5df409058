"""A request's prediction as the stages after ``predict`` see it, and its closed label sets."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from alise_core.prediction import LengthDistribution, PredictionSource
from alise_core.record import PredictedLength

if TYPE_CHECKING:  # numpy is not loaded into gateways that do not predict
    from alise_predictor.online import Corrected, OnlineLearner, RequestFacts
    from alise_predictor.prediction import RawPrediction


class FallbackCause(StrEnum):
    """Why a prediction did not come from a model; a metric label."""

    NO_BUNDLE = "no_bundle"
    """None could be loaded yet."""
    UNREADABLE = "unreadable"
    """The body's content is no JSON where intake did not look."""
    TOO_LARGE = "too_large"
    """The content has too many parts to be told apart in time."""
    MODEL_FAILED = "model_failed"
    """The model raised, or gave something that is no prediction."""
    DEADLINE = "deadline"
    """The model took too long lately and is left alone for a while."""
    LEARNING_FAILED = "learning_failed"
    """What was learned could not be applied."""
    DISTRUSTED = "distrusted"
    """The tenant's traffic has shown that the model misjudges it."""


class Refinement(StrEnum):
    """What became of a refinement; a metric label."""

    DONE = "done"
    REMEMBERED = "remembered"
    """The same prompt was refined before."""
    CANCELLED = "cancelled"
    """The request did not wait long enough."""
    CROWDED_OUT = "crowded_out"
    """Newer requests filled the backlog."""
    LATE = "late"
    """It took longer than allowed."""
    FAILED = "failed"


class Hint(StrEnum):
    """What became of a client's hint; a metric label."""

    TAKEN = "taken"
    UNTRUSTED = "untrusted"
    """Its tenant may not schedule."""


class SnapshotOperation(StrEnum):
    """What is done with what was learned; a metric label."""

    SAVE = "save"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class LearnedFigures:
    """What is known of the predictions of one tenant's requests to one model.

    Attributes:
        tenant: Who asks.
        model: Which served model answers.
        answers: Finished answers learned from.
        concordance: Share of recent pairs that were predicted in the right order.
        coverage_p80: Share of recent answers between the predicted p10 and p90.
        coverage_p90: Share of recent answers at or below the predicted p90.
        drift: Population stability index of recent lengths.
        fallback: Why the model is not trusted here; ``None`` when it is.
    """

    tenant: str
    model: str
    answers: int
    concordance: float | None
    coverage_p80: float | None
    coverage_p90: float | None
    drift: float | None
    fallback: str | None


@dataclass(frozen=True, slots=True)
class Learning:
    """What is learned from an answer, once its length is known.

    Attributes:
        learner: Who made the correction and learns from it.
        raw: What the model said; ``None`` when it did not answer.
        corrected: What the learner made of it.
        facts: Of the request.
    """

    learner: "OnlineLearner"
    raw: "RawPrediction | None"
    corrected: "Corrected"
    facts: "RequestFacts"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One request's prediction.

    Attributes:
        tenant: Who asks.
        model: Which served model answers.
        source: What predicted it.
        distribution: Of the output tokens, of one choice.
        median: Of the distribution.
        learning: For ``learn``; ``None`` where nothing can be learned from the answer.
    """

    tenant: str
    model: str
    source: PredictionSource
    distribution: LengthDistribution
    median: float
    learning: Learning | None

    def recorded(self) -> PredictedLength:
        """The figures that logs and metrics show."""
        known = self.distribution
        return PredictedLength(
            self.source, known.quantile(0.1), self.median, known.quantile(0.9), known.mean()
        )
