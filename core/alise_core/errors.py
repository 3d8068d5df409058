"""The exceptions of ALISE, and when each is raised.

::

    AliseError
    ├── ConfigError                 a setting or file is wrong; names field, value and remedy
    ├── RequestError                ends one request; carries its Outcome
    │   ├── InvalidRequest          the client's bytes or fields are wrong
    │   ├── Unauthorized            no, unknown or insufficient credential
    │   ├── Rejected                well-formed, but never entered the queue
    │   ├── Evicted                 left the queue before dispatch
    │   └── BackendError            dispatched, and the backend broke
    └── WireError                   a peer violated a protocol (HTTP framing, SSE)

An error that ends a request is the twin of an outcome: the outcome is the metric label, the
exception holds the detail for the reply. Messages reach clients: they name the field, the
value (cut) and the remedy, and never contain prompts, keys or addresses.
"""

from alise_core.outcome import SPECS, Outcome


class AliseError(Exception):
    """Root of all errors raised on purpose."""


class ConfigError(AliseError):
    """A setting, flag or file is wrong."""


class WireError(AliseError):
    """A peer sent bytes that its protocol does not allow."""


class RequestError(AliseError):
    """Ends one request with a reply in OpenAI's error shape.

    Attributes:
        outcome: The ending that metrics and logs show.
        message: For the client.
        status: HTTP status; the outcome's own unless a more specific one is given.
        param: The request field at fault.
        code: Machine-readable detail, OpenAI's ``error.code``.
        retry_after_seconds: Sent as ``Retry-After`` where the outcome carries one.

    Raises:
        ValueError: ``status`` is not one the outcome allows.
    """

    outcome: Outcome = Outcome.REJECTED_INVALID

    def __init__(
        self,
        message: str,
        *,
        outcome: Outcome | None = None,
        status: int | None = None,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        if outcome is not None:
            self.outcome = outcome
        spec = SPECS[self.outcome]
        if status is not None and status != spec.status and status not in spec.also:
            raise ValueError(f"outcome {self.outcome} does not allow status {status}")
        self.message = message
        self.status = spec.status if status is None else status
        self.param = param
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(RequestError):
    """The client's bytes or fields are wrong."""

    outcome = Outcome.REJECTED_INVALID


class Unauthorized(RequestError):
    """No, unknown or insufficient credential."""

    outcome = Outcome.REJECTED_UNAUTHORIZED


class Rejected(RequestError):
    """Well-formed, but the gateway did not take it into the queue."""

    outcome = Outcome.REJECTED_SATURATED


class Evicted(RequestError):
    """Left the queue before dispatch."""

    outcome = Outcome.EVICTED_TTL


class BackendError(RequestError):
    """Dispatched, and the backend broke."""

    outcome = Outcome.FAILED_BACKEND_ERROR
