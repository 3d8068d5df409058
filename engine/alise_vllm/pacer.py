"""Keeps steps apart. Pure: the clock and the waiting come from outside."""

from collections.abc import Callable


class Pacer:
    """Lets no step follow the one before it sooner than a set time.

    Args:
        step_seconds: Between two steps, at least.
        now: Monotonic seconds.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self, step_seconds: float, now: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._step_seconds = step_seconds
        self._now = now
        self._sleep = sleep
        self._last = float("-inf")

    def step(self) -> None:
        """A step has been computed: wait until its time is over."""
        left = self._last + self._step_seconds - self._now()
        if left > 0:
            self._sleep(min(left, self._step_seconds))
        self._last = self._now()
