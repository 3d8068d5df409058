"""Server-sent events of a streamed answer: pure, independent of how the bytes were split.

In: payload as the engine framed it. Out: whole events, minus the usage event that the gateway
asked for on its own account, and with the tier where the client wants to be told; and what the
stream said of itself: tokens, errors, a proper end.

Most reads are whole HTTP chunks that end an event and carry nothing of interest; ``may_pass``
recognises them, and the relay forwards their bytes untouched. Everything else goes through
``feed``, which re-assembles events. The result is the same either way
(``tests/property/test_sse_relay.py``).

Source: WHATWG HTML, section 9.2 (event stream format); OpenAI and Anthropic streaming formats.
"""

import re

import msgspec

from alise_core.errors import WireError
from alise_core.wire.openai import Endpoint
from alise_gateway.proxy.chunked import WholeChunks
from alise_gateway.proxy.tier_echo import TierEcho
from alise_gateway.proxy.usage import NO_USAGE, Envelope, Usage, decode_event, event_usage

_EVENT_END = re.compile(rb"\n\r?\n")  # whatever ended the line before
_LINE_END = re.compile(rb"\r\n|\n")
_MAX_EVENT_BYTES = 16 * 1024 * 1024
_USAGE = b'"usage"'
_ERROR = b'"error"'

_DONE = b"[DONE]"
_LAST_TYPES: dict[Endpoint, frozenset[str]] = {
    Endpoint.MESSAGES: frozenset({"message_stop", "error"}),
    Endpoint.RESPONSES: frozenset(
        {"response.completed", "response.incomplete", "response.failed", "error"}
    ),
}
"""Event types that close a stream; the other endpoints close theirs with ``data: [DONE]``."""


class EventStream:
    """One streamed answer on its way through.

    Args:
        endpoint: Whose answer it is.
        chunks: Recognises reads that are whole events.
        withhold_usage: The client does not get the event that states usage only.
        echo: Sets the tier in every event that has one; none of its reads may pass untouched.

    Attributes:
        usage: Token counts seen so far.
        error: The JSON of the first error event, if any.
    """

    __slots__ = (
        "_chunk_sizes",
        "_echo",
        "_end_with_event",
        "_first",
        "_last_types",
        "_partial",
        "_tail",
        "_withhold_usage",
        "error",
        "usage",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        chunks: WholeChunks,
        *,
        withhold_usage: bool,
        echo: TierEcho | None = None,
    ) -> None:
        self._chunk_sizes = chunks.event_sizes
        self._end_with_event = chunks.end_with_event
        self._withhold_usage = withhold_usage
        self._echo = echo
        self._last_types = _LAST_TYPES.get(endpoint, frozenset())
        self._partial = b""
        self._tail = b""
        self._first = True
        self.usage: Usage = NO_USAGE
        self.error: bytes | None = None

    @property
    def started(self) -> bool:
        """The first event, other than comments, is there."""
        return not self._first

    @property
    def between_events(self) -> bool:
        """The stream has started and no event is half read."""
        return not (self._partial or self._first)

    def may_pass(self, data: bytes) -> bool:
        """Whether a read of chunked bytes may be forwarded as it is.

        The caller asks only while its chunk decoder stands between chunks and this stream between
        events. True also records the read as the latest of the stream. One function, because it
        runs for every token.
        """
        if _USAGE in data or _ERROR in data:
            return False
        line = data.partition(b"\r\n")[0]
        # The usual read is one chunk, of a size that was seen before, that ends with its event.
        is_one_chunk = self._chunk_sizes.get(line) == len(data) - len(line) - 4
        if not (is_one_chunk and data.endswith(b"\n\n\r\n")) and not self._end_with_event(data):
            return False
        self._tail = data
        return True

    def feed(self, payload: bytes) -> bytes:
        """Take payload without framing; return the whole events that the client gets.

        Raises:
            WireError: An event is larger than any engine would send.
        """
        if self._partial:
            payload = self._partial + payload
            self._partial = b""
        end = _end_of_last_event(payload)
        if end < len(payload):
            self._partial = payload[end:]
            if len(self._partial) > _MAX_EVENT_BYTES:
                raise WireError("an event of the stream does not end")
            payload = payload[:end]
        if not payload:
            return b""
        if not payload.isspace():  # blank lines between events say nothing
            self._tail = payload
        if self._first or self._echo is not None or _USAGE in payload or _ERROR in payload:
            return self._inspect(payload)
        return payload

    @property
    def complete(self) -> bool:
        """The last event said that the stream is over, as its API prescribes."""
        data = _last_data(self._tail)
        if data == _DONE:
            return True
        envelope = decode_event(data) if self._last_types else None
        return envelope is not None and envelope.type in self._last_types

    def _inspect(self, payload: bytes) -> bytes:
        kept: list[bytes] = []
        start = 0
        for boundary in _EVENT_END.finditer(payload):
            event = payload[start : boundary.end()]
            start = boundary.end()
            data = event_data(event)
            if data is None:
                kept.append(event)
            elif self._keeps(event, data):
                kept.append(event if self._echo is None else self._echo.in_event(event, data))
        return b"".join(kept)

    def _keeps(self, event: bytes, data: bytes) -> bool:
        self._first = False
        if _USAGE not in event and _ERROR not in event:
            return True
        envelope = decode_event(data)
        if envelope is None:
            return True
        self._note(envelope, data)
        return not (self._withhold_usage and envelope.choices == [] and envelope.usage)

    def _note(self, envelope: Envelope, data: bytes) -> None:
        usage = event_usage(envelope)
        if usage is not None:
            self.usage = self.usage.merged(usage)
        if self.error is None:
            self.error = _error_of(envelope, data)


