"""What a client is told of a request that the queue did not serve."""

from alise_core.errors import Evicted, Rejected, RequestError
from alise_core.outcome import Outcome
from alise_gateway.domain.drop_reason import DropReason

_EVICTIONS = frozenset({Outcome.EVICTED_TTL, Outcome.EVICTED_PRIORITY})
_MESSAGES = {
    DropReason.QUEUE_FULL: "The gateway's queue is full; please retry later.",
    DropReason.CLASS_FULL: "Too many requests of this service tier wait; please retry later.",
    DropReason.TENANT_QUEUE_FULL: "Too many requests of this API key wait; please retry later.",
    DropReason.REQUEST_RATE: "This API key has used up its requests per minute; please wait.",
    DropReason.TOKEN_RATE: "This API key has used up its tokens per minute; please wait.",
    DropReason.DEADLINE: "The first token cannot come in the time that the request allows; "
    "please retry later or allow more time.",
    DropReason.TTL: "The request waited too long for a backend; please retry later.",
    DropReason.SHED: "The request gave way to one of a better service tier; please retry later.",
    DropReason.NO_BACKENDS: "No backend that serves this model is available; please retry.",
    DropReason.SHUTTING_DOWN: "The gateway is shutting down; please retry.",
}


def drop_error(outcome: Outcome, reason: DropReason, retry_after_seconds: float) -> RequestError:
    """The error that ends a dropped request.

    Args:
        outcome: How it ends.
        reason: Why, more finely.
        retry_after_seconds: When to come back.
    """
    kind = Evicted if outcome in _EVICTIONS else Rejected
    return kind(
        _MESSAGES[reason],
        outcome=outcome,
        code=None if str(outcome).endswith(str(reason)) else str(reason),
        retry_after_seconds=retry_after_seconds,
    )


def shutting_down() -> RequestError:
    """The error of a request that a drain ends."""
    return drop_error(Outcome.REJECTED_SHUTTING_DOWN, DropReason.SHUTTING_DOWN, 1.0)
