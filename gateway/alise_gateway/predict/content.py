"""From a body's undecoded content to what the predictor sees of it. Pure.

A body of usual size is decoded and read by ``alise_predictor.request``, which training uses too. Of
a large one only those parts are decoded that the reader would not cut away: head and tail of long
strings, the first and the last messages. What is read of both is the same but for the length of the
whole text, which is estimated for a long string with escape sequences.
"""

from collections.abc import Callable
from dataclasses import replace

import msgspec

from alise_gateway.domain.content import ABSENT, ContentFields
from alise_predictor.request import MAX_TEXT_BYTES, PredictionRequest, from_body

_WHOLE_BYTES = 96 * 1024
"""Content and strings up to here are decoded whole: about 40 microseconds."""
_LONGEST_ESCAPE = 6
_EDGE_BYTES = _LONGEST_ESCAPE * MAX_TEXT_BYTES
"""Of a longer string this much is decoded at either end: enough for every byte that the reader
keeps, were each of them written as an escape sequence."""
_BOUNDARY_BYTES = 12
"""A surrogate pair's two escape sequences: no character is written longer."""
_KEPT_ITEMS = 64
"""Of a long list this many items are looked at from either end, as many as the reader looks at."""
_MOST_COMMAS = 100_000
"""Bounds the time to find a long list's items (50 ns each); more than 10,000 messages have."""
_DEPTH = 5
"""``messages``, message, ``content``, part, ``text``."""
_READ = ("role", "content", "output", "type", "text", "format")
_QUOTE, _BRACE, _BRACKET = b'"{['
_SPACE = b" \t\r\n"

_Decode = Callable[[bytes | msgspec.Raw], object]
_decode: _Decode = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_CONTENT = tuple(
    name for name in ContentFields.__struct_fields__ if name not in {"nvext", "vllm_xargs", "n"}
)


class TooLarge(Exception):
    """The content has more parts than can be told apart in time."""


def read_content(content: ContentFields, model: str, max_tokens: int | None) -> PredictionRequest:
    """What the predictor sees of a request.

    Args:
        content: The body's fields.
        model: Name of the served model.
        max_tokens: The tightest limit that the body states.

    Raises:
        TooLarge: It would take too long.
        msgspec.DecodeError: It is no valid JSON where intake did not look.
    """
    present = [(name, raw) for name in _CONTENT if (raw := getattr(content, name)) is not ABSENT]
    body: dict[str, object] = {"max_tokens": max_tokens}
    if sum(len(raw) for _, raw in present) <= _WHOLE_BYTES:
        for name, raw in present:
            body[name] = _decode(raw)
        return from_body(body, model)
    reducer = _Reducer()
    for name, raw in present:
        body[name] = reducer.reduced(raw, 0)
    request = from_body(body, model)
    return replace(request, prompt_bytes=request.prompt_bytes + reducer.removed_bytes)


def wants_one_answer(content: ContentFields) -> bool:
    """False where an answer's token count will be that of several answers together."""
    if content.n is not ABSENT and bytes(content.n) not in (b"1", b"null"):
        return False
    if content.prompt is ABSENT:
        return True
    start = bytes(memoryview(content.prompt)[:_BOUNDARY_BYTES])
    # A list of token ids is one prompt, a list of texts or of such lists is several.
    return start[:1] != b"[" or start[1:].lstrip(_SPACE)[:1] not in (b'"', b"[")


class _Reducer:
    """Decodes what the reader looks at of large JSON."""

    def __init__(self) -> None:
        self.removed_bytes = 0

    def reduced(self, raw: msgspec.Raw, depth: int) -> object:
        if len(raw) <= _WHOLE_BYTES:
            return _decode(raw)
        first = memoryview(raw)[0]
        if first == _QUOTE:
            return self._edges(raw)
        if depth >= _DEPTH:
            return None
        if first == _BRACE:
            fields = _decode_fields(raw)
            return {name: self.reduced(fields[name], depth + 1) for name in _READ if name in fields}
        return self._items(bytes(raw), depth) if first == _BRACKET else None

    def _items(self, raw: bytes, depth: int) -> list[object]:
        start = raw[1:_BOUNDARY_BYTES].lstrip(_SPACE)[:1]
        if start not in (b'"', b"{"):
            # A prompt of token ids, or of several such: there is no text in it.
            return []
        if raw.count(b",") > _MOST_COMMAS:
            raise TooLarge
        items = _decode_items(raw)
        reduced: list[object] = [None] * len(items)
        for index in {*range(len(items))[:_KEPT_ITEMS], *range(len(items))[-_KEPT_ITEMS:]}:
            reduced[index] = self.reduced(items[index], depth + 1)
        return reduced

    def _edges(self, raw: msgspec.Raw) -> str:
        """Head and tail of a long string; characters are lost in its middle only."""
        view = memoryview(raw)
        text = _head(view) + _tail(view)
        # The middle is taken to have as many escape sequences as the ends.
        share = len(text.encode()) / (2 * _EDGE_BYTES)
        self.removed_bytes += round((len(raw) - 2 * _EDGE_BYTES) * share)
        return text


def _head(view: memoryview) -> str:
    for end in range(_EDGE_BYTES, _EDGE_BYTES - _BOUNDARY_BYTES, -1):
        try:
            return _decode_text(bytes(view[:end]) + b'"')
        except ValueError:  # the cut fell inside a character or an escape sequence
            continue
    return ""


def _tail(view: memoryview) -> str:
    start = len(view) - _EDGE_BYTES
    for begin in range(start, start + _BOUNDARY_BYTES):
        try:
            return _decode_text(b'"' + bytes(view[begin:]))
        except ValueError:
            continue
    return ""
