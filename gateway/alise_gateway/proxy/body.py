"""Where a backend's body ends: by length, by chunks, or with the connection. Pure.

Source: RFC 9112 section 6.3.
"""

from alise_core.errors import WireError
from alise_gateway.proxy.chunked import ChunkDecoder
from alise_gateway.proxy.head import ResponseHead


class BodyReader:
    """Takes a body's bytes as read and gives its payload.

    Attributes:
        finished: The body is complete.
        chunks: The decoder of a chunked body.
    """

    __slots__ = ("_remaining", "chunks", "finished")

    def __init__(self, head: ResponseHead) -> None:
        self.chunks = ChunkDecoder() if head.chunked else None
        self._remaining = head.content_length
        self.finished = head.content_length == 0

    def feed(self, data: bytes) -> bytes:
        """Payload of the next bytes.

        Raises:
            WireError: The framing is broken, or there are more bytes than announced.
        """
        if self.chunks is not None:
            payload = self.chunks.feed(data)
            self.finished = self.chunks.finished
            return payload
        if self._remaining is not None:
            self._remaining -= len(data)
            if self._remaining < 0:
                raise WireError("backend sent more than its content-length")
            self.finished = self._remaining == 0
        return data

    def end_of_connection(self) -> bool:
        """The connection has ended; whether that is a proper end of the body."""
        if self.chunks is None and self._remaining is None:
            self.finished = True
        return self.finished

    @property
    def between_chunks(self) -> bool:
        """The body is chunked and the next byte starts a chunk."""
        return self.chunks is not None and self.chunks.between_chunks


def chunk(payload: bytes) -> bytes:
    """``payload`` as one chunk; nothing for nothing, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


LAST_CHUNK = b"0\r\n\r\n"
