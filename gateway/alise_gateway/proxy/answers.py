"""How an answer travels on: as a stream of events, or as one body.

Both hold back until they *commit*: a JSON answer until it is whole (or too large to hold), a
stream until its first event shows that it is not a rejection in disguise (vLLM answers a full
queue with HTTP 200 and an error event). A stream that breaks after that ends with an error
event; a body that breaks is cut, so that its framing shows the loss.

Where the client wants to be told the tier that served it, a stream is rewritten event by event and
a JSON answer when it is whole; one too large to hold travels as it came.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from alise_gateway.domain.request import InferenceRequest
from alise_gateway.proxy.body import LAST_CHUNK, BodyReader, chunk
from alise_gateway.proxy.chunked import WholeChunks
from alise_gateway.proxy.head import ResponseHead, reply_head
from alise_gateway.proxy.sse import EventStream, error_event
from alise_gateway.proxy.tier_echo import TierEcho, echo_of
from alise_gateway.proxy.usage import NO_USAGE, Usage, body_usage, tail_usage

_HOLD_BYTES = 256 * 1024
_TAIL_BYTES = 8 * 1024
_FIRST_ERROR_STATUS = 400
_CHUNKED_FIELD = b"transfer-encoding: chunked\r\n"
_CLOSE_FIELD = b"connection: close\r\n"
_LOST = "The backend stopped answering in the middle of the stream; please retry the request."
_LOST_CODE = "backend_lost_midstream"
_SHUT_DOWN = "The gateway is shutting down and ended the stream; please retry the request."
_SHUT_DOWN_CODE = "rejected_shutting_down"
_DEFAULT_ERROR_STATUS = 502
_OVERLOAD_STATUS = 503
_QUOTED_OVERLOAD = "'code': 503}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A backend's error answer that the client has not seen."""

    status: int
    body: bytes
    retry_after: bytes | None = None


class AnswerSink(Protocol):
    """The client's side of a request."""

    @property
    def takes_chunks(self) -> bool:
        """False for HTTP/1.0 clients: a body of unknown length ends by closing."""
        ...

    @property
    def keeps_alive(self) -> bool:
        """The client's connection stays open after the answer."""
        ...

    @property
    def write(self) -> Callable[[bytes], None]:
        """Sends bytes of the answer, head and framing included."""
        ...

    def end(self, data: bytes, *, keep_alive: bool) -> None:
        """Send the last bytes of the answer."""
        ...

    def cut(self) -> None:
        """The answer cannot be completed and its framing cannot say so: close at once."""
        ...


class AnswerOwner(Protocol):
    """The attempt that the answer belongs to."""

    def commit(self) -> bytes:
        """The answer starts to travel; gives the gateway's response fields."""
        ...

    def on_answered(self, *, reusable: bool) -> None:
        """Complete, and given to the client."""
        ...

    def on_stream_error(self, *, reusable: bool) -> None:
        """Complete, given to the client, and it said that it had failed."""
        ...

    def on_refused(self, answer: Answer, *, reusable: bool) -> None:
        """An error that the client has not seen."""
        ...

    def on_truncated(self) -> None:
        """Over before its end; the owner calls ``break_off``."""
        ...


class RelayedAnswer(Protocol):
    """What an attempt does with either kind of answer.

    Attributes:
        head: The backend's head.
        reads: Reads that were looked at; those that passed untouched only count as bytes.
        sent_bytes: Bytes of the body given to the client.
    """

    head: ResponseHead
    reads: int
    sent_bytes: int

    @property
    def usage(self) -> Usage:
        """Token counts the answer stated so far."""
        ...

    def on_head(self) -> None:
        """The head is there; a body may follow or not."""
        ...

    def on_body(self, data: bytes) -> None:
        """The next bytes as read; raises WireError where their framing is broken."""
        ...

    def on_connection_end(self) -> bool:
        """The connection has ended; whether the answer is complete by that."""
        ...

    def client_gone(self) -> bool:
        """Nobody reads on; True where all was said before, and the answer ends by that."""
        ...

    def break_off(self, *, shutting_down: bool = False) -> None:
        """Tell the client, in the way that is left, that the rest will not come.

        Args:
            shutting_down: By the gateway's own decision, not by a failure of the backend.
        """
        ...


