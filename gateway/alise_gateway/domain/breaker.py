"""Circuit breaker of one backend: pure, the caller brings the time.

Closed until ``failures`` requests in a row have failed; then open, that is no request, for
``open_seconds``; then half-open: one trial at a time. A trial that succeeds closes it, one that
fails opens it again for twice as long, up to ``max_open_seconds``.

Requests that were sent before the breaker opened are still running when it does, often hundreds,
and end at any time later. Each caller therefore hands back what ``started`` told it, and while the
breaker is not closed only the trial's ending counts. Every started request is reported exactly
once, as soon as it is known to work or not: a stream with its first byte, not its last.
"""

from dataclasses import dataclass
from enum import StrEnum


class BreakerState(StrEnum):
    """What the breaker allows now."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """Constants of every breaker; see ``HealthSettings``."""

    failures: int
    open_seconds: float
    max_open_seconds: float


class CircuitBreaker:
    """Passive health of one backend, from the endings of its requests."""

    __slots__ = ("_failures", "_limits", "_open_seconds", "_reopens_at", "_trial_running")

    def __init__(self, limits: BreakerLimits) -> None:
        self._limits = limits
        self._failures = 0
        self._open_seconds = limits.open_seconds
        self._reopens_at: float | None = None
        self._trial_running = False

    def state(self, now: float) -> BreakerState:
        """The state at ``now`` (monotonic seconds)."""
        if self._reopens_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._reopens_at else BreakerState.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether a request may be sent; does not reserve the half-open trial."""
        if self._reopens_at is None:
            return True
        return now >= self._reopens_at and not self._trial_running

    def started(self) -> bool:
        """A request was sent; true when it is the trial, which its ending must say again."""
        if self._reopens_at is None or self._trial_running:
            return False
        self._trial_running = True
        return True

    def succeeded(self, *, was_trial: bool = True) -> None:
        """A request ended in a way that shows the backend works."""
        if self._reopens_at is not None and not was_trial:
            return
        self._failures = 0
        self._reopens_at = None
        self._trial_running = False
        self._open_seconds = self._limits.open_seconds

    def abandoned(self, *, was_trial: bool = True) -> None:
        """A request ended without saying anything about the backend (its client left)."""
        if was_trial:
            self._trial_running = False

    def failed(self, now: float, *, was_trial: bool = True) -> bool:
        """A request ended in a way that blames the backend; true when this opens the breaker."""
        if self._reopens_at is None:
            self._failures += 1
            if self._failures < self._limits.failures:
                return False
        elif not was_trial:
            return False
        elif now < self._reopens_at:
            # Let through just as the breaker opened: its place must be free for the real trial.
            self._trial_running = False
            return False
        else:
            self._open_seconds = min(self._open_seconds * 2, self._limits.max_open_seconds)
        self._reopens_at = now + self._open_seconds
        self._trial_running = False
        return True
