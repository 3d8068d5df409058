"""A backend that answers inference requests with exactly the bytes of a test.

For answers that no engine, real or simulated, is made to give; and for looking at what the
gateway sends. Probes are answered as a healthy vLLM would.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

MODELS = {"object": "list", "data": [{"id": "alise-sim", "object": "model", "owned_by": "test"}]}

Script = Callable[["Received", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


class ScriptedBackend:
    """See the module.

    Attributes:
        received: Inference requests, in order.
        script: Answers one of them; the connection closes when it raises ``ConnectionError``.
        metrics: What ``/metrics`` answers; 404 without it.
        ready: What ``/alise/ready`` answers; 404 without it.
    """

    def __init__(
        self, script: Script, metrics: bytes | None = None, ready: bytes | None = None
    ) -> None:
        self.received: list[Received] = []
        self.script = script
        self.metrics = metrics
        self.ready = ready
        self.writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.writers.add(writer)
        try:
            while True:
                await self._answer(await _read(reader), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _answer(self, request: Received, writer: asyncio.StreamWriter) -> None:
        if request.target == "/health":
            writer.write(whole(b""))
        elif request.target.endswith("/models"):
            writer.write(whole(json.dumps(MODELS).encode()))
        elif request.target == "/metrics" and self.metrics is not None:
            writer.write(whole(self.metrics))
        elif request.target == "/alise/ready" and self.ready is not None:
            writer.write(whole(self.ready))
        elif request.target in {"/alise/ready", "/metrics"}:
            writer.write(whole(b"{}", status="404 Not Found"))
        else:
            self.received.append(request)
            await self.script(request, writer)


def whole(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    """An answer with a content length."""
    head = [f"HTTP/1.1 {status}", "content-type: application/json", *lines]
    head.append(f"content-length: {len(body)}")
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def sends(data: bytes, *, close: bool = False) -> Script:
    """A script that writes ``data`` for every request."""

    async def script(request: Received, writer: asyncio.StreamWriter) -> None:
        del request
        writer.write(data)
        await writer.drain()
        if close:
            raise ConnectionError

    return script


async def _read(reader: asyncio.StreamReader) -> Received:
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    fields = [line.split(": ", 1) for line in lines]
    headers = [(name.lower(), value) for name, value in fields]
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Received(first.split(" ")[1], headers, await reader.readexactly(length))


@contextlib.asynccontextmanager
async def scripted_backend(
    script: Script, metrics: bytes | None = None, ready: bytes | None = None
) -> AsyncIterator[ScriptedBackend]:
    """Serve for the length of the block."""
    backend = ScriptedBackend(script, metrics, ready)
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0, limit=2**20)
    backend.port = server.sockets[0].getsockname()[1]
    try:
        yield backend
    finally:
        server.close()
        for writer in tuple(backend.writers):
            writer.transport.abort()
        await server.wait_closed()
