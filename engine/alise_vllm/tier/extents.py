"""Host memory as numbered extents that are handed out and taken back; pure.

One byte an extent says whether it is in use. What is free is found lazily: first among those given
back, then from ``_fresh`` on; an entry that is in use or beyond the limit by then is passed over.
"""

from collections.abc import Sequence


class ExtentPool:
    """Extents 0 up to a limit that may change at any time.

    Those in use stay in use when the limit falls below them.

    Attributes:
        limit: How many there are.
        used: How many are in use.
        stray: How many of those are not below the limit.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.stray = 0
        self._in_use = bytearray(limit)
        self._given_back: list[int] = []
        self._fresh = 0

    @property
    def free(self) -> int:
        """How many can be taken; 0 while more are in use than the limit allows."""
        return max(0, self.limit - self.used)

    @property
    def end(self) -> int:
        """No extent from here on is in use, or will be before the limit rises."""
        return max(self.limit, self._in_use.rfind(1) + 1) if self.stray else self.limit

    def take(self, count: int) -> list[int]:
        """Take extents, next to each other where possible; at most ``free``."""
        taken: list[int] = []
        while len(taken) < count:
            if self._given_back:
                extent = self._given_back.pop()
            else:
                extent = self._fresh
                self._fresh += 1
            if extent < self.limit and not self._in_use[extent]:
                self._in_use[extent] = 1
                taken.append(extent)
        self.used += count
        return taken

    def give(self, extents: Sequence[int]) -> None:
        """Take back what is no longer in use."""
        for extent in extents:
            self._in_use[extent] = 0
            self.stray -= extent >= self.limit
        self.used -= len(extents)
        # The last is taken first: neighbours stay neighbours.
        self._given_back.extend(reversed(extents))

    def replace(self, extent: int) -> int | None:
        """Take one below the limit for one that is not; None when all of those are in use."""
        if self.limit - self.used + self.stray < 1:
            return None
        (taken,) = self.take(1)
        self.give([extent])
        return taken

    def resize(self, limit: int) -> None:
        """Change the limit."""
        if limit > len(self._in_use):
            self._in_use.extend(bytes(limit - len(self._in_use)))
        self._fresh = min(self._fresh, self.limit, limit)
        self.limit = limit
        self.stray = self._in_use.count(1, limit)

    def clear(self) -> None:
        """Take everything back."""
        self.used = self.stray = self._fresh = 0
        self._given_back = []
        self._in_use = bytearray(self.limit)