class StreamAnswer:
    """A stream of server-sent events."""

    __slots__ = (
        "_aligned",
        "_committed",
        "_held",
        "_keep_alive",
        "_may_align",
        "_may_pass",
        "_owner",
        "_reader",
        "_request",
        "_sink",
        "_stream",
        "_takes_chunks",
        "_write",
        "head",
        "reads",
        "sent_bytes",
    )

    def __init__(
        self,
        head: ResponseHead,
        owner: AnswerOwner,
        sink: AnswerSink,
        request: InferenceRequest,
        whole_chunks: WholeChunks,
    ) -> None:
        self.head = head
        self.reads = 0
        self.sent_bytes = 0
        self._owner = owner
        self._sink = sink
        self._request = request
        self._reader = BodyReader(head)
        self._stream = EventStream(
            request.endpoint,
            whole_chunks,
            withhold_usage=request.injects_usage,
            echo=echo_of(request),
        )
        # Bound once: these run for every token.
        self._may_pass = self._stream.may_pass
        self._write = sink.write
        self._takes_chunks = sink.takes_chunks
        self._may_align = sink.takes_chunks and request.tier_echo is None
        self._committed = False
        # What the head said, once it is sent: a gateway that leaves meanwhile keeps its word.
        self._keep_alive = False
        self._held = b""
        # Committed, chunked on both sides, between two events, and with nothing to change.
        self._aligned = False

    @property
    def usage(self) -> Usage:
        """Token counts seen so far."""
        return self._stream.usage

    def on_head(self) -> None:
        """A stream without a body is no stream."""
        if self._reader.finished:
            self._end()

    def on_body(self, data: bytes) -> None:
        """Forward whole events, untouched where nothing needs to be read or changed."""
        if self._aligned and self._may_pass(data):
            self._write(data)
            self.sent_bytes += len(data)
            return
        self.reads += 1
        out = self._stream.feed(self._reader.feed(data))
        if self._committed:
            self._forward(out)
        else:
            self._hold(out)

    def on_connection_end(self) -> bool:
        """Complete only where the connection's end is the body's end."""
        if not self._reader.end_of_connection():
            return False
        self._end()
        return True

    def client_gone(self) -> bool:
        """Clients leave at the last event, which engines send apart from the end of the body."""
        if not (self._committed and self._stream.complete):
            return False
        self._conclude(reusable=False)
        return True

    def break_off(self, *, shutting_down: bool = False) -> None:
        """End the stream with an error event."""
        why = (_SHUT_DOWN, _SHUT_DOWN_CODE) if shutting_down else (_LOST, _LOST_CODE)
        event = error_event(self._request.endpoint, *why)
        self._finish_sink(event)

    def _hold(self, out: bytes) -> None:
        """Wait for the first event, then commit or hand the error back."""
        self._held += out
        if self._stream.error is not None:
            self._refuse()
        elif self._stream.started or len(self._held) > _HOLD_BYTES:
            self._commit()
        elif self._reader.finished:
            self._end()

    def _commit(self) -> None:
        fields = self._owner.commit()
        if self._takes_chunks:
            fields += _CHUNKED_FIELD
        self._keep_alive = self._takes_chunks and self._sink.keeps_alive
        if not self._keep_alive:
            fields += _CLOSE_FIELD
        self._committed = True
        out, self._held = self._held, b""
        self._forward(out, reply_head(self.head, fields))

    def _forward(self, out: bytes, head: bytes = b"") -> None:
        self.sent_bytes += len(out)
        framed = head + (chunk(out) if self._takes_chunks else out)
        if self._reader.finished:
            self._end(framed)
            return
        if framed:
            self._sink.write(framed)
        self._aligned = (
            self._may_align and self._reader.between_chunks and self._stream.between_events
        )

    def _end(self, last: bytes = b"") -> None:
        """The backend ended the body; was that the end of the stream?"""
        if not self._committed or not self._stream.complete:
            if last:
                self._sink.write(last)
            self._owner.on_truncated()
            return
        self._finish_sink(b"", last)
        self._conclude(reusable=self.head.keep_alive)

    def _conclude(self, *, reusable: bool) -> None:
        if self._stream.error is None:
            self._owner.on_answered(reusable=reusable)
        else:
            self._owner.on_stream_error(reusable=reusable)

    def _finish_sink(self, event: bytes, before: bytes = b"") -> None:
        if self._takes_chunks:
            event = chunk(event) + LAST_CHUNK
        self._sink.end(before + event, keep_alive=self._keep_alive)

    def _refuse(self) -> None:
        error = self._stream.error or b"{}"
        status = _error_code(error)
        self._owner.on_refused(Answer(status, b'{"error":' + error + b"}"), reusable=False)


