"""What can go wrong between us and an API server.

::

    ClusterError
    ├── ApiError            it answered, and not with what was asked for
    │   └── Expired         410: the version that was named is not kept any more
    └── Unreachable         it did not answer, or not in HTTP and JSON
"""

from collections.abc import Mapping
from typing import Any

from alise_core.errors import AliseError

_MAX_MESSAGE_CHARS = 500

UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
CONFLICT = 409
GONE = 410


class ClusterError(AliseError):
    """Talking to the API server failed."""


class Unreachable(ClusterError):
    """No answer, or not one that can be understood; trying again later may help."""


class ApiError(ClusterError):
    """The API server's ``Status``.

    Attributes:
        status: HTTP status.
        reason: Machine-readable, as ``NotFound``; empty where it gave none.
        message: For people; cut.
        retry_after_seconds: It asked to be left alone for this long.
    """

    def __init__(
        self, status: int, reason: str, message: str, retry_after_seconds: float | None = None
    ) -> None:
        self.status = status
        self.reason = reason
        self.message = message[:_MAX_MESSAGE_CHARS]
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{status} {reason}: {self.message}" if reason else f"{status}: {message}")


class Expired(ApiError):
    """The resource version or continue token is too old: list again."""


def api_error(
    status: int, answer: Mapping[str, Any], retry_after_seconds: float | None = None
) -> ApiError:
    """The exception for a ``Status`` object, or for any other answer with an error status."""
    reason, message = answer.get("reason"), answer.get("message")
    code = answer.get("code")
    status = code if isinstance(code, int) and not isinstance(code, bool) else status
    kind = Expired if status == GONE or reason in {"Expired", "Gone"} else ApiError
    return kind(
        status,
        reason if isinstance(reason, str) else "",
        message if isinstance(message, str) else "no message",
        retry_after_seconds,
    )
