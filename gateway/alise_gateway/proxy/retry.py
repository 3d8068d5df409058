"""Whether a failed attempt may be repeated: a budget, so that an outage is not doubled. Pure.

Retries may be a share of recent requests, plus a small rate that is always allowed. Implemented
as a bucket of retry tokens: every request adds ``ratio``, every second adds ``floor``, a retry
takes one; the bucket holds ten seconds' worth of the floor, or ten retries.

Source: the retry budget of Finagle and Linkerd (ratio plus minimum per second).
"""

from alise_gateway.domain.failure import FailureKind
from alise_gateway.settings import UpstreamSettings

_BUCKET_SECONDS = 10.0
_MIN_BUCKET = 10.0

_REPEATABLE = frozenset(
    {
        FailureKind.CONNECT,
        FailureKind.LOST,
        FailureKind.PROTOCOL,
        FailureKind.STATUS,
        FailureKind.ERROR_EVENT,
        FailureKind.OVERLOADED,
    }
)
"""Not a timeout: the request has had its time, and another backend would need as long again."""


class RetryBudget:
    """See the module."""

    def __init__(self, settings: UpstreamSettings, now: float) -> None:
        self._ratio = settings.retry_budget_ratio
        self._floor = settings.retry_budget_floor_per_second
        self._capacity = max(_MIN_BUCKET, self._floor * _BUCKET_SECONDS)
        self._tokens = self._capacity
        self._refilled = now

    def note_request(self) -> None:
        """A request was dispatched for the first time."""
        if self._tokens < self._capacity:
            self._tokens = min(self._capacity, self._tokens + self._ratio)

    def take(self, now: float) -> bool:
        """Use the budget for one retry, if there is enough."""
        earned = self._floor * (now - self._refilled)
        self._tokens = min(self._capacity, self._tokens + earned)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def give_back(self) -> None:
        """A retry that was taken found no other backend to try."""
        self._tokens = min(self._capacity, self._tokens + 1)


def is_repeatable(failure: FailureKind | None) -> bool:
    """Whether another backend may do better."""
    return failure in _REPEATABLE
