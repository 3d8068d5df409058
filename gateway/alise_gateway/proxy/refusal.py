"""What a client is told when no backend gave it an answer. Pure.

A backend's own error about the request (4xx) passes through word for word where it has OpenAI's
or Anthropic's shape; everything else becomes an error of the gateway, without addresses and
without the backend's internals.
"""

from dataclasses import dataclass

import msgspec

from alise_core.errors import BackendError, RequestError
from alise_core.outcome import SPECS, Outcome
from alise_gateway.domain.failure import FailureKind
from alise_gateway.proxy.answers import Answer
from alise_gateway.proxy.attempt import AttemptResult

_MAX_PASSED_BYTES = 256 * 1024
_MAX_RETRY_AFTER_SECONDS = 3_600.0

_MESSAGES = {
    FailureKind.CONNECT: "The backend could not be reached; please retry.",
    FailureKind.LOST: "The backend closed the connection before it answered; please retry.",
    FailureKind.PROTOCOL: "The backend's answer could not be understood; please retry.",
    FailureKind.TIMEOUT: "The backend did not answer in time.",
    FailureKind.STATUS: "The backend failed to answer this request; please retry.",
    FailureKind.ERROR_EVENT: "The backend failed to answer this request; please retry.",
    FailureKind.OVERLOADED: "All backends are busy; please retry later.",
}


@dataclass(frozen=True, slots=True)
class PassedError:
    """A backend's error, for the client as it is."""

    status: int
    body: bytes


def final_error(result: AttemptResult) -> RequestError | PassedError:
    """The reply for a request whose last attempt ended with ``result``, uncommitted."""
    answer = result.answer
    if answer is not None and result.failure is None and _has_error_shape(answer):
        return PassedError(answer.status, answer.body)
    status = _status(result)
    kind = result.failure
    if answer is not None and kind is None:
        return RequestError(
            f"The backend refused this request with status {answer.status}.",
            outcome=result.outcome,
            status=status,
            code="backend_refused",
        )
    message = _MESSAGES.get(kind, _MESSAGES[FailureKind.STATUS]) if kind else ""
    return BackendError(
        message,
        outcome=result.outcome,
        status=status,
        code=f"backend_{kind}" if kind else None,
        retry_after_seconds=_retry_after(answer),
    )


def _status(result: AttemptResult) -> int | None:
    """The backend's status where the outcome allows it; ``None`` for the outcome's own."""
    if result.answer is None:
        return None
    allowed = SPECS[result.outcome].also
    if result.outcome is Outcome.REJECTED_SATURATED:
        return 503
    return result.answer.status if result.answer.status in allowed else None


def _retry_after(answer: Answer | None) -> float:
    if answer is not None and answer.retry_after is not None and answer.retry_after.isdigit():
        return min(float(answer.retry_after), _MAX_RETRY_AFTER_SECONDS)
    return 1.0


class _Shape(msgspec.Struct):
    error: msgspec.Raw


def _has_error_shape(answer: Answer) -> bool:
    if len(answer.body) > _MAX_PASSED_BYTES:
        return False
    try:
        error = msgspec.json.decode(answer.body, type=_Shape).error
    except (msgspec.DecodeError, RecursionError):
        return False
    return bytes(error).lstrip().startswith(b"{")
