"""Host memory as numbered extents that are handed out and taken back; pure.

The numbers below the limit that are free are those given back, plus all from ``_fresh`` on that
are not ``_stray``: in use from a time when the limit was higher.
"""

from collections.abc import Iterable


class ExtentPool:
    """Extents 0 up to a limit that may change at any time.

    Args:
        limit: How many there are.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._given_back: list[int] = []
        self._fresh = 0
        self._stray: set[int] = set()

    @property
    def free(self) -> int:
        """How many can be taken; 0 while more are in use than the limit allows."""
        return max(0, self.limit - self.used)

    @property
    def end(self) -> int:
        """One more than the highest number that is or may be in use."""
        return max(self.limit, max(self._stray, default=-1) + 1)

    def take(self, count: int) -> list[int]:
        """Take extents, next to each other where possible; at most ``free``."""
        cut = max(0, len(self._given_back) - count)
        taken = self._given_back[cut:]
        taken.reverse()
        del self._given_back[cut:]
        while len(taken) < count:
            if self._fresh not in self._stray:
                taken.append(self._fresh)
            else:
                self._stray.remove(self._fresh)
            self._fresh += 1
        self.used += count
        return taken

    def replace(self, extent: int) -> int | None:
        """Take one below the limit for one that is not; None when all of those are in use."""
        if self.limit - self.used + sum(1 for stray in self._stray if stray >= self.limit) < 1:
            return None
        (taken,) = self.take(1)
        self.give([extent])
        return taken

    def clear(self) -> None:
        """Take everything back."""
        self.used = self._fresh = 0
        self._given_back = []
        self._stray = set()

    def give(self, extents: Iterable[int]) -> None:
        """Take back what is no longer in use."""
        for extent in reversed(list(extents)):
            self.used -= 1
            if extent in self._stray:
                self._stray.remove(extent)
            elif extent < self.limit:
                self._given_back.append(extent)

    def resize(self, limit: int, in_use: Iterable[int]) -> None:
        """Change the limit.

        Args:
            limit: How many extents there are from now on.
            in_use: Extents in use; those that are not below both limits matter.
        """
        lower = min(self.limit, limit)
        beyond = {extent for extent in in_use if extent >= lower}
        self._given_back = [extent for extent in self._given_back if extent < lower]
        self._fresh = min(self._fresh, lower)
        self._stray = beyond
        self.limit = limit
