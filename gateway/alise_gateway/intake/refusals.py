"""Refusals that intake makes by itself, before anybody has understood the request. Pure."""

from alise_core.errors import InvalidRequest, RequestError
from alise_core.outcome import Outcome


def body_too_large(limit_bytes: int) -> RequestError:
    """The body is larger than allowed."""
    return RequestError(
        f"The request body is larger than {limit_bytes} bytes.",
        outcome=Outcome.REJECTED_TOO_LARGE,
        code="body_too_large",
    )


def head_too_large(limit_bytes: int) -> RequestError:
    """The header section is larger than allowed."""
    return RequestError(
        f"The request's header section is larger than {limit_bytes} bytes.",
        outcome=Outcome.REJECTED_TOO_LARGE,
        status=431,
        code="headers_too_large",
    )


def too_slow(part: str, limit_seconds: float) -> RequestError:
    """``part`` of the request did not arrive in time."""
    return InvalidRequest(
        f"The request's {part} did not arrive within {limit_seconds:g} seconds.",
        status=408,
        code="request_timeout",
    )


def malformed(detail: str) -> RequestError:
    """The parser gave up; ``detail`` is its own fixed text and holds no bytes of the request."""
    return InvalidRequest(f"The request is not valid HTTP/1.1: {detail}.", code="malformed_http")


def defect() -> RequestError:
    """The gateway itself failed; the log says how."""
    return RequestError(
        "The gateway failed to take this request.",
        outcome=Outcome.FAILED_BACKEND_ERROR,
        status=500,
        code="internal_error",
    )
