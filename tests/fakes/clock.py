"""A clock that moves only when a test moves it."""

from alise_core.units import Seconds


class FakeClock:
    """Implements ``alise_core.clock.Clock``; both readings advance together.

    Args:
        now: First monotonic reading, in seconds.
        unix: First wall-clock reading, in seconds since the epoch.
    """

    def __init__(self, now: float = 1_000.0, unix: float = 1_750_000_000.0) -> None:
        self._now = float(now)
        self._unix = float(unix)

    def now(self) -> Seconds:
        return Seconds(self._now)

    def unix(self) -> Seconds:
        return Seconds(self._unix)

    def advance(self, seconds: float) -> Seconds:
        """Move both readings forward and return the new monotonic one; never backwards."""
        if seconds < 0:
            raise ValueError(f"a clock does not run backwards: advance({seconds})")
        self._now += seconds
        self._unix += seconds
        return self.now()
