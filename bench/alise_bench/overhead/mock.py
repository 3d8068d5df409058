"""A backend that answers at once: the fastest engine-shaped server that Python can be.

Answers chat completions with one fixed JSON reply, or with a stream of fixed events of which
each leaves in its own ``send``; ``/health`` and ``/v1/models`` for the proxies' probes. All
streams of one backend advance together, once per interval, as those of an engine step do.
It computes nothing, so that whatever is measured in front of it is the proxy's doing.
"""

import asyncio
from typing import cast

import httptools
import msgspec

MODEL = "mock"
DEFAULT_EVENTS = 128
_MAX_EVENTS = 100_000

# A stalled tick is tried again after this: every open stream waits for its client to read.
_STALLED_SECONDS = 0.001


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _ChatBody(msgspec.Struct):
    stream: bool = False
    max_tokens: int | None = None
    stream_options: _StreamOptions | None = None


_CHAT = msgspec.json.Decoder(_ChatBody)


def _reply(body: bytes, status: bytes = b"200 OK") -> bytes:
    return (
        b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        % (status, len(body))
    ) + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHAT_BODY = (
    b'{"id":"chatcmpl-0000000000000000","object":"chat.completion","created":1700000000,'
    b'"model":"mock","choices":[{"index":0,"message":{"role":"assistant","content":'
    b'"The answer is forty-two."},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":12,"total_tokens":20,"completion_tokens":8}}'
)
# Words of one length take turns: a proxy that looks for a model stuck in a loop finds none.
_WORDS = (b" lorem", b" ipsum", b" dolor", b" amet,", b" elitr", b" magna", b" velit")


def _event(delta: bytes, finish_reason: bytes) -> bytes:
    return (
        b'data: {"id":"chatcmpl-0000000000000000","object":"chat.completion.chunk",'
        b'"created":1700000000,"model":"mock","choices":[{"index":0,"delta":{%b},'
        b'"logprobs":null,"finish_reason":%b}]}\n\n' % (delta, finish_reason)
    )


_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
_DONE = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
_JSON_REPLY = _reply(CHAT_BODY)
_HEALTH_REPLY = _reply(b"")
_MODELS_REPLY = _reply(
    b'{"object":"list","data":[{"id":"mock","object":"model","created":1700000000,'
    b'"owned_by":"vllm","root":"mock","parent":null,"max_model_len":131072}]}'
)
_NOT_FOUND = _reply(b'{"detail":"Not Found"}', b"404 Not Found")
_BAD_REQUEST = _reply(b'{"detail":"Bad Request"}', b"400 Bad Request")
_CHUNKS = tuple(_chunk(_event(b'"content":"%b"' % word, b"null")) for word in _WORDS)
_LAST_CHUNK = _chunk(_event(b"", b'"stop"'))


def _usage_chunk(tokens: int) -> bytes:
    return _chunk(
        b'data: {"id":"chatcmpl-0000000000000000","object":"chat.completion.chunk",'
        b'"created":1700000000,"model":"mock","choices":[],"usage":{"prompt_tokens":12,'
        b'"total_tokens":%d,"completion_tokens":%d}}\n\n' % (tokens + 12, tokens)
    )


class _Stream:
    """One reply under way: its connection and how many events are left."""

    __slots__ = ("connection", "left", "tokens", "wants_usage")

    def __init__(self, connection: "_Connection", tokens: int, *, wants_usage: bool) -> None:
        self.connection = connection
        self.tokens = self.left = tokens
        self.wants_usage = wants_usage


