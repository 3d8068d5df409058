"""How a request can end: one closed enum for metrics, logs, error replies and documentation.

Every arrival gets exactly one outcome. *Rejected* never entered the queue, *evicted* left it
before dispatch, *failed* was dispatched and broke. The enum value is the metric label;
``SPECS`` gives the HTTP status and the error vocabulary; ``docs/outcomes.md`` has one row each
(``tests/architecture/test_outcomes_total.py`` keeps the three in step).
"""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The closed set of endings."""

    COMPLETED = "completed"
    CLIENT_CANCELLED = "client_cancelled"
    REJECTED_INVALID = "rejected_invalid"
    REJECTED_UNAUTHORIZED = "rejected_unauthorized"
    REJECTED_RATE_LIMITED = "rejected_rate_limited"
    REJECTED_SATURATED = "rejected_saturated"
    REJECTED_NO_BACKENDS = "rejected_no_backends"
    REJECTED_TOO_LARGE = "rejected_too_large"
    REJECTED_SHUTTING_DOWN = "rejected_shutting_down"
    EVICTED_TTL = "evicted_ttl"
    EVICTED_PRIORITY = "evicted_priority"
    FAILED_BACKEND_ERROR = "failed_backend_error"
    FAILED_BACKEND_TIMEOUT = "failed_backend_timeout"
    FAILED_BACKEND_LOST_MIDSTREAM = "failed_backend_lost_midstream"


@dataclass(frozen=True, slots=True)
class OutcomeSpec:
    """What an outcome looks like to a client.

    Attributes:
        status: The HTTP status when nothing more specific applies.
        error_type: OpenAI's ``error.type``; empty where the reply is no error.
        dropped: The reply names its reason in ``x-alise-dropped-reason``.
        retry_after: The reply carries ``Retry-After``.
        also: More specific statuses that replies with this outcome may use instead.
    """

    status: int
    error_type: str
    dropped: bool = False
    retry_after: bool = False
    also: frozenset[int] = frozenset()


_INVALID = "invalid_request_error"
_LIMIT = "rate_limit_error"
_SERVER = "server_error"

SPECS: dict[Outcome, OutcomeSpec] = {
    Outcome.COMPLETED: OutcomeSpec(200, ""),
    # 499 never travels: the client is gone. It is the status that logs and metrics show.
    Outcome.CLIENT_CANCELLED: OutcomeSpec(499, ""),
    # 404 unknown model or route, 405 method, 408 slow client, 415/417/426/501/505 protocol,
    # 422 and 409 only ever come from a backend and pass through.
    Outcome.REJECTED_INVALID: OutcomeSpec(
        400, _INVALID, also=frozenset({404, 405, 408, 409, 415, 417, 422, 426, 501, 505})
    ),
    Outcome.REJECTED_UNAUTHORIZED: OutcomeSpec(401, "authentication_error", also=frozenset({403})),
    Outcome.REJECTED_RATE_LIMITED: OutcomeSpec(429, _LIMIT, dropped=True, retry_after=True),
    Outcome.REJECTED_SATURATED: OutcomeSpec(
        429, _LIMIT, dropped=True, retry_after=True, also=frozenset({503})
    ),
    Outcome.REJECTED_NO_BACKENDS: OutcomeSpec(503, _SERVER, dropped=True, retry_after=True),
    # 431: the header section is what is too large. 414: the target.
    Outcome.REJECTED_TOO_LARGE: OutcomeSpec(413, _INVALID, also=frozenset({414, 431})),
    Outcome.REJECTED_SHUTTING_DOWN: OutcomeSpec(503, _SERVER, dropped=True, retry_after=True),
    Outcome.EVICTED_TTL: OutcomeSpec(429, _LIMIT, dropped=True, retry_after=True),
    Outcome.EVICTED_PRIORITY: OutcomeSpec(429, _LIMIT, dropped=True, retry_after=True),
    # 500 and other 5xx of a backend pass through with this outcome.
    Outcome.FAILED_BACKEND_ERROR: OutcomeSpec(
        502, _SERVER, also=frozenset({500, 501, 503, 505, 507, 529})
    ),
    Outcome.FAILED_BACKEND_TIMEOUT: OutcomeSpec(504, _SERVER),
    # The status line (200) has left already; 502 is what logs and metrics show.
    Outcome.FAILED_BACKEND_LOST_MIDSTREAM: OutcomeSpec(502, _SERVER),
}
