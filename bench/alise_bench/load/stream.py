"""Reading what the load client needs from reply bodies: event counts, the end, usage, errors.

Pure. Bodies arrive in arbitrary pieces; the counts do not depend on how they were cut.
"""

from dataclasses import dataclass

import msgspec

_DONE = b"data: [DONE]\n\n"
_DATA = b"data: "
_NULL = msgspec.Raw(b"null")


class _Usage(msgspec.Struct):
    completion_tokens: int | None = None


class _Reply(msgspec.Struct):
    usage: _Usage | None = None
    error: msgspec.Raw = _NULL


_REPLY = msgspec.json.Decoder(_Reply)


class EventCounter:
    """Counts server-sent events, that is blank lines, in a body that arrives in pieces.

    JSON escapes its line breaks, so an empty line always ends an event. Only bare line feeds
    are understood: vLLM and everything measured here write those.
    """

    __slots__ = ("_half", "events")

    def __init__(self) -> None:
        self.events = 0
        self._half = False
        """The body so far ends in the first of two line breaks."""

    def feed(self, piece: bytes) -> None:
        """Take the next, non-empty piece of the body."""
        if self._half and piece[0] == 10:  # noqa: PLR2004  line feed
            self.events += 1
            piece = piece[1:]
        self.events += piece.count(b"\n\n")
        # An odd run of line breaks at the end is an open half.
        self._half = (len(piece) - len(piece.rstrip(b"\n"))) % 2 == 1


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """What the last bytes of a reply say."""

    done: bool
    """The stream ended with ``[DONE]``; always true for a JSON reply that parses."""
    tokens: int | None
    failed: bool
    """The reply holds an error object."""


def stream_is_done(tail: bytes) -> bool:
    """Whether a stream that ends in ``tail`` is whole."""
    return tail.endswith(_DONE)


def read_stream_end(tail: bytes) -> ReplyEnd:
    """Find usage and errors among the last events of a stream.

    Args:
        tail: The last bytes of the body; a first event that was cut is skipped.
    """
    tokens: int | None = None
    failed = False
    for event in tail.split(b"\n\n"):
        if not event.startswith(_DATA) or event.endswith(b"[DONE]"):
            continue
        reply = _decode(event[len(_DATA) :])
        if reply is None:
            continue
        failed = failed or bool(reply.error != _NULL)
        if reply.usage is not None and reply.usage.completion_tokens is not None:
            tokens = reply.usage.completion_tokens
    return ReplyEnd(done=stream_is_done(tail), tokens=tokens, failed=failed)


def read_json_end(body: bytes) -> ReplyEnd:
    """Read usage from a whole JSON reply."""
    reply = _decode(body)
    if reply is None:
        return ReplyEnd(done=False, tokens=None, failed=False)
    tokens = reply.usage.completion_tokens if reply.usage else None
    return ReplyEnd(done=True, tokens=tokens, failed=bool(reply.error != _NULL))


def _decode(data: bytes) -> _Reply | None:
    try:
        return _REPLY.decode(data)
    except msgspec.DecodeError:
        return None