class MockEngine:
    """One mock backend.

    Attributes:
        interval_seconds: Time between two events of a stream; 0 is as fast as it goes. Change it
            between scenarios only.
        requests: Chat requests answered so far.
    """

    def __init__(self) -> None:
        self.interval_seconds = 0.0
        self.requests = 0
        self.port = 0
        self._streams: dict[_Stream, None] = {}
        self._server: asyncio.Server | None = None
        self._ticking = False
        self._next_tick = 0.0

    async def start(self) -> None:
        """Listen on a free loopback port, which ``port`` then holds."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", 0, backlog=4_096
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut what is under way."""
        for stream in list(self._streams):
            stream.connection.cut()
        if self._server is not None:
            self._server.close()

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_streams(self) -> int:
        """Streams under way."""
        return len(self._streams)

    def add(self, stream: _Stream) -> None:
        """Start a stream: the first event leaves with the head of the reply."""
        stream.connection.write(_STREAM_HEAD + self._step(stream))
        if stream.left:
            self._streams[stream] = None
            self._wake()

    def drop(self, stream: _Stream) -> None:
        """Forget a stream whose connection is gone."""
        self._streams.pop(stream, None)

    def _wake(self) -> None:
        if self._ticking:
            return
        self._ticking = True
        loop = asyncio.get_running_loop()
        self._next_tick = loop.time() + self.interval_seconds
        loop.call_at(self._next_tick, self._tick)

    def _tick(self) -> None:
        advanced = False
        ended = []
        for stream in self._streams:
            if stream.connection.paused:
                continue
            advanced = True
            stream.connection.write(self._step(stream))
            if not stream.left:
                ended.append(stream)
        for stream in ended:
            del self._streams[stream]
            stream.connection.finished()
        self._schedule(advanced=advanced)

    def _schedule(self, *, advanced: bool) -> None:
        loop = asyncio.get_running_loop()
        if not self._streams:
            self._ticking = False
        elif self.interval_seconds:
            # A late tick is not made up for: an engine's steps do not catch up either.
            self._next_tick = max(self._next_tick + self.interval_seconds, loop.time())
            loop.call_at(self._next_tick, self._tick)
        elif advanced:
            loop.call_soon(self._tick)
        else:
            loop.call_later(_STALLED_SECONDS, self._tick)

    def _step(self, stream: _Stream) -> bytes:
        stream.left -= 1
        if stream.left:
            return _CHUNKS[stream.left % len(_CHUNKS)]
        usage = _usage_chunk(stream.tokens) if stream.wants_usage else b""
        return _LAST_CHUNK + usage + _DONE


class _Connection(asyncio.Protocol):
    """One connection of a proxy (or of the load generator) to a mock backend."""

    def __init__(self, engine: MockEngine) -> None:
        self.paused = False
        self._engine = engine
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._stream: _Stream | None = None
        self._url = b""
        self._body: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send, unless the peer is gone."""
        if self._transport is not None:
            self._transport.write(data)

    def cut(self) -> None:
        """Close without finishing the reply."""
        if self._transport is not None:
            self._transport.abort()

    def finished(self) -> None:
        """The stream of this connection has ended."""
        self._stream = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        # The loop hands a stream transport to a stream protocol; uvloop's is no subclass.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        del error
        self._transport = None
        if self._stream is not None:
            self._engine.drop(self._stream)

    def pause_writing(self) -> None:
        """Called by the event loop."""
        self.paused = True

    def resume_writing(self) -> None:
        """Called by the event loop."""
        self.paused = False

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.cut()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._body = []

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self._url = url

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._url == b"/v1/chat/completions":
            self._chat(b"".join(self._body))
        elif self._url == b"/health":
            self.write(_HEALTH_REPLY)
        elif self._url == b"/v1/models":
            self.write(_MODELS_REPLY)
        else:
            self.write(_NOT_FOUND)

    def _chat(self, body: bytes) -> None:
        try:
            chat = _CHAT.decode(body)
        except msgspec.DecodeError:
            self.write(_BAD_REQUEST)
            return
        self._engine.requests += 1
        if not chat.stream:
            self.write(_JSON_REPLY)
            return
        tokens = min(max(chat.max_tokens or DEFAULT_EVENTS, 2), _MAX_EVENTS)
        usage = chat.stream_options is not None and chat.stream_options.include_usage
        self._stream = _Stream(self, tokens, wants_usage=usage)
        self._engine.add(self._stream)
