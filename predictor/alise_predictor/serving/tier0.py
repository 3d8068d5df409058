"""Tier 0: hashed n-grams through a small graph, microseconds."""

import numpy as np

from alise_core.prediction import LEVELS
from alise_predictor.artifact import TIER0, Bundle
from alise_predictor.features import BUCKETS, SCALARS, Features
from alise_predictor.serving.graph import Graph, float32, int64

_INPUTS = (int64("ids", None), float32("scalars", len(SCALARS)))
_OUTPUTS = (float32("log_quantiles", len(LEVELS)),)

_PROBED_AT_ONCE = 4_096
"""Fewer than the longest text has."""


class Tier0:
    """The bag-of-n-grams model of a bundle.

    Args:
        bundle: Verified.

    Raises:
        ArtifactError: Its graph is not one of tier 0 or computes nonsense.
    """

    __slots__ = ("_graph",)

    def __init__(self, bundle: Bundle) -> None:
        with bundle.unchanged(TIER0) as path:
            self._graph = Graph(path, _INPUTS, _OUTPUTS)
        scalars = np.zeros(len(SCALARS), np.float32)
        self._graph.probe({"ids": np.zeros(1, np.int64), "scalars": scalars}, _OUTPUTS)
        # Every bucket once finds a table that is too short or has a hole; in portions, because
        # memory that was used once stays with the process.
        for first in range(0, BUCKETS, _PROBED_AT_ONCE):
            ids = np.arange(first, min(first + _PROBED_AT_ONCE, BUCKETS), dtype=np.int64)
            self._graph.probe({"ids": ids, "scalars": scalars}, _OUTPUTS)

    def log_quantiles(self, features: Features) -> list[float]:
        """``log(1 + tokens)`` at each level, as the graph gives it.

        Args:
            features: Of the request.

        Raises:
            PredictorError: The graph cannot be run.
        """
        (output,) = self._graph.run({"ids": features.ids, "scalars": features.scalars})
        values: list[float] = output.tolist()
        return values
