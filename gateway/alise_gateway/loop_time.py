"""Time in which the event loop ran: by it the gateway judges how long others kept silent. Pure.

A process that gets no CPU for seconds (a throttled container, a paused virtual machine) wakes up
to a timer that is due before it has read what came meanwhile. By the wall's time the backend it
was dialling and the client it was reading from would have been silent for all of those seconds.
A loop that is merely slow sees an answer a few turns late, since a dial alone takes five. So a
tick is worth its period, however late it is.
"""

from alise_core.clock import Clock
from alise_core.units import Seconds


class LoopTime:
    """A clock that leaves out the time by which the loop's ticks are late.

    Args:
        clock: The clock to follow.
        watch: By which a stall shows: read at every tick.
        period_seconds: Between two ticks of a loop that runs.
    """

    __slots__ = ("_clock", "_late", "_period", "_ticked", "_watch")

    def __init__(self, clock: Clock, watch: Clock, period_seconds: float) -> None:
        self._clock = clock
        self._watch = watch
        self._period = period_seconds
        self._ticked: float | None = None
        self._late = 0.0

    def now(self) -> Seconds:
        """Seconds; only differences mean something, and between two ticks they may be too long."""
        return Seconds(self._clock.now() - self._late)

    def unix(self) -> Seconds:
        """The clock's own: the wall does not wait for a loop."""
        return self._clock.unix()

    def tick(self) -> Seconds:
        """The loop's timer has fired.

        Returns:
            Seconds by which it was late, where that was a stall: a whole period or more. The
            first tick only begins to count.
        """
        now = self._watch.now()
        late = 0.0 if self._ticked is None else now - self._ticked - self._period
        self._ticked = now
        self._late += max(0.0, late)
        return Seconds(late if late >= self._period else 0.0)
