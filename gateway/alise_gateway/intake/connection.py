"""One client connection: requests in, one at a time; answer bytes out.

``RequestReader`` makes requests of the bytes; this class adds time limits, one request in flight
per connection with a bounded number read ahead (pipelining), and the end of the connection. A
request that cannot be understood is the last: those before it are answered, then it is refused.
The connection is then drained for a moment before it closes, because a reset would destroy the
reply on its way.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from alise_core.clock import Clock
from alise_core.errors import RequestError
from alise_gateway.domain.request import HttpRequest, RawHeaders
from alise_gateway.intake.handler import Admission, Exchange, RequestHandler
from alise_gateway.intake.head import Head
from alise_gateway.intake.last_reply import LastReply
from alise_gateway.intake.phase import Phase
from alise_gateway.intake.reader import RequestReader
from alise_gateway.intake.refusals import defect, too_slow
from alise_gateway.intake.replies import CONTINUE, closing_reply, error_body, error_fields, reply
from alise_gateway.settings import LimitSettings, TimeoutSettings

_WRITE_HIGH_WATER_BYTES = 64 * 1024
_MAX_AHEAD_BYTES = 256 * 1024
_MAX_LINGER_BYTES = 4 * 1024 * 1024
_FAREWELL_SECONDS = 1.0
"""After an answer that did not say that it is the last one, a client may send its next request
before it sees the connection's end: so long the request is still read, and answered."""
_LOG = structlog.get_logger(__name__)


