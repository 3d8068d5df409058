"""The hashed linear model inside tier 0: ridge regression over n-grams and request features."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import lsqr

from alise_predictor.features import BUCKETS, SCALARS, Features
from alise_predictor.train.examples import Examples, Floats

_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class LinearSettings:
    """Constants, chosen on validation prompts.

    Attributes:
        penalty: Ridge penalty.
        text_scale: N-gram features count this much against the scalars: their weights are the
            less penalised.
        source_scale: The same for the indicators of the datasets, which exist in training only.
            They take over what a dataset has in common, so that the text explains the order
            within it; at 0 the text has to explain the difference between datasets too.
        folds: Of the cross-fitted predictions.
    """

    penalty: float = 7.0
    text_scale: float = 3.0
    source_scale: float = 0.35
    folds: int = 5
    seed: int = 3


@dataclass(frozen=True, slots=True)
class LinearModel:
    """``score = bias + table[ids].sum() / sqrt(n) + scalars @ weights``.

    Attributes:
        table: float32 ``(BUCKETS,)``.
        weights: float32 ``(len(SCALARS),)``.
        bias: Of all requests.
    """

    table: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    bias: float

    def scores(self, features: list[Features]) -> Floats:
        """Predicted level of each request."""
        text = design(features) @ self.table.astype(np.float64)
        scalars = np.array([one.scalars for one in features])
        return np.asarray(text + scalars @ self.weights + self.bias, np.float64)


def design(features: list[Features]) -> sparse.csr_matrix:
    """N-gram counts divided by the root of their number, ``(n, BUCKETS)``."""
    sizes = [len(one.ids) for one in features]
    values = np.repeat(1.0 / np.sqrt(sizes), sizes)
    indices = np.concatenate([one.ids for one in features]) if features else np.zeros(0, np.int64)
    bounds = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    matrix = sparse.csr_matrix((values, indices, bounds), shape=(len(features), BUCKETS))
    matrix.sum_duplicates()
    return matrix


def fit_linear(data: Examples, settings: LinearSettings) -> LinearModel:
    """Least squares with a ridge penalty, by LSQR (Paige and Saunders 1982)."""
    return _solve(data, settings, np.arange(len(data)))


def cross_fit(data: Examples, settings: LinearSettings) -> Floats:
    """Predictions for every example by a model that saw none of its cluster, ``(n,)``."""
    random = np.random.default_rng(settings.seed)
    clusters = np.unique(data.cluster)
    fold_of = dict(
        zip(clusters.tolist(), random.integers(0, settings.folds, len(clusters)), strict=True)
    )
    fold = np.array([fold_of[cluster] for cluster in data.cluster.tolist()])
    scores = np.zeros(len(data))
    for number in range(settings.folds):
        held = np.flatnonzero(fold == number)
        if not len(held):
            continue
        model = _solve(data, settings, np.flatnonzero(fold != number))
        scores[held] = model.scores([data.features[index] for index in held])
    return scores


def _solve(data: Examples, settings: LinearSettings, rows: npt.NDArray[np.int64]) -> LinearModel:
    target = data.level
    features = [data.features[index] for index in rows]
    scalars = np.array([one.scalars for one in features], np.float64)
    weight = data.weight[rows]
    centre = np.average(scalars, axis=0, weights=weight)
    mean = float(np.average(target[rows], weights=weight))
    sources = np.unique(data.source[rows])
    indicators = data.source[rows][:, None] == sources[None, :]
    matrix = sparse.hstack(
        (
            design(features) * settings.text_scale,
            sparse.csr_matrix(scalars - centre),
            sparse.csr_matrix(indicators * settings.source_scale),
        )
    ).tocsr()
    root = np.sqrt(weight)
    solution = lsqr(
        sparse.diags(root) @ matrix,
        root * (target[rows] - mean),
        damp=np.sqrt(settings.penalty),
        iter_lim=_ROUNDS,
    )[0]
    weights = solution[BUCKETS : BUCKETS + len(SCALARS)]
    return LinearModel(
        table=(solution[:BUCKETS] * settings.text_scale).astype(np.float32),
        weights=weights.astype(np.float32),
        bias=mean - float(centre @ weights),
    )
