"""Why the queue did not serve a request."""

from enum import StrEnum


class DropReason(StrEnum):
    """A metric label, finer than the outcome."""

    QUEUE_FULL = "queue_full"
    CLASS_FULL = "class_full"
    TENANT_QUEUE_FULL = "tenant_queue_full"
    REQUEST_RATE = "request_rate"
    TOKEN_RATE = "token_rate"
    DEADLINE = "deadline"
    """Its first token cannot come, or has not come, in the time that the client allows."""
    TTL = "ttl"
    SHED = "shed"
    """It gave its place to a request of a better class."""
    NO_BACKENDS = "no_backends"
    SHUTTING_DOWN = "shutting_down"