class BodyAnswer:
    """An answer that is one body, JSON as a rule."""

    __slots__ = (
        "_committed",
        "_echo",
        "_held",
        "_held_bytes",
        "_keep_alive",
        "_owner",
        "_reader",
        "_sink",
        "_tail",
        "head",
        "reads",
        "sent_bytes",
        "usage",
    )

    def __init__(
        self,
        head: ResponseHead,
        owner: AnswerOwner,
        sink: AnswerSink,
        echo: TierEcho | None = None,
    ) -> None:
        self.head = head
        self.reads = 0
        self.sent_bytes = 0
        self.usage = NO_USAGE
        self._echo = echo
        self._owner = owner
        self._sink = sink
        self._reader = BodyReader(head)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._tail = b""
        self._committed = False
        self._keep_alive = False

    def on_head(self) -> None:
        """The body may be empty."""
        if self._reader.finished:
            self._end()

    def on_body(self, data: bytes) -> None:
        """Hold the body, or forward it where it is too large for that."""
        self.reads += 1
        payload = self._reader.feed(data)
        if self._committed:
            self._forward(payload)
            return
        self._held.append(payload)
        self._held_bytes += len(payload)
        if self._reader.finished:
            self._end()
        elif self._held_bytes > _HOLD_BYTES:
            self._stop_holding()

    def on_connection_end(self) -> bool:
        """Complete only where the connection's end is the body's end."""
        if not self._reader.end_of_connection():
            return False
        self._end()
        return True

    def client_gone(self) -> bool:
        """A body is over when it was sent; before that the client has no answer."""
        return False

    def break_off(self, *, shutting_down: bool = False) -> None:
        """Nothing in a JSON body can say that it is broken; its framing must."""
        self._sink.cut()

    def _end(self) -> None:
        reusable = self.head.keep_alive
        body = b"".join(self._held)
        if not self._committed:
            if self.head.status >= _FIRST_ERROR_STATUS:
                answer = Answer(self.head.status, body, self._field(b"retry-after"))
                self._owner.on_refused(answer, reusable=reusable)
                return
            self._send_whole(body)
        else:
            self.usage = tail_usage(self._tail)
            last = LAST_CHUNK if self._sink.takes_chunks else b""
            self._sink.end(last, keep_alive=self._keep_alive)
        self._owner.on_answered(reusable=reusable)

    def _send_whole(self, body: bytes) -> None:
        self.usage = body_usage(body)
        if self._echo is not None:
            body = self._echo.in_body(body)
        self._committed = True
        self._keep_alive = self._sink.keeps_alive
        fields = self._owner.commit() + b"content-length: %d\r\n" % len(body)
        if not self._keep_alive:
            fields += _CLOSE_FIELD
        self.sent_bytes = len(body)
        self._sink.end(reply_head(self.head, fields) + body, keep_alive=self._keep_alive)

    def _stop_holding(self) -> None:
        if self.head.status >= _FIRST_ERROR_STATUS:
            # Nobody reads an error that long; its status says enough.
            self._owner.on_refused(Answer(self.head.status, b""), reusable=False)
            return
        self._committed = True
        chunks = self._sink.takes_chunks
        fields = self._owner.commit()
        if chunks:
            fields += _CHUNKED_FIELD
        self._keep_alive = chunks and self._sink.keeps_alive
        if not self._keep_alive:
            fields += _CLOSE_FIELD
        self._sink.write(reply_head(self.head, fields))
        held, self._held = b"".join(self._held), []
        self._forward(held)

    def _forward(self, payload: bytes) -> None:
        """Pass on a large body; its last part is kept in view for the token counts."""
        self.sent_bytes += len(payload)
        self._tail = (self._tail + payload[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        framed = chunk(payload) if self._sink.takes_chunks else payload
        if framed:
            self._sink.write(framed)
        if self._reader.finished:
            self._end()

    def _field(self, wanted: bytes) -> bytes | None:
        for name, value in self.head.fields:
            if name == wanted:
                return value
        return None


class _ErrorDetail(msgspec.Struct):
    code: int | str | None = None
    type: str | None = None
    message: str | None = None


def _error_code(error: bytes) -> int:
    """HTTP status that an error event stands for; vLLM puts it in ``code``.

    On ``/v1/messages`` vLLM 0.32 wraps its full-queue error into an ``internal_error`` whose text
    quotes the code. That must not look like a broken engine: breakers would open under load.
    """
    try:
        detail = msgspec.json.decode(error, type=_ErrorDetail)
    except msgspec.DecodeError:
        return _DEFAULT_ERROR_STATUS
    if detail.type == "internal_error" and _QUOTED_OVERLOAD in (detail.message or ""):
        return _OVERLOAD_STATUS
    code = detail.code
    is_status = isinstance(code, int) and _FIRST_ERROR_STATUS <= code < 600  # noqa: PLR2004
    return code if is_status and isinstance(code, int) else _DEFAULT_ERROR_STATUS
