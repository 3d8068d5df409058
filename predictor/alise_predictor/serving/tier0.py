"""Tier 0: hashed n-grams through a small graph, microseconds."""

import numpy as np

from alise_core.prediction import LEVELS
from alise_predictor.artifact import TIER0, Bundle
from alise_predictor.features import BUCKETS, SCALARS, Features
from alise_predictor.serving.graph import Graph, float32, int64

_INPUTS = (int64("ids", None), float32("scalars", len(SCALARS)))
_OUTPUTS = (float32("log_quantiles", len(LEVELS)),)


class Tier0:
    """The bag-of-n-grams model of a bundle.

    Args:
        bundle: Verified.

    Raises:
        ArtifactError: Its graph is not one of tier 0 or computes nonsense.
    """

    __slots__ = ("_graph",)

    def __init__(self, bundle: Bundle) -> None:
        where = str(bundle.directory / TIER0)
        self._graph = Graph(bundle.read(TIER0), where, _INPUTS, _OUTPUTS)
        scalars = np.zeros(len(SCALARS), np.float32)
        # One feature, and all there are: that finds a table that is too short or has a hole.
        for ids in (np.zeros(1, np.int64), np.arange(BUCKETS, dtype=np.int64)):
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
