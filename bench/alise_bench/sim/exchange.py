"""One HTTP request and its reply, over uvicorn's protocol, with the transport within reach.

``SimProtocol`` is uvicorn's own llhttp protocol, so framing and headers are what vLLM's server
sends; it additionally tells the handler at once when the client leaves and hands out its
transport, which faults need. ``Exchange`` is what handlers see.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTION = "alise.connection"
"""Key of the protocol object in the scope's extensions."""

Headers = list[tuple[bytes, bytes]]
JSON_TYPE = (b"content-type", b"application/json")
VARY = (b"vary", b"Origin")
"""vLLM's server allows cross-origin requests and says so on every reply."""
SSE_TYPE = (b"content-type", b"text/event-stream; charset=utf-8")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ClientGone(Exception):
    """The client left before its request was complete."""


class SimProtocol(HttpToolsProtocol):
    """uvicorn's protocol; ``on_lost`` is called once when the connection ends."""

    refuses: Callable[[], bool] | None = None
    on_lost: Callable[[], object] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Reset the connection at once where the engine refuses connections."""
        super().connection_made(transport)
        if self.refuses is not None and self.refuses():
            self.reset()

    def on_message_begin(self) -> None:
        """Put the connection into the scope of the request that begins."""
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: {"protocol": self}}

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the handler."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        callback, self.on_lost = self.on_lost, None
        if callback is not None:
            callback()

    def data_received(self, data: bytes) -> None:
        """Ignore what still arrives after a reset."""
        if not self.transport.is_closing():
            super().data_received(data)

    def reset(self) -> None:
        """End the connection with a TCP reset; unsent bytes are lost."""
        sock: socket.socket | None = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()


class Exchange:
    """One request with its reply.

    Args:
        scope: ASGI scope of an HTTP request.
        receive: ASGI receive.
        send: ASGI send.
    """

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.connection: SimProtocol = scope["extensions"][CONNECTION]["protocol"]
        self.reply_headers: Headers = [VARY]
        """Added to whatever reply is sent."""
        self.started = False
        self._headers: Headers = scope["headers"]
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> str | None:
        """A request header by lower-case name; the first where it is repeated."""
        for key, value in self._headers:
            if key == name:
                return value.decode("latin-1")
        return None

    async def body(self) -> bytes:
        """The whole request body.

        Raises:
            ClientGone: The connection ended first.
        """
        parts = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)

    async def reply(self, status: int, document: object, headers: Headers | None = None) -> None:
        """Send a complete JSON reply."""
        try:
            body = msgspec.json.encode(document)
        except UnicodeEncodeError:
            # A reply may quote a name that is no valid text; escapes can carry it.
            body = json.dumps(document).encode()
        await self.reply_bytes(status, body, [JSON_TYPE, *(headers or [])])

    async def reply_bytes(self, status: int, body: bytes, headers: Headers) -> None:
        """Send a complete reply."""
        length = (b"content-length", str(len(body)).encode())
        await self.start(status, [length, *headers])
        await self.finish(body)

    async def start(self, status: int, headers: Headers) -> None:
        """Send status line and headers; without a content length the body is chunked."""
        self.started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, *self.reply_headers],
            }
        )

    async def write(self, data: bytes) -> None:
        """Send a part of the body, if not empty; waits while the client reads too slowly."""
        if not data:
            return
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def write_events(self, events: bytes) -> None:
        """Send each SSE event as a part of its own, as vLLM does."""
        for event in events.split(b"\n\n")[:-1]:
            await self.write(event + b"\n\n")

    async def finish(self, data: bytes = b"") -> None:
        """Send the last part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def until_gone(self) -> None:
        """Wait for the client to leave; the handler's cancellation ends the wait."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def status_line(status: int) -> bytes:
    """The first line of a hand-written reply."""
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
