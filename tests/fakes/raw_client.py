"""An HTTP client of bytes: sends exactly what a test says, and reads replies strictly.

For everything that a well-behaved client would never send. Replies are parsed by hand, so that
wrong framing of the gateway fails the test instead of being repaired.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RawReply:
    """One reply.

    Attributes:
        headers: By lower-case name; a repeated name fails the test.
        chunks: Pieces of a chunked body; empty for other framing.
    """

    status: int
    version: str
    headers: dict[str, str]
    body: bytes
    chunks: tuple[bytes, ...] = ()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, which must have exactly OpenAI's fields."""
        document = self.json()
        assert set(document) == {"error"}
        error: dict[str, Any] = document["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        return error


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def send_eof(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        """Leave without a goodbye."""
        self.writer.transport.abort()

    async def reply(self, *, to: bytes = b"POST") -> RawReply:
        """The next reply; ``to`` is the method that it answers."""
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await self._read(head_only=to == b"HEAD")

    async def head(self) -> tuple[int, str, dict[str, str]]:
        """Status, version and header fields of the next reply."""
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name == name.lower().strip(), line
            assert name not in headers, f"{name} is there twice"
            headers[name] = value
        return int(status), version, headers

    async def event(self) -> bytes:
        """The next chunk of a stream."""
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await self._chunk()

    async def rest(self) -> bytes:
        """Everything until the gateway closes; an error where it resets."""
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await self.reader.read()

    async def closed(self) -> None:
        """Assert that the gateway closes in good form and sends nothing more."""
        assert await self.rest() == b""

    async def _read(self, *, head_only: bool) -> RawReply:
        status, version, headers = await self.head()
        if head_only:
            return RawReply(status, version, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            assert "content-length" not in headers
            chunks = []
            while chunk := await self._chunk():
                chunks.append(chunk)
            return RawReply(status, version, headers, b"".join(chunks), tuple(chunks))
        if "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            assert headers.get("connection") == "close", "a body without length ends by closing"
            body = await self.reader.read()
        return RawReply(status, version, headers, body)

    async def _chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return data


@contextlib.asynccontextmanager
async def connected(port: int, receive_buffer_bytes: int | None = None) -> AsyncIterator[RawClient]:
    """A connection to 127.0.0.1; closed at the end of the block.

    Args:
        port: Where to.
        receive_buffer_bytes: Size of the kernel's receive buffer, to be a slow reader with.
    """
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    limit = receive_buffer_bytes or 2**20
    reader, writer = await asyncio.open_connection(sock=sock, limit=limit)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def chat(content: str = "hello", **fields: Any) -> dict[str, Any]:
    """A chat request's body."""
    return {
        "model": "alise-sim",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 8,
        **fields,
    }


def post(
    body: bytes | dict[str, Any],
    *headers: str,
    path: str = "/v1/chat/completions",
    version: str = "1.1",
) -> bytes:
    """A well-formed request; ``headers`` are whole lines."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/{version}", "host: gateway", "content-type: application/json"]
    lines += headers
    lines.append(f"content-length: {len(data)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data
