"""What a model says about one request, before anything learned in place is applied."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alise_core.prediction import PredictionSource
from alise_predictor.features import Features

Embedding = npt.NDArray[np.float32]
"""Pooled, l2-normalised output of the encoder, shape ``(d,)``."""


@dataclass(frozen=True, slots=True)
class RawPrediction:
    """A model's answer and what online learning needs of the request; never its text.

    Attributes:
        log_quantiles: ``log(1 + output tokens)`` at each of ``alise_core.prediction.LEVELS``,
            non-decreasing, inside the artifact's training range.
        source: Which tier answered.
        features: What tier 0 saw.
        embedding: The encoder's view, where tier 1 ran.
    """

    log_quantiles: tuple[float, ...]
    source: PredictionSource
    features: Features
    embedding: Embedding | None = None

    @property
    def log_median(self) -> float:
        """``log(1 + tokens)`` at probability one half."""
        return self.log_quantiles[len(self.log_quantiles) // 2]
