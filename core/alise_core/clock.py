"""Time as a value that is passed in: the only module of the core that reads a clock."""

import time
from typing import Protocol

from alise_core.units import Seconds


class Clock(Protocol):
    """What a component needs to know about time."""

    def now(self) -> Seconds:
        """Monotonic seconds; only differences mean something."""
        ...

    def unix(self) -> Seconds:
        """Seconds since the Unix epoch, for logs and protocol fields; never for durations."""
        ...


class MonotonicClock:
    """The process's clock."""

    __slots__ = ()

    def now(self) -> Seconds:
        """Read the monotonic clock."""
        return Seconds(time.monotonic())

    def unix(self) -> Seconds:
        """Read the wall clock."""
        return Seconds(time.time())  # noqa: TID251  the one place that may
