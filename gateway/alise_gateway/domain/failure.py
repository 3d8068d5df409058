"""How an attempt on a backend can fail: a closed set for retries, breakers and metrics."""

from enum import StrEnum


class FailureKind(StrEnum):
    """How an attempt on a backend failed; also the reason of the retry that follows it."""

    CONNECT = "connect"
    """Refused, unreachable, or no connection within the connect timeout."""
    LOST = "lost"
    """The connection ended before the client saw a byte of the answer."""
    LOST_MIDSTREAM = "lost_midstream"
    TIMEOUT = "timeout"
    """Connected, but silent for longer than the first-byte, idle or total timeout."""
    PROTOCOL = "protocol"
    """Bytes that HTTP or SSE does not allow."""
    STATUS = "status"
    """A 5xx status, or a refusal of the gateway's own credential."""
    ERROR_EVENT = "error_event"
    """Status 200 and an SSE event that is an error."""
    OVERLOADED = "overloaded"
    """The backend refused for lack of room (503, or its SSE form): it works, but is full."""
