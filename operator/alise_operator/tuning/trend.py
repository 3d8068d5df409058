"""Where a pool's need for KV memory is going over the next hour. Pure.

A change that restarts pods takes their capacity away one by one, for minutes each. Begun when
memory has run out it makes things worse; it has to begin while there is room, for a need that is
still to come. Level and slope are smoothed apart (Holt's linear method), over tens of minutes: a
burst is no trend, a morning is.
"""

from dataclasses import dataclass
from math import exp

LEVEL_SECONDS = 600.0
SLOPE_SECONDS = 1_800.0
FILLING_SECONDS = 3.0 * LEVEL_SECONDS
"""Empty pods that fill are no trend: until the level has caught up with the need, none is read off
it."""
_FORGET_SECONDS = 1_800.0
"""After so long without a look a trend says nothing."""
RESTART_SECONDS = 420.0
"""Of one pod: what it runs ends, the next one loads its weights. An estimate; with 24 GB and more
of weights and answers of some minutes."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Need by the capacity of the pool's pods with exact KV.

    Attributes:
        level: Smoothed.
        slope: Per second, smoothed.
        at: Unix seconds of the last look.
        begun: Unix seconds of the first one.
    """

    level: float
    slope: float
    at: float
    begun: float

    def seen(self, need: float, now: float) -> "Trend":
        """After one more look."""
        elapsed = now - self.at
        if elapsed <= 0:
            return self
        if elapsed > _FORGET_SECONDS:
            return first(need, now)
        weight = 1.0 - exp(-elapsed / LEVEL_SECONDS)
        level = weight * need + (1.0 - weight) * (self.level + self.slope * elapsed)
        if now - self.begun < FILLING_SECONDS:
            return Trend(level, 0.0, now, self.begun)
        turn = 1.0 - exp(-elapsed / SLOPE_SECONDS)
        slope = turn * (level - self.level) / elapsed + (1.0 - turn) * self.slope
        return Trend(level, slope, now, self.begun)

    def after(self, seconds: float) -> float:
        """What it comes to if it goes on; never less than now, for it may stop falling.

        A pool that has just been filled, or is seen for the first time, has no trend yet.
        """
        slope = self.slope if self.at - self.begun >= FILLING_SECONDS + SLOPE_SECONDS else 0.0
        return max(0.0, self.level, self.level + slope * seconds)


def first(need: float, now: float) -> Trend:
    """After the first look."""
    return Trend(need, 0.0, now, now)


def seen(trend: Trend | None, need: float, now: float) -> Trend:
    """After one more look, or the first."""
    return first(need, now) if trend is None else trend.seen(need, now)


FORESIGHT = 2.0
"""How far a trend is followed, by the time that a restarting change takes."""


def restart_lead(pods: int, observe_seconds: float) -> float:
    """Seconds from the begin of a restarting change until all pods have it."""
    return observe_seconds + pods * RESTART_SECONDS
