"""One connection to a backend: sends a request, reads the answer's head, hands on its body.

The head is parsed by llhttp; the body's bytes go to the listener as they were read, framing
included, because most of them travel on unchanged. The listener says when the answer is over.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import httptools

from alise_core.errors import WireError
from alise_gateway.domain.request import RawHeaders
from alise_gateway.proxy.head import ResponseHead, body_framing

_MAX_HEAD_BYTES = 64 * 1024
_WRITE_HIGH_WATER_BYTES = 256 * 1024
_JOIN_BELOW_BYTES = 8 * 1024


class AnswerListener(Protocol):
    """Who sent the request on this connection."""

    def on_head(self, head: ResponseHead) -> Callable[[bytes], None] | None:
        """The final (not 1xx) head is complete.

        Returns: Takes the bytes after it, as read; raises WireError where they are wrong.
            ``None`` when nothing may follow.
        """
        ...

    def on_lost(self, error: Exception | None) -> None:
        """The connection ended, or broke the protocol, before the listener released it."""
        ...

    def on_send_blocked(self, *, blocked: bool) -> None:
        """The backend does not read fast enough (or does again)."""
        ...


class ConnectionOwner(Protocol):
    """The pool, as its connections know it."""

    def on_closed(self, connection: "UpstreamConnection") -> None:
        """The connection is gone for good."""
        ...


class UpstreamConnection(asyncio.Protocol):
    """Client side of HTTP/1.1, one request at a time.

    Attributes:
        reused: It has served a request before; a loss before any answer may then only mean
            that the backend had closed it while idle.
        answering: Bytes of the present answer have come.
        idle_since: Monotonic seconds of the last release.
    """

    __slots__ = (
        "_consume",
        "_fields",
        "_head",
        "_listener",
        "_owner",
        "answering",
        "closed",
        "idle_since",
        "reused",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner = owner
        self._listener: AnswerListener | None = None
        self._head = b""
        self._consume: Callable[[bytes], None] | None = None
        self._fields: RawHeaders = []
        self.answering = False
        self.reused = False
        self.closed = True  # until it is open
        self.idle_since = 0.0

    def send(self, listener: AnswerListener, head: bytes, body: bytes) -> None:
        """Send one request; its answer goes to ``listener``."""
        self._listener = listener
        self.answering = False
        if len(body) < _JOIN_BELOW_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))

    def detach(self) -> None:
        """The answer is over; the connection is idle."""
        self._listener = None
        self._consume = None
        self.reused = True

    def abort(self) -> None:
        """Close at once; the backend sees its client leave and stops generating."""
        self._listener = None
        self._consume = None
        if not self.closed:
            self.transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        self._listener = None
        if not self.closed:
            self.transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.closed = False
        self.transport = transport  # type: ignore[assignment]  # asyncio types it by its base
        self.transport.set_write_buffer_limits(_WRITE_HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Parse a head or hand on a body."""
        consume = self._consume
        if consume is not None:
            try:
                consume(data)
            except WireError as error:
                self._break(error)
        elif self._listener is None:
            self.transport.abort()  # an idle connection has nothing to say
        else:
            self._read_head(self._listener, data)

    def eof_received(self) -> bool | None:
        """The backend will send no more; ``connection_lost`` follows."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the pool, then whoever still waits for an answer."""
        self.closed = True
        self._owner.on_closed(self)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_lost(exc)

    def pause_writing(self) -> None:
        """The kernel's buffer is full."""
        if self._listener is not None:
            self._listener.on_send_blocked(blocked=True)

    def resume_writing(self) -> None:
        """There is room again."""
        if self._listener is not None:
            self._listener.on_send_blocked(blocked=False)

    # llhttp callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header field."""
        self._fields.append((name.lower(), value))

    def _read_head(self, listener: AnswerListener, data: bytes) -> None:
        self.answering = True
        if self._head:
            data = self._head + data
            self._head = b""
        try:
            head, rest = self._final_head(data)
        except WireError as error:
            self._break(error)
            return
        if head is None:
            self._head = rest
            return
        consume = listener.on_head(head)
        if self._listener is listener:
            self._consume = consume
            if rest:
                self.data_received(rest)
        elif rest:
            # The answer was over with its head: what follows answers nothing, and whoever has the
            # connection by now must not take it for an answer.
            self.transport.abort()

    def _final_head(self, data: bytes) -> tuple[ResponseHead | None, bytes]:
        """The first head that is not interim and what follows it, or what is there of it."""
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = self._parse(data[: end + 4])
            data = data[end + 4 :]
            if head.status >= 200:  # noqa: PLR2004  1xx is interim; the final one follows
                return head, data
        return None, _check_unfinished(data)

    def _break(self, error: WireError) -> None:
        listener = self._listener
        self.abort()
        if listener is not None:
            listener.on_lost(error)

    def _parse(self, head: bytes) -> ResponseHead:
        if len(head) > _MAX_HEAD_BYTES:
            raise WireError("backend sent too large a response head")
        self._fields = []
        parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise WireError("backend's answer is not HTTP") from error
        status = parser.get_status_code()
        length, chunked = body_framing(status, self._fields)
        keep_alive = parser.should_keep_alive() and (chunked or length is not None)
        return ResponseHead(status, self._fields, length, chunked, keep_alive)


def _check_unfinished(data: bytes) -> bytes:
    """A head that has begun wrongly, or does not end, is not awaited."""
    if len(data) > _MAX_HEAD_BYTES:
        raise WireError("backend sent too large a response head")
    if not data.startswith(b"HTTP/1."[: len(data)]):
        raise WireError("backend's answer is not HTTP")
    return data
