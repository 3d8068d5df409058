"""How long the answers of one model have been for all tenants: what a new tenant is told.

A tenant's say is bounded. The total is kept up to date with every answer, in whole grains, because
sums of integers come apart again without a remainder however often a tenant's part is replaced.
"""

import numpy as np
import numpy.typing as npt

from alise_predictor.online.histogram import BINS, Mass, quantiles

TENANT_WEIGHT = 50.0
"""Answers' worth that one tenant counts at most in its model's histogram."""

PRIOR_WEIGHT = 50.0
"""Answers' worth of prior in a model's histogram."""

_GRAINS = 2.0**40
"""Of an answer: 64 bits hold the sum of 160,000 tenants."""

_Grains = npt.NDArray[np.int64]


class ModelPool:
    """A model's histogram out of its tenants' and the prior.

    No tenant moves more than ``TENANT_WEIGHT / (TENANT_WEIGHT + PRIOR_WEIGHT + others)`` of the
    mass, however many answers it has had.

    Args:
        prior: Mass 1 over the bins.
    """

    __slots__ = ("_prior", "_quantiles", "_tenants", "_total")

    def __init__(self, prior: Mass) -> None:
        self._prior = prior * PRIOR_WEIGHT
        self._total: _Grains = np.zeros(BINS, np.int64)
        self._tenants: dict[str, _Grains] = {}
        self._quantiles: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self._tenants)

    @property
    def mass(self) -> Mass:
        """Answers' worth in each bin."""
        return np.asarray(self._prior + self._total / _GRAINS, np.float64)

    def quantiles(self) -> tuple[float, ...]:
        """``log(1 + tokens)`` at each of ``LEVELS``."""
        if self._quantiles is None:
            # The same for every request until a tenant's next answer.
            self._quantiles = quantiles(self.mass)
        return self._quantiles

    def put(self, tenant: str, mass: Mass) -> None:
        """Count a tenant's histogram in place of the one it had."""
        answers = float(mass.sum())
        weight = min(answers, TENANT_WEIGHT) / answers if answers > 0 else 0.0
        grains = (mass * (weight * _GRAINS)).astype(np.int64)
        self.drop(tenant)
        self._total += grains
        self._tenants[tenant] = grains

    def drop(self, tenant: str) -> None:
        """Count a tenant no more."""
        self._quantiles = None
        before = self._tenants.pop(tenant, None)
        if before is not None:
            self._total -= before
