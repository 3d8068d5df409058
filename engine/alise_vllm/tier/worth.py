"""Whether to load KV from host memory or to compute it anew, from what both have cost; pure.

KV that was swapped out has been copied once and is copied once more, so it is loaded only where
twice the copy costs less than the computation. Both prices are measured in this engine, under its
load, and follow it: the older an observation, the less it counts.
"""

from dataclasses import dataclass

OUT_AND_BACK = 2.0
"""Copies that a swap takes."""
KEEP = 0.98
"""What an observation is worth after the next one; about 50 of them count."""
FEWEST = 8
"""Observations of each kind before anything is declined."""


@dataclass(slots=True)
class Line:
    """A cost as ``fixed + each * size``, by least squares with fading weights."""

    count: int = 0
    _weight: float = 0.0
    _size: float = 0.0
    _cost: float = 0.0
    _size_size: float = 0.0
    _size_cost: float = 0.0

    def observe(self, size: float, cost: float) -> None:
        """One observation."""
        self.count += 1
        self._weight = self._weight * KEEP + 1
        self._size = self._size * KEEP + size
        self._cost = self._cost * KEEP + cost
        self._size_size = self._size_size * KEEP + size * size
        self._size_cost = self._size_cost * KEEP + size * cost

    @property
    def each(self) -> float | None:
        """What one unit more costs; None without observations.

        With sizes that are all alike, or where more seems to cost less, it is the whole cost
        shared by all: the fixed part cannot be told from the rest then.
        """
        if not self._size:
            return None
        spread = self._weight * self._size_size - self._size**2
        shared = self._cost / self._size
        if spread <= 1e-9 * self._weight * self._size_size:
            return shared
        slope = (self._weight * self._size_cost - self._size * self._cost) / spread
        return slope if 0 < slope < shared else shared


@dataclass(slots=True)
class Worth:
    """Decides for one engine.

    Attributes:
        declined_tokens: Tokens that were computed anew although they were in host memory.
    """

    copies: Line
    steps: Line
    declined_tokens: int = 0

    def to_load(self, tokens: int, size_bytes: int) -> bool:
        """Whether tokens are loaded rather than computed.

        Args:
            tokens: That the KV is of.
            size_bytes: As it lies in host memory.
        """
        if min(self.copies.count, self.steps.count) < FEWEST:
            return True
        copy, compute = self.copies.each, self.steps.each
        if copy is None or compute is None:
            return True
        if OUT_AND_BACK * copy * size_bytes < compute * tokens:
            return True
        self.declined_tokens += tokens
        return False
