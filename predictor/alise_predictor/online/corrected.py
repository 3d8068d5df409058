"""A prediction after correction, and what has to be remembered of it until the answer is known."""

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from alise_core.prediction import PredictionSource
from alise_predictor.online.sparse import SparseRequest


@dataclass(frozen=True, slots=True)
class Evidence:
    """What every part said before the answer was known.

    A part is judged by what it said here, never by what it says of an answer it has learned.

    Attributes:
        base: The model's median, ``log(1 + tokens)``.
        spread: The model's standard deviation in log space, from its 10 % and 90 % quantiles.
        affine: The calibrated base.
        by_text: Residual by the feature head.
        by_embedding: Residual by the embedding head; 0 where there was no embedding.
        centre: The blend of the above, and of what was retrieved.
        scale: Spread after correction.
        retrieved: Mean log length of like requests; ``None`` without any.
        retrieved_weight: How much similarity stands behind it, 1 for one exact repeat.
        log_quantiles: The corrected quantiles, also where a histogram was answered instead.
        request: The request's hashed features.
        numbers: Dense features, float32.
    """

    base: float
    spread: float
    affine: float
    by_text: float
    by_embedding: float
    centre: float
    scale: float
    retrieved: float | None
    retrieved_weight: float
    log_quantiles: tuple[float, ...]
    request: SparseRequest
    numbers: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class KnownLengths:
    """What a key's own answers have shown to be possible, in tokens.

    Predictions may go so far beyond the range that the model was trained in: one workload answers
    with a single token, another with twenty thousand.

    Attributes:
        shortest: Length that some answers have stayed at or below.
        longest: Length that some answers have reached.
    """

    shortest: float = inf
    longest: float = 0.0

    def widen(self, lowest: float, highest: float) -> tuple[float, float]:
        """A range of lengths, and what is known besides."""
        return min(lowest, self.shortest), max(highest, self.longest)


NOTHING_KNOWN = KnownLengths()


@dataclass(frozen=True, slots=True)
class Corrected:
    """What the gateway uses.

    Attributes:
        log_quantiles: ``log(1 + output tokens)`` at each of ``LEVELS``, non-decreasing, finite.
        source: Which tier, or which fallback.
        is_trusted: Whether this key's predictions have kept what they promised lately.
        evidence: For ``OnlineLearner.observe``; ``None`` when no model answered.
        known: Lengths that this key's own answers vouch for.
    """

    log_quantiles: tuple[float, ...]
    source: PredictionSource
    is_trusted: bool
    evidence: Evidence | None = None
    known: KnownLengths = NOTHING_KNOWN
