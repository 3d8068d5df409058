"""Every error of the control endpoints, in OpenAI's shape.

Unknown routes, wrong methods, missing credentials and bugs are answered alike, so that a client
needs one parser. A bug is logged here, once, and never shown to the client.
"""

import logging
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alise_gateway.control.schemas import ErrorDetail, ErrorReply

_LOGGER: Final = logging.getLogger(__name__)

_TYPES: Final = {401: "authentication_error", 403: "authentication_error"}
_CODES: Final = {404: "not_found", 405: "method_not_allowed"}
_MESSAGES: Final = {
    404: "There is no such route; see /openapi.json.",
    405: "This route does not allow the method; see the Allow header.",
}
_SERVER_ERROR: Final = 500


class ControlError(HTTPException):
    """Ends a control request; the detail is for the client.

    Args:
        status: HTTP status.
        message: Names what is wrong and the remedy.
        code: OpenAI's ``error.code``.
        param: The parameter at fault.
        headers: Extra fields of the reply.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code
        self.param = param


def error_response(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """One error reply."""
    default = "server_error" if status >= _SERVER_ERROR else "invalid_request_error"
    kind = _TYPES.get(status, default)
    detail = ErrorDetail(message=message, type=kind, param=param, code=code)
    return JSONResponse(ErrorReply(error=detail).model_dump(), status, headers)


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error in OpenAI's shape."""

    async def on_http_error(request: Request, error: Exception) -> Response:
        if isinstance(error, ControlError):
            return error_response(
                error.status_code,
                error.detail,
                code=error.code,
                param=error.param,
                headers=dict(error.headers or {}),
            )
        status = error.status_code if isinstance(error, HTTPException) else _SERVER_ERROR
        message = _MESSAGES.get(status, "The request could not be served.")
        headers = {"allow": _allowed(app, request)} if status == 405 else None  # noqa: PLR2004
        return error_response(status, message, code=_CODES.get(status), headers=headers)

    async def on_invalid(request: Request, error: Exception) -> Response:
        del request
        # The messages of pydantic quote the input, so only the place is passed on.
        places = error.errors() if isinstance(error, RequestValidationError) else []
        param = ".".join(str(part) for part in places[0]["loc"]) if places else None
        return error_response(422, "The request does not fit the schema.", param=param)

    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_middleware(ErrorBoundary)


def _allowed(app: FastAPI, request: Request) -> str:
    """All methods of the path: each route knows only its own."""
    methods: set[str] = set()
    for route in app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods))


class ErrorBoundary:
    """Answers 500 for what nobody caught, instead of handing it to whichever server runs the app.

    Args:
        app: The application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; never raises before the reply has begun."""
        begun = False

        async def note_start(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, note_start)
        except Exception:
            if begun or scope["type"] != "http":
                raise
            _LOGGER.exception("control request failed")
            reply = error_response(_SERVER_ERROR, "The gateway failed to serve this request.")
            await reply(scope, receive, send)
