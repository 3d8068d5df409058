"""Errors as vLLM words and shapes them.

Source: vLLM ``entrypoints/openai`` error handlers and ``entrypoints/anthropic`` (version 0.32).
"""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from alise_core.wire.openai import ANTHROPIC_ENDPOINTS, Endpoint

_TYPES = {
    400: "BadRequestError",
    404: "NotFoundError",
    500: "InternalServerError",
    501: "NotImplementedError",
}


class ApiError(Exception):
    """Ends a request with an error body.

    Attributes:
        status: HTTP status, repeated as ``code`` in the body.
        kind: ``error.type``; derived from the status unless given.
        param: The field at fault.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, kind: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.kind = kind or _TYPES.get(status) or HTTPStatus(status).phrase

    def body(self, endpoint: Endpoint | None = None) -> dict[str, Any]:
        """The JSON body in the shape of the endpoint's API."""
        if endpoint in ANTHROPIC_ENDPOINTS:
            return {"type": "error", "error": {"type": self.kind, "message": self.message}}
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.status,
        }
        return {"error": error}

    def event(self, endpoint: Endpoint) -> bytes:
        """The stream events that replace a reply once the status line is sent."""
        data = json.dumps(self.body(endpoint))
        if endpoint in ANTHROPIC_ENDPOINTS:
            # vLLM's own conversion of the error event fails, and that failure is what it sends.
            error = {"type": "internal_error", "message": self.message}
            data = json.dumps({"type": "error", "error": error}, separators=(",", ":"))
            return f"event: error\ndata: {data}\n\n".encode()
        return f"data: {data}\n\ndata: [DONE]\n\n".encode()


BUSY = "The engine is currently busy and cannot accept new requests. Please try again later."


def busy() -> ApiError:
    """A queue limit is met."""
    return ApiError(503, BUSY, kind=HTTPStatus.SERVICE_UNAVAILABLE.phrase)


class SchemaError(ApiError):
    """A body that the schema refuses; in OpenAI's shape whatever the endpoint.

    Args:
        findings: What is wrong, each in a line of its own.
        param: The first field at fault.
    """

    def __init__(self, findings: Sequence[object], param: str | None = None) -> None:
        count = f"{len(findings)} validation error{'s' if len(findings) > 1 else ''}:"
        message = "\n".join([count, *(f"  {finding}" for finding in findings)])
        super().__init__(400, message, param=param, kind=HTTPStatus.BAD_REQUEST.phrase)

    def body(self, endpoint: Endpoint | None = None) -> dict[str, Any]:
        """The same for every endpoint."""
        return super().body(None)


def refused(message: str, param: str | None = None, value: object = None) -> ApiError:
    """A field whose value vLLM refuses; it names field and value at the message's end."""
    if param is None:
        return ApiError(400, message)
    given = "" if value is None else f", value={value}"
    return ApiError(400, f"{message} (parameter={param}{given})", param=param)


def unknown_model(name: str, served: Sequence[str]) -> ApiError:
    """The model is not served here; names those that are."""
    aliases = ", ".join(served)
    return ApiError(
        404, f"The model `{name}` does not exist. Valid aliases: {aliases}.", param="model"
    )


def too_long(limit: int, prompt: int) -> ApiError:
    """The prompt alone exceeds the context length; token counts."""
    least = min(prompt, limit + 1)
    return refused(
        f"This model's maximum context length is {limit} tokens. However, your prompt contains "
        f"at least {least} input tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt.",
        "input_tokens",
        least,
    )
