"""From a body's undecoded content to what the predictor sees of it. Pure.

A body of usual size is decoded and read by ``alise_predictor.request``, which training uses too. Of
a large one only those parts are decoded that the reader would not cut away: head and tail of long
strings, the first and the last messages. What is read of both is the same but for the length of the
whole text, which is estimated for a long string with escape sequences.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import numpy as np

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
_MOST_ITEMS = 50_000
"""Bounds the time to find a long list's items (about 100 ns each)."""
_MOST_OBJECTS = 20_000
"""So many are read in one go (150 ns each); of more than that, only those that are looked at.
Braces in the text itself count too, because telling them apart would be reading it."""
_DEPTH = 5
"""``messages``, message, ``content``, part, ``text``."""
_QUOTE, _BRACE, _BRACKET, _COMMA = b'"{[,'
_SPACE = b" \t\r\n"


class _Item(msgspec.Struct):
    """A message, a part of one or an option: the fields that the reader looks at."""

    role: msgspec.Raw = ABSENT
    content: msgspec.Raw = ABSENT
    output: msgspec.Raw = ABSENT
    type: msgspec.Raw = ABSENT
    text: msgspec.Raw = ABSENT
    format: msgspec.Raw = ABSENT


_Items = Sequence[_Item | msgspec.Raw]

_Decode = Callable[[bytes | msgspec.Raw], object]
_decode: _Decode = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_object = msgspec.json.Decoder(_Item).decode
_decode_objects = msgspec.json.Decoder(list[_Item]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_NO_TEXT = frozenset({"nvext", "vllm_xargs", "n", "prompt_cache_key", "user"})
_CONTENT = tuple(name for name in ContentFields.__struct_fields__ if name not in _NO_TEXT)


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
    removed_bytes = 0
    for name, raw in present:
        reducer = _Reducer()
        body[name] = reducer.reduced(raw, 0)
        removed_bytes += reducer.removed_bytes
    request = from_body(body, model)
    return replace(request, prompt_bytes=request.prompt_bytes + removed_bytes)


def wants_one_answer(content: ContentFields) -> bool:
    """False where an answer's token count will be that of several answers together."""
    wanted = bytes(memoryview(content.n)[:_BOUNDARY_BYTES])
    if content.n is not ABSENT and wanted not in (b"1", b"null"):
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
        self._counted: dict[int, int] = {}

    def reduced(self, raw: msgspec.Raw, depth: int) -> object:
        if len(raw) <= _WHOLE_BYTES:
            return _decode(raw)
        first = memoryview(raw)[0]
        if first == _QUOTE:
            return self._edges(raw)
        if depth >= _DEPTH:
            return None
        if first == _BRACE:
            return self._object(_decode_object(raw), depth)
        return self._list(raw, depth) if first == _BRACKET else None

    def _list(self, raw: msgspec.Raw, depth: int) -> list[object]:
        items = self._items(raw)
        reduced: list[object] = [None] * len(items)
        for index in {*range(len(items))[:_KEPT_ITEMS], *range(len(items))[-_KEPT_ITEMS:]}:
            item = items[index]
            if isinstance(item, _Item):
                reduced[index] = self._object(item, depth + 1)
            else:
                reduced[index] = self.reduced(item, depth + 1)
        return reduced

    def _object(self, item: _Item, depth: int) -> dict[str, object]:
        """Absent fields are left out: the reader may tell them from null."""
        present = ((name, getattr(item, name)) for name in item.__struct_fields__)
        return {name: self.reduced(raw, depth + 1) for name, raw in present if raw is not ABSENT}

    def _items(self, raw: msgspec.Raw) -> _Items:
        start = bytes(memoryview(raw)[1:_BOUNDARY_BYTES]).lstrip(_SPACE)[:1]
        if start == b"{" and self._count(raw, _BRACE) <= _MOST_OBJECTS:
            try:
                # One reading; finding first the items and then their fields would be two.
                return _decode_objects(raw)
            except msgspec.ValidationError:
                pass  # not all of them are objects
        elif start not in (b"{", b'"'):
            return []  # token ids, or lists of them: there is no text in it
        if self._count(raw, _COMMA) > _MOST_ITEMS:
            raise TooLarge
        return _decode_items(raw)

    def _count(self, raw: msgspec.Raw, mark: int) -> int:
        """How often a byte occurs: in the outermost list, which has all others in it."""
        found = self._counted.get(mark)
        if found is None:
            # Six times as fast as bytes.count, which looks at one byte at a time.
            found = int(np.count_nonzero(np.frombuffer(raw, np.uint8) == mark))
            self._counted[mark] = found
        return found

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