def event_data(event: bytes) -> bytes | None:
    """The ``data`` of one event, lines joined; ``None`` for a comment or an empty event."""
    lines = [
        line[6:] if line.startswith(b"data: ") else line[5:]
        for line in _LINE_END.split(event)
        if line.startswith(b"data:")
    ]
    return b"\n".join(lines) if lines else None


def error_event(endpoint: Endpoint, message: str, code: str) -> bytes:
    """An event that tells a client of ``endpoint`` that its stream broke."""
    if endpoint is Endpoint.MESSAGES:
        body: dict[str, object] = {
            "type": "error",
            "error": {"type": "api_error", "message": message},
        }
        return b"event: error\ndata: " + msgspec.json.encode(body) + b"\n\n"
    if endpoint is Endpoint.RESPONSES:
        body = {"type": "error", "code": code, "message": message, "param": None}
        return b"event: error\ndata: " + msgspec.json.encode(body) + b"\n\n"
    error = {"message": message, "type": "server_error", "param": None, "code": code}
    return b"data: " + msgspec.json.encode({"error": error}) + b"\n\n"


def _last_data(tail: bytes) -> bytes:
    """Data line that closes ``tail``, whether or not chunk framing is still around it."""
    tail = tail.rstrip(b"\r\n")
    start = tail.rfind(b"\n") + 1
    line = tail[start:]
    return line[5:].strip() if line.startswith(b"data:") else b""


def _error_of(envelope: Envelope, data: bytes) -> bytes | None:
    """The error that an event is, not one that it mentions, as every answer with ``null`` does."""
    error = bytes(envelope.error)
    if error != b"null" and envelope.choices is None:
        return error
    if envelope.type == "error":
        return data  # the Responses API states it flat
    if envelope.type == "response.failed" and envelope.response is not None:
        return bytes(envelope.response.error)
    return None


def _end_of_last_event(payload: bytes) -> int:
    """Offset after the last blank line; 0 where there is none."""
    if payload.endswith(b"\n\n"):
        return len(payload)
    unix = payload.rfind(b"\n\n")
    crlf = payload.rfind(b"\n\r\n")
    return max(unix + 2 if unix >= 0 else 0, crlf + 3 if crlf >= 0 else 0)
