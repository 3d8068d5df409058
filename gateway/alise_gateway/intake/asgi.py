"""Control endpoints on the inference port: an ASGI application behind our own connections.

Small and rare requests only (``/v1/models``, probes, metrics): the answer is collected whole.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog

from alise_core.errors import RequestError
from alise_core.outcome import Outcome
from alise_gateway.domain.request import ALLOWED_MODELS, HttpRequest, RawHeaders, Tenant
from alise_gateway.intake.handler import ClientSide
from alise_gateway.intake.replies import reply

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
_LOG = structlog.get_logger(__name__)


class AsgiExchange:
    """One control request; an ``Exchange`` of intake."""

    def __init__(
        self, app: AsgiApp, connection: ClientSide, request: HttpRequest, tenant: Tenant
    ) -> None:
        self._app = app
        self._connection = connection
        self._request = request
        self._tenant = tenant
        self._received = False
        self._status = 500
        self._fields: RawHeaders = []
        self._body: list[bytes] = []
        self._task = asyncio.get_running_loop().create_task(self._run())

    def client_gone(self) -> None:
        """Stop working for nobody."""
        self._task.cancel()

    def client_blocked(self, *, blocked: bool) -> None:
        """Answers are small: they fit the socket's buffer."""

    def sweep(self, now: float) -> None:
        """Control endpoints do not wait for anything."""

    async def _run(self) -> None:
        try:
            await self._app(_scope(self._request, self._tenant), self._receive, self._send)
        except Exception:
            # Boundary: a defect of one control endpoint must not take the connection's loop.
            _LOG.exception("control_request_failed", path=self._request.path.decode("latin-1"))
            self._connection.refuse(
                RequestError(
                    "The gateway failed to answer this control request.",
                    outcome=Outcome.FAILED_BACKEND_ERROR,
                    status=500,
                ),
                [],
            )
            return
        self._answer()

    async def _receive(self) -> Message:
        if self._received:
            return {"type": "http.disconnect"}
        self._received = True
        return {"type": "http.request", "body": self._request.body, "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._fields = [(bytes(n).lower(), bytes(v)) for n, v in message.get("headers", [])]
        else:
            self._body.append(message.get("body", b""))

    def _answer(self) -> None:
        connection = self._connection
        keep_alive = connection.keeps_alive
        content_type = b"application/json"
        fields: RawHeaders = []
        for name, value in self._fields:
            if name == b"content-type":
                content_type = value
            elif name != b"content-length":
                fields.append((name, value))
        data = reply(
            self._status,
            fields,
            b"".join(self._body),
            content_type=content_type,
            keep_alive=keep_alive,
            head_only=self._request.method == b"HEAD",
        )
        connection.end(data, keep_alive=keep_alive)


def _scope(request: HttpRequest, tenant: Tenant) -> Message:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": f"1.{request.http_minor}",
        "method": request.method.decode("latin-1"),
        "scheme": "http",
        "path": _unquoted(request.path),
        "raw_path": request.path,
        "query_string": request.query,
        "root_path": "",
        "headers": request.headers,
        "client": None,
        "server": None,
        ALLOWED_MODELS: tenant.allowed_models,
    }


def _unquoted(path: bytes) -> str:
    return unquote_to_bytes(path).decode("utf-8", errors="replace")
