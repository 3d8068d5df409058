"""Answers of the plugin's routes, errors in OpenAI's shape, and who may have which; pure."""

import hashlib
import hmac
import json
from dataclasses import dataclass, field

from alise_vllm.tunable import Json

Headers = list[tuple[bytes, bytes]]
"""ASGI's: names in lower case."""
RETRY_AFTER_SECONDS = 1
"""Another replica may take the request at once; a client without one asks again soon."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    Attributes:
        status: Of HTTP.
        content: Goes out as JSON.
        headers: Besides those of the content.
    """

    status: int
    content: Json
    headers: Headers = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """The content's bytes."""
        return json.dumps(self.content).encode()

    @property
    def fields(self) -> Headers:
        """All header fields."""
        length = str(len(self.body)).encode()
        own = [(b"content-type", b"application/json"), (b"content-length", length)]
        return [*own, *self.headers]


def error(
    status: int,
    message: str,
    *,
    code: str,
    param: str | None = None,
    headers: Headers | None = None,
) -> Reply:
    """An error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"  # noqa: PLR2004
    content = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Reply(status, content, headers or [])


def come_later(message: str, code: str) -> Reply:
    """503 with ``Retry-After``."""
    retry = (b"retry-after", str(RETRY_AFTER_SECONDS).encode())
    return error(503, message, code=code, headers=[retry])


def refusal(token: str | None, headers: Headers) -> Reply | None:
    """Why a caller may not; None where it may.

    Takes the same time for every wrong token.

    Args:
        token: What callers have to state as ``Authorization: Bearer``; None asks for nothing.
        headers: Of the request.
    """
    if token is None or _states(token, headers):
        return None
    return error(
        401,
        "This route needs the admin token; send it as 'Authorization: Bearer TOKEN'.",
        code="invalid_admin_token",
        headers=[(b"www-authenticate", b"Bearer")],
    )


def _states(token: str, headers: Headers) -> bool:
    stated = next((value for name, value in headers if name == b"authorization"), b"")
    scheme, _, credential = stated.partition(b" ")
    expected = hashlib.sha256(token.encode()).digest()
    same = hmac.compare_digest(hashlib.sha256(credential.strip()).digest(), expected)
    return same and scheme.lower() == b"bearer"
