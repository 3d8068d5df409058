"""A response of a fake HTTP server whose body comes as from a socket: it has to be read."""

from collections.abc import AsyncIterator

import httpx


class _Body(httpx.AsyncByteStream):
    def __init__(self, text: str) -> None:
        self._text = text

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._text.encode()


def streamed(status: int, text: str) -> httpx.Response:
    """An answer for ``httpx.MockTransport``."""
    return httpx.Response(status, stream=_Body(text))
