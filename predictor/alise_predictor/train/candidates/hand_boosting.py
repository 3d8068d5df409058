"""Gradient boosting on hand-made features, one model for each quantile (LightGBM)."""

import lightgbm
import numpy as np
import numpy.typing as npt

from alise_core.prediction import LEVELS
from alise_predictor.train.candidates.base import Context, Fitted, Prompts, Quantiles, flat_answers
from alise_predictor.train.candidates.hand_features import hand_features
from alise_predictor.train.examples import Examples

_ANSWERS = 3
_ROUNDS, _QUICK_ROUNDS = 250, 60


class HandBoosting:
    """Trees over cue words, counts and shares."""

    name = "hand_boosting"
    summary = "hand-made features, gradient-boosted trees for each quantile"

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """Seven boosters on single answers."""
        rows, targets = flat_answers(examples, _ANSWERS, context.seed)
        counts = np.bincount(rows, minlength=len(examples))
        inputs = _matrix(context, examples.prompts)
        data = lightgbm.Dataset(
            inputs[rows], targets, weight=examples.weight[rows] / counts[rows], free_raw_data=False
        )
        rounds = _QUICK_ROUNDS if context.quick else _ROUNDS
        boosters = [_train(data, level, rounds, context.seed) for level in LEVELS]

        def of(matrix: npt.NDArray[np.float32]) -> Quantiles:
            raw = np.stack([one.predict(matrix, num_threads=1) for one in boosters], axis=1)
            return np.clip(np.sort(raw, axis=1), *context.span).astype(np.float32)

        def log_quantiles(prompts: Prompts) -> Quantiles:
            return of(_matrix(context, prompts))

        return Fitted(
            log_quantiles,
            size_bytes=sum(len(one.model_to_string()) for one in boosters),
            predict_one=lambda request: of(hand_features(request)[None]),
        )


def _matrix(context: Context, prompts: Prompts) -> npt.NDArray[np.float32]:
    return np.stack([hand_features(context.prompts.request(one)) for one in prompts.tolist()])


def _train(data: lightgbm.Dataset, level: float, rounds: int, seed: int) -> lightgbm.Booster:
    settings = {
        "objective": "quantile",
        "alpha": level,
        "num_leaves": 31,
        "learning_rate": 0.06,
        "min_data_in_leaf": 40,
        "feature_fraction": 0.7,
        "num_threads": 1,
        "deterministic": True,
        "seed": seed,
        "verbosity": -1,
    }
    return lightgbm.train(settings, data, num_boost_round=rounds)
