"""One client connection: sends prepared bytes, parses the reply, reports one result.

Comes in: a :class:`LoadRequest` at a time. Goes out: one ``RequestResult`` per request, through
the callback, always, also when the connection breaks. Refuses: pipelining.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from alise_bench.load.request import LoadRequest
from alise_bench.load.result import ErrorKind, RequestResult
from alise_bench.load.stream import EventCounter, read_json_end, read_stream_end, stream_is_done

_OK = 200

# Enough pieces to hold the usage event and [DONE] of a stream that arrives event by event.
_TAIL_PIECES = 16

Done = Callable[["Connection", RequestResult], None]


class Connection(asyncio.Protocol):
    """A keep-alive HTTP/1.1 client connection for one request at a time.

    Attributes:
        usable: The connection can take the next request.
    """

    def __init__(
        self, now: Callable[[], float], done: Done, lost: Callable[["Connection"], None]
    ) -> None:
        self._now = now
        self._done = done
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._request: LoadRequest | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._counter = EventCounter()
        self._tail: deque[bytes] = deque(maxlen=_TAIL_PIECES)
        self._number = 0
        self._started = 0.0
        self._first = 0.0
        self._bytes = 0
        self._status = 0
        self.usable = False

    def send(self, number: int, request: LoadRequest) -> None:
        """Start a request; ``done`` is called exactly once for it."""
        self._request = request
        self._number = number
        self._bytes = self._status = 0
        self._first = 0.0
        self._tail.clear()
        if request.streamed:
            self._counter = EventCounter()
        self._started = self._now()
        if self._transport is None or self._transport.is_closing():
            self.usable = False
            self._finish(ErrorKind.RESET)
        else:
            self._transport.write(request.wire)

    def abandon(self) -> None:
        """Give up on the request in flight: it is reported as unfinished."""
        self._finish(ErrorKind.UNFINISHED)
        self.close()

    def close(self) -> None:
        """Close without reporting anything."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        # The loop hands a stream transport to a stream protocol; uvloop's is no subclass.
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.usable = False
            self._finish(ErrorKind.PROTOCOL)
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        del error
        self.usable = False
        self._finish(ErrorKind.TRUNCATED if self._status else ErrorKind.RESET)
        self._lost(self)

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if not self._bytes:
            self._first = self._now()
        self._bytes += len(body)
        self._tail.append(body)
        if self._request is not None and self._request.streamed:
            self._counter.feed(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self.usable = self._parser.should_keep_alive()
        self._finish(None)

    def _finish(self, error: ErrorKind | None) -> None:
        request = self._request
        if request is None:
            return
        self._request = None
        ended = self._now()
        tokens: int | None = None
        if error is None:
            error, tokens = self._judge(request)
        self._done(
            self,
            RequestResult(
                number=self._number,
                started=self._started,
                ttfb=self._first - self._started if self._first else 0.0,
                total=ended - self._started,
                status=self._status,
                events=self._counter.events if request.streamed else 0,
                body_bytes=self._bytes,
                tokens=tokens,
                error=error,
            ),
        )

    def _judge(self, request: LoadRequest) -> tuple[ErrorKind | None, int | None]:
        """Decide whether a complete reply is also a good one."""
        if self._status != _OK:
            return ErrorKind.STATUS, None
        if not request.reads_usage:
            if request.streamed and not stream_is_done(b"".join(self._tail)):
                return ErrorKind.TRUNCATED, None
            return None, None
        tail = b"".join(self._tail)
        end = read_stream_end(tail) if request.streamed else read_json_end(tail)
        if end.failed:
            return ErrorKind.STREAM_ERROR, end.tokens
        return (None if end.done else ErrorKind.TRUNCATED), end.tokens