class ClientConnection(asyncio.Protocol):
    """Server side of HTTP/1.x: ``ClientSide`` of its exchanges, owner of its ``RequestReader``."""

    __slots__ = (
        "_ahead",
        "_clock",
        "_closing",
        "_continue_due",
        "_current",
        "_deadline",
        "_draining",
        "_exchange",
        "_handler",
        "_last_reply",
        "_last_words",
        "_limits",
        "_lingering_bytes",
        "_made",
        "_on_closed",
        "_paused",
        "_reader",
        "_timeouts",
        "_writing_blocked",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        handler: RequestHandler,
        limits: LimitSettings,
        timeouts: TimeoutSettings,
        clock: Clock,
        on_closed: Callable[["ClientConnection"], None],
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._timeouts = timeouts
        self._clock = clock
        self._on_closed = on_closed
        self._reader = RequestReader(self, limits)
        self._deadline: float | None = clock.now() + timeouts.header_seconds
        self._continue_due = False
        self._draining = False
        self._lingering_bytes = 0
        self._last_words: bytes | None = None
        self._last_reply: LastReply | None = None
        self._ahead: deque[tuple[HttpRequest, Admission]] = deque()
        self._current: HttpRequest | None = None
        self._exchange: Exchange | None = None
        self._closing = False
        self._made = False
        """Accepted connections are known a moment before they have a transport."""
        self._paused = False
        self._writing_blocked = False

    # AnswerSink

    @property
    def takes_chunks(self) -> bool:
        """Chunked framing exists since HTTP/1.1."""
        return self._current is not None and self._current.http_minor > 0

    @property
    def keeps_alive(self) -> bool:
        """The client wants to keep the connection, and the gateway does too."""
        return (
            self._current is not None
            and self._current.keep_alive
            and not self._closing
            and not self._handler.is_leaving
        )

    @property
    def write(self) -> Callable[[bytes], None]:
        """Sends bytes of the answer; the transport's own method, since it runs for every token."""
        return self.transport.write

    def end(self, data: bytes, *, keep_alive: bool) -> None:
        """Send the last bytes of the answer and go on to the next request.

        Args:
            data: The last bytes.
            keep_alive: What the answer's head said. It may have been sent before the server began
                to leave; then the answer to the next request says that it is the last one.
        """
        if data:
            self.transport.write(data)
        self._exchange = None
        self._current = None
        if not keep_alive:
            self._drain()
        elif self._ahead:
            # Not at once: a pipeline of immediate answers would recurse.
            asyncio.get_running_loop().call_soon(self._next)
        else:
            self._next()

    def cut(self) -> None:
        """Close without a proper end."""
        self._exchange = None
        self._current = None
        self.transport.abort()

    def refuse(self, error: RequestError, extra: RawHeaders) -> None:
        """Answer the current request with an error."""
        request = self._current
        keep_alive = self.keeps_alive
        head_only = request is not None and request.method == b"HEAD"
        endpoint = None if request is None else request.endpoint
        fields = [*error_fields(error), *extra]
        body = error_body(error, endpoint)
        data = reply(error.status, fields, body, keep_alive=keep_alive, head_only=head_only)
        self.end(data, keep_alive=keep_alive)

    def pass_error(self, status: int, fields: RawHeaders, body: bytes) -> None:
        """Answer the current request with a backend's own error."""
        keep_alive = self.keeps_alive
        self.end(reply(status, fields, body, keep_alive=keep_alive), keep_alive=keep_alive)

    # Server

    def sweep(self, now: float) -> None:
        """Enforce time limits; called a few times a second."""
        if self._exchange is not None:
            self._exchange.sweep(now)
        if self._last_reply is not None:
            if self._last_reply.is_over(now):
                self.transport.abort()
            return
        if self._deadline is None or now < self._deadline:
            return
        phase = self._phase
        if phase is Phase.HEAD:
            self._refuse_early(too_slow("headers", self._timeouts.header_seconds))
        elif phase is Phase.BODY:
            self._refuse_early(too_slow("body", self._timeouts.body_seconds))
        else:
            self.transport.abort()  # idle for too long, or the client does not read

    def shut_down(self) -> None:
        """Close when idle; an answer in progress ends first, and says that it is the last one."""
        self._closing = True
        idle = self._phase is Phase.IDLE and self._current is None and not self._ahead
        if idle and self._made:
            self.transport.close()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        if self._made:
            self.transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, or close it where the server has begun to leave meanwhile."""
        self.transport = transport  # type: ignore[assignment]  # asyncio types it by its base
        self._made = True
        self.transport.set_write_buffer_limits(_WRITE_HIGH_WATER_BYTES)
        if self._closing:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read requests, or let the client finish talking to nobody."""
        if self._draining:
            self._lingering_bytes += len(data)
            if self._lingering_bytes > _MAX_LINGER_BYTES:
                self.transport.abort()
            return
        reader = self._reader
        if reader.phase is Phase.IDLE and self._exchange is None:
            # Blank lines are a beginning too: they must not keep a connection open for ever.
            reader.phase = Phase.HEAD
            self._deadline = self._clock.now() + self._timeouts.header_seconds
        try:
            reader.feed(data)
        except RequestError as error:
            self._refuse_early(error)
        else:
            self._bound_what_is_ahead()

    def eof_received(self) -> bool | None:
        """A client that stops sending is gone: close, which ends what it asked for."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop whatever still works for this client."""
        del exc
        exchange, self._exchange = self._exchange, None
        self._ahead.clear()
        self._current = None
        self._deadline = None
        self._last_reply = None
        self._reader.let_go()
        self._on_closed(self)
        if exchange is not None:
            exchange.client_gone()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._writing_blocked = True
        if self._exchange is not None:
            self._exchange.client_blocked(blocked=True)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._writing_blocked = False
        if self._exchange is not None:
            self._exchange.client_blocked(blocked=False)
        else:
            self._next()

    # RequestOwner

    def on_head_begun(self) -> None:
        """The time for a head runs, unless it ran before its first byte already."""
        if self._deadline is None:
            self._deadline = self._clock.now() + self._timeouts.header_seconds

    def on_head(self, head: Head) -> Admission:
        """Have the head judged; invite its body where the client waits for that."""
        admission = self._handler.on_head(head)
        self._deadline = self._clock.now() + self._timeouts.body_seconds
        if head.expects_continue:
            self._continue_due = True
            if self._current is None and not self._ahead:
                self._invite_body()
            else:
                # An interim answer belongs behind the answers before it; till then nobody is slow.
                self._deadline = None
        return admission

    def on_body_begun(self) -> None:
        """The client sends its body, invited or not."""
        if self._continue_due:
            self._continue_due = False
            self._deadline = self._clock.now() + self._timeouts.body_seconds

    def on_request(self, request: HttpRequest, admission: Admission) -> None:
        """Hand a whole request on, or keep it until the one before is answered."""
        self._deadline = None
        self._continue_due = False
        self._ahead.append((request, admission))
        if self._current is None and len(self._ahead) == 1:
            self._next()

    # Inside

    @property
    def _phase(self) -> Phase:
        return Phase.DRAINING if self._draining else self._reader.phase

    def _next(self) -> None:
        """Start the next request that is whole, or wait for one."""
        if self._current is not None or self.transport.is_closing():
            return
        if self._writing_blocked:
            # Answers that nobody takes would pile up; ``resume_writing`` goes on.
            if self._phase is Phase.IDLE:
                self._deadline = self._clock.now() + self._timeouts.client_write_seconds
            return
        if not self._ahead:
            self._rest()
            return
        self._start(*self._ahead.popleft())

    def _start(self, request: HttpRequest, admission: Admission) -> None:
        self._current = request
        if self._phase is Phase.IDLE:
            self._deadline = None
        self._resume_reading()
        try:
            exchange = self._handler.on_request(self, request, admission)
        except Exception:
            # Boundary: without a reply the client would wait for ever.
            _LOG.exception("request_failed_to_start")
            if self._current is request:
                self.refuse(defect(), [])
            return
        # An immediate answer has ended the exchange already.
        if self._current is request:
            self._exchange = exchange

    def _rest(self) -> None:
        """Everything is answered: keep-alive time runs, or a request that is half here goes on."""
        if self._last_words is not None:
            self._say_last_words()
            return
        if self._phase is Phase.IDLE:
            patience = self._timeouts.keep_alive_seconds
            if self._closing:
                patience = min(patience, _FAREWELL_SECONDS)
            self._deadline = self._clock.now() + patience
        elif self._continue_due:
            self._invite_body()
        self._resume_reading()

    def _invite_body(self) -> None:
        self._continue_due = False
        self._deadline = self._clock.now() + self._timeouts.body_seconds
        self.transport.write(CONTINUE)

    def _resume_reading(self) -> None:
        if not self._paused:
            return
        self._paused = False
        self.transport.resume_reading()
        if self._phase is Phase.HEAD:
            self._deadline = self._clock.now() + self._timeouts.header_seconds
        elif self._phase is Phase.BODY and not self._continue_due:
            self._deadline = self._clock.now() + self._timeouts.body_seconds

    def _bound_what_is_ahead(self) -> None:
        """Requests that wait for their turn take memory: past a bound, no more is read."""
        if not self._ahead or self._paused:
            return
        ahead_bytes = sum(len(request.body) for request, _ in self._ahead)
        if len(self._ahead) >= self._limits.max_pipelined or ahead_bytes > _MAX_AHEAD_BYTES:
            self._paused = True
            self.transport.pause_reading()
            if not self._draining:
                self._deadline = None  # now it is the gateway that is slow

    def _refuse_early(self, error: RequestError) -> None:
        """Refuse a request that never became whole; what follows it cannot be trusted."""
        last = self._ahead[-1][0] if self._ahead else self._current
        self._read_no_more()
        if last is not None and not last.keep_alive:
            return  # nothing is a request that comes after the last one
        reader = self._reader
        self._handler.on_refused(error, reader.admission)
        head = reader.checked
        self._last_words = closing_reply(
            error, b"" if head is None else head.method, None if head is None else head.endpoint
        )
        if last is None:
            self._say_last_words()

    def _say_last_words(self) -> None:
        words, self._last_words = self._last_words, None
        if words is not None:
            self.transport.write(words)
            self._drain()

    def _read_no_more(self) -> None:
        """Ignore what the client still sends; the answers that are due end the connection."""
        if not self._draining:
            self._draining = True
            self._deadline = None
            self._lingering_bytes = 0
            self._reader.stop()

    def _drain(self) -> None:
        """Close once the client has had time to read the last reply."""
        self._read_no_more()
        self._ahead.clear()
        self._last_words = None
        self._lingering_bytes = 0
        self._last_reply = LastReply(
            self.transport, self._timeouts.client_write_seconds, self._clock.now()
        )
        if not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()
        self._resume_reading()
