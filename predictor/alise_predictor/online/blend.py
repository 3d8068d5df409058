"""How much each part may contribute: as much as it has proven on answers it had not seen.

Every figure here is prequential: a part's prediction is taken before its answer was learned. With
nothing proven the blend is the calibrated base alone.
"""

from collections.abc import Mapping
from math import sqrt

import numpy as np

from alise_predictor.online.state import Array, State, take

KEEP = 1.0 - 1.0 / 500
DOUBT = 0.2
"""Squared log units of contribution that have to be outweighed before a head counts in full."""

MOST_RESIDUAL = 1.5


class HeadWeights:
    """Non-negative least squares of the residual on what two heads said of it."""

    __slots__ = ("_sums", "by_embedding", "by_text")

    def __init__(self) -> None:
        # text*text, text*embedding, embedding*embedding, residual*text, residual*embedding
        self._sums = [0.0] * 5
        self.by_text = 0.0
        self.by_embedding = 0.0

    def update(self, residual: float, text: float, embedding: float) -> None:
        """Learn one answer; all in log units, the residual against the calibrated base."""
        residual = min(max(residual, -MOST_RESIDUAL), MOST_RESIDUAL)
        new = (
            text * text,
            text * embedding,
            embedding * embedding,
            residual * text,
            residual * embedding,
        )
        self._sums = [KEEP * old + value for old, value in zip(self._sums, new, strict=True)]
        self._solve()

    def state(self) -> State:
        """For a snapshot."""
        return {"sums": np.array(self._sums)}

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        self._sums = [float(value) for value in take(state, "sums", np.float64, 5)]
        self._solve()

    def _solve(self) -> None:
        tt, te, ee, rt, re = self._sums
        tt, ee = max(tt, 0.0) + DOUBT, max(ee, 0.0) + DOUBT
        determinant = tt * ee - te * te
        text = (rt * ee - re * te) / determinant if determinant > 0 else 0.0
        embedding = (re * tt - rt * te) / determinant if determinant > 0 else 0.0
        if text < 0 or embedding < 0:
            # At most one is active at the optimum: the one that explains more by itself.
            alone_text, alone_embedding = max(rt, 0.0) / tt, max(re, 0.0) / ee
            if alone_text * rt >= alone_embedding * re:
                text, embedding = alone_text, 0.0
            else:
                text, embedding = 0.0, alone_embedding
        self.by_text = min(text, 1.0)
        self.by_embedding = min(embedding, 1.0)


RETRIEVAL_KEEP = 0.97
RETRIEVAL_VARIANCE = 0.2
"""Squared log units by which retrieved lengths are assumed to be off before any were seen."""

RETRIEVAL_PSEUDO_HITS = 2.0
LEAST_SCALE = 0.1


class RetrievalTrust:
    """Precision of retrieved lengths against that of everything else, on requests that had both."""

    __slots__ = ("_hits", "_others", "_retrieved")

    def __init__(self) -> None:
        self._hits = self._retrieved = self._others = 0.0

    def update(self, retrieved_error: float, other_error: float) -> None:
        """Learn one answer for which something was retrieved; errors in log units."""
        bound = MOST_RESIDUAL
        retrieved_error = min(max(retrieved_error, -bound), bound)
        other_error = min(max(other_error, -bound), bound)
        self._hits = RETRIEVAL_KEEP * self._hits + 1.0
        self._retrieved = RETRIEVAL_KEEP * self._retrieved + retrieved_error * retrieved_error
        self._others = RETRIEVAL_KEEP * self._others + other_error * other_error

    def weigh(self, support: float) -> tuple[float, float]:
        """Share of the retrieved mean, and the factor on the spread that goes with it.

        Args:
            support: Sum of similarity weights behind the retrieved mean.
        """
        believed = RETRIEVAL_PSEUDO_HITS * RETRIEVAL_VARIANCE
        hits = self._hits + RETRIEVAL_PSEUDO_HITS
        retrieved = (self._retrieved + believed) / hits * (0.5 + 0.5 / max(support, 0.1)) + 1e-4
        others = (self._others + believed) / hits + 1e-4
        share = others / (others + retrieved)
        share *= min(1.0, support)
        left = (1.0 - share) ** 2 * others + share**2 * retrieved
        return share, max(LEAST_SCALE, min(1.0, sqrt(left / others)))

    def state(self) -> State:
        """For a snapshot."""
        return {"sums": np.array((self._hits, self._retrieved, self._others))}

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        sums = np.maximum(take(state, "sums", np.float64, 3), 0.0)
        self._hits, self._retrieved, self._others = map(float, sums)
