"""Token counts from a backend's answer: decoded once, nothing else of the body is looked at.

Covers the ``usage`` object of OpenAI's chat, completions, embeddings and responses, and of
Anthropic's messages (which splits it over two events).
"""

import json

import msgspec

_MAX_TOKENS = 2**40
_NULL = msgspec.Raw(b"null")
"""A field that is absent. ``Raw`` stands alone: in a union with None, msgspec takes only null."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one request as the engine counted them; ``None`` where it did not say."""

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None

    def merged(self, newer: "Usage | None") -> "Usage":
        """What is known after a later event; its figures win where it has them."""
        if newer is None:
            return self
        return Usage(
            self.prompt_tokens if newer.prompt_tokens is None else newer.prompt_tokens,
            self.output_tokens if newer.output_tokens is None else newer.output_tokens,
            self.cached_tokens if newer.cached_tokens is None else newer.cached_tokens,
        )


NO_USAGE = Usage()


class _TokenDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _WireUsage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _TokenDetails | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _TokenDetails | None = None
    cache_read_input_tokens: int | None = None


class _Nested(msgspec.Struct):
    usage: _WireUsage | None = None
    error: msgspec.Raw = _NULL


class Envelope(msgspec.Struct):
    """The few fields of an answer or event that the gateway reads."""

    type: str | None = None
    choices: list[msgspec.Raw] | None = None
    usage: _WireUsage | None = None
    response: _Nested | None = None
    message: msgspec.Raw = _NULL
    """Anthropic's first event nests its usage here; in error events it is a text."""
    error: msgspec.Raw = _NULL


class _Body(msgspec.Struct):
    usage: _WireUsage | None = None


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_nested = msgspec.json.Decoder(_Nested).decode
_decode_body = msgspec.json.Decoder(_Body).decode


def decode_event(payload: bytes) -> Envelope | None:
    """Read one SSE event's JSON; ``None`` where it is not an object of the expected shape."""
    try:
        return _decode_envelope(payload)
    except (msgspec.DecodeError, RecursionError):
        return None


def event_usage(event: Envelope) -> Usage | None:
    """Token counts of one event, wherever its API keeps them."""
    wire = event.usage
    if wire is None and event.response is not None:
        wire = event.response.usage
    if wire is None:
        wire = _nested_usage(event.message)
    return None if wire is None else _from_wire(wire)


def _nested_usage(message: msgspec.Raw) -> _WireUsage | None:
    if not bytes(message).startswith(b"{"):
        return None
    try:
        return _decode_nested(message).usage
    except (msgspec.DecodeError, RecursionError):
        return None


def body_usage(body: bytes) -> Usage:
    """Token counts of a whole JSON answer; nothing known where it is no such JSON."""
    try:
        wire = _decode_body(body).usage
    except (msgspec.DecodeError, RecursionError):
        return NO_USAGE
    return NO_USAGE if wire is None else _from_wire(wire)


def tail_usage(tail: bytes) -> Usage:
    """Token counts from the end of an answer too large to hold; engines put them there."""
    start = tail.rfind(b'"usage":')
    if start < 0:
        return NO_USAGE
    text = tail[start + len(b'"usage":') :].decode(errors="replace").lstrip()
    try:
        wire, _ = json.JSONDecoder().raw_decode(text)
        return _from_wire(msgspec.convert(wire, _WireUsage))
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return NO_USAGE


def _from_wire(wire: _WireUsage) -> Usage:
    prompt = wire.input_tokens if wire.prompt_tokens is None else wire.prompt_tokens
    output = wire.output_tokens if wire.completion_tokens is None else wire.completion_tokens
    details = wire.prompt_tokens_details or wire.input_tokens_details
    cached = wire.cache_read_input_tokens if details is None else details.cached_tokens
    return Usage(_plausible(prompt), _plausible(output), _plausible(cached))


def _plausible(tokens: int | None) -> int | None:
    """Counts are summed in metrics and logs: one absurd figure would spoil them all."""
    return tokens if tokens is not None and 0 <= tokens <= _MAX_TOKENS else None
