"""Learning in place: from finished answers to better predictions, for each tenant and model.

Pure: no clock, no I/O, no randomness. ``learner.OnlineLearner`` is the entrance.
"""

from alise_predictor.online.corrected import NOTHING_KNOWN, Corrected, KnownLengths
from alise_predictor.online.facts import RequestFacts
from alise_predictor.online.learner import OnlineLearner
from alise_predictor.online.limits import Limits
from alise_predictor.online.snapshot import SnapshotError
from alise_predictor.online.verdict import FallbackReason, LearnedStatistics

__all__ = [
    "NOTHING_KNOWN",
    "Corrected",
    "FallbackReason",
    "KnownLengths",
    "LearnedStatistics",
    "Limits",
    "OnlineLearner",
    "RequestFacts",
    "SnapshotError",
]
