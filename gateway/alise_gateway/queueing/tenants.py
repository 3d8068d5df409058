"""What tenants may take up: rates a minute, places in the queue and on backends. Pure.

Rates are token buckets that hold one minute's allowance; a request's tokens are taken as predicted
when it comes and put right when it has ended, so a bucket may owe for a while.
"""

from dataclasses import dataclass

from alise_core.shares import WHOLE, Share
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.request import Tenant, TenantLimits

_MINUTE = 60.0
_FORGET_SECONDS = 600.0
"""Tenants that have been away for so long are looked at; one that owes more stays known."""
_MOST_REMEMBERED = 1_024
"""Different limits of tenants; more are worked out again."""
_ROUNDING = 1e-9
"""Who comes back when it was told to is let in, whatever the last digit says."""


@dataclass(slots=True)
class _Bucket:
    """Holds one minute's allowance; may be overdrawn."""

    level: float
    at: float
    per_minute: float

    def refill(self, now: float) -> float:
        """Level after the time that has passed."""
        self.level = self.level_at(now)
        self.at = max(self.at, now)
        return self.level

    def level_at(self, now: float) -> float:
        """Level, were it looked at then."""
        gained = max(0.0, now - self.at) * self.per_minute / _MINUTE
        return min(self.per_minute, self.level + gained)

    def wait_seconds(self, amount: float) -> float:
        """Time until it holds as much; one that needs more than it can hold passes when full."""
        missing = min(amount, self.per_minute) - self.level
        if missing <= _ROUNDING * self.per_minute:
            return 0.0
        return missing * _MINUTE / self.per_minute


@dataclass(slots=True)
class _Usage:
    """What one tenant takes up now."""

    requests: _Bucket | None = None
    tokens: _Bucket | None = None
    waiting: int = 0
    in_flight: int = 0
    seen: float = 0.0

    def is_of_use(self, now: float) -> bool:
        """It differs from that of a tenant who was never seen, or will soon."""
        if self.waiting or self.in_flight or now - self.seen <= _FORGET_SECONDS:
            return True
        buckets = (self.requests, self.tokens)
        return any(item is not None and item.level_at(now) < item.per_minute for item in buckets)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A limit is reached.

    Attributes:
        reason: Which one.
        retry_after_seconds: When it will let a request through.
    """

    reason: DropReason
    retry_after_seconds: float


class TenantBook:
    """Usage of every tenant against its limits."""

    def __init__(self) -> None:
        self._share = WHOLE
        self._limits: dict[TenantLimits, TenantLimits] = {}
        """This gateway's part of what it has met."""
        self._usage: dict[str, _Usage] = {}
        self._next_cleaning = 0.0

    def set_share(self, share: Share) -> None:
        """From now on tenants may take up this gateway's part of their limits."""
        self._share = share
        self._limits.clear()

    def arrive(self, tenant: Tenant, tokens: float, now: float) -> Refusal | None:
        """A request comes; its tokens are taken unless it is refused.

        Args:
            tenant: Whose.
            tokens: Prompt and predicted output.
            now: Monotonic seconds.
        """
        limits = self._limits_of(tenant)
        if limits.requests_per_minute is None and limits.tokens_per_minute is None:
            return None
        usage = self._of(tenant, now)
        usage.requests = _refilled(usage.requests, limits.requests_per_minute, now)
        usage.tokens = _refilled(usage.tokens, limits.tokens_per_minute, now)
        request_wait = 0.0 if usage.requests is None else usage.requests.wait_seconds(1.0)
        token_wait = 0.0 if usage.tokens is None else usage.tokens.wait_seconds(tokens)
        if request_wait > 0 or token_wait > 0:
            reason = (
                DropReason.REQUEST_RATE if request_wait >= token_wait else DropReason.TOKEN_RATE
            )
            return Refusal(reason, max(request_wait, token_wait))
        if usage.requests is not None:
            usage.requests.level -= 1.0
        if usage.tokens is not None:
            usage.tokens.level -= tokens
        return None

    def correct(self, tenant: Tenant, tokens: float, now: float) -> None:
        """Take further tokens of a request that was longer, or give some back (negative)."""
        if tenant.limits.tokens_per_minute is not None:
            bucket = self._of(tenant, now).tokens
            if bucket is not None:
                # What it gained until now counts first: a full bucket gains nothing.
                bucket.level = bucket.refill(now) - tokens

    def may_wait(self, tenant: Tenant, now: float) -> bool:
        """One more of its requests may wait."""
        most = self._limits_of(tenant).max_waiting
        return most is None or self._of(tenant, now).waiting < most

    def may_dispatch(self, tenant: Tenant, now: float) -> bool:
        """One more of its requests may go to a backend."""
        most = self._limits_of(tenant).max_in_flight
        return most is None or self._of(tenant, now).in_flight < most

    def waits(self, tenant: Tenant, change: int, now: float) -> None:
        """So many more (or fewer) of its requests wait."""
        self._of(tenant, now).waiting += change

    def flies(self, tenant: Tenant, change: int, now: float) -> None:
        """So many more (or fewer) of its requests are on backends."""
        self._of(tenant, now).in_flight += change

    def check(self, waiting: int, in_flight: int) -> None:
        """Raise AssertionError unless the counts agree with the queue's; for tests."""
        usage = self._usage.values()
        if sum(item.waiting for item in usage) != waiting:
            raise AssertionError("violated: tenants' waiting requests add up")
        if sum(item.in_flight for item in usage) != in_flight:
            raise AssertionError("violated: tenants' requests in flight add up")

    def _limits_of(self, tenant: Tenant) -> TenantLimits:
        limits = tenant.limits
        if self._share.is_whole:
            return limits
        found = self._limits.get(limits)
        if found is None:
            if len(self._limits) >= _MOST_REMEMBERED:
                self._limits.clear()
            found = self._limits[limits] = _part_of(limits, self._share)
        return found

    def _of(self, tenant: Tenant, now: float) -> _Usage:
        usage = self._usage.get(tenant.id)
        if usage is None:
            self._clean(now)
            usage = self._usage[tenant.id] = _Usage()
        usage.seen = max(usage.seen, now)
        return usage

    def _clean(self, now: float) -> None:
        """Forget who has been away for so long that its buckets are full again."""
        if now < self._next_cleaning:
            return
        self._next_cleaning = now + _FORGET_SECONDS
        for name in [name for name, usage in self._usage.items() if not usage.is_of_use(now)]:
            del self._usage[name]


def _part_of(limits: TenantLimits, share: Share) -> TenantLimits:
    """A gateway's part of a tenant's limits.

    A limit below the number of gateways lets one through at each: a request that no backend will
    ever be asked to serve at this gateway would only wait for its end.
    """
    requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
    waiting, in_flight = limits.max_waiting, limits.max_in_flight
    return TenantLimits(
        None if requests is None else requests / share.count,
        None if tokens is None else tokens / share.count,
        None if waiting is None else share.of(waiting),
        None if in_flight is None else max(min(1, in_flight), share.of(in_flight)),
    )


def _refilled(bucket: _Bucket | None, per_minute: float | None, now: float) -> _Bucket | None:
    """The bucket of a limit, new and full where there was none, with what it gained.

    Args:
        bucket: As it was left.
        per_minute: The limit, which may have changed; ``None`` for none.
        now: Monotonic seconds.
    """
    if per_minute is None:
        return None
    if bucket is None:
        return _Bucket(per_minute, now, per_minute)
    bucket.per_minute = per_minute
    bucket.refill(now)
    return bucket
