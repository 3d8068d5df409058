"""All candidates in the order in which they are fitted and shown."""

from alise_predictor.train.candidates.bag_mlp import BagMlp
from alise_predictor.train.candidates.base import Candidate
from alise_predictor.train.candidates.constant import Constant
from alise_predictor.train.candidates.distilled import DistilledTier0
from alise_predictor.train.candidates.fine_tuned import fine_tuned_candidates
from alise_predictor.train.candidates.frozen_encoder import frozen_candidates
from alise_predictor.train.candidates.hand_boosting import HandBoosting
from alise_predictor.train.candidates.hashed import hashed_candidates
from alise_predictor.train.candidates.prompt_length import PromptLength
from alise_predictor.train.candidates.retrieval import retrieval_candidates

QUICK = ("constant", "prompt_length", "hand_boosting", "tier0", "tier0_undistilled", "bag_mlp")
"""What a first look compares: nothing that needs the encoder."""


def all_candidates() -> list[Candidate]:
    """Every candidate; those that build on others come after them."""
    return [
        Constant(),
        PromptLength(),
        HandBoosting(),
        DistilledTier0(),
        *hashed_candidates(),
        BagMlp(),
        *frozen_candidates(),
        *retrieval_candidates(),
        *fine_tuned_candidates(),
    ]
