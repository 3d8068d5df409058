"""Where a conversation's messages say that tools were called and what they returned. Pure.

In: a body's undecoded content, in the shape of OpenAI's chat or responses or of Anthropic's
messages. Out: the names of tools, the size of what they returned, and which messages the answer
that called them was given to. Texts are not decoded, and what does not have the documented shape
says nothing: judging it is the engine's business.

Source: OpenAI API reference, chat ``tool_calls`` and responses ``function_call_output``; Anthropic
Messages API, ``tool_use`` and ``tool_result`` blocks.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from alise_gateway.domain.content import ABSENT, ContentFields

_MOST_BYTES = 2 * 1024 * 1024
"""Of messages and of tools: finding their boundaries takes about a millisecond. More than that is
images, or a context that no engine offers."""
_MOST_ITEMS = 50_000
"""Bounds the time to find a long list's items (about 100 ns each)."""
_MOST_WALKED = 128
"""Results and calls of one answer; more parallel calls than that are not looked through."""
_MOST_TOOLS = 256
_LONGEST_NAME = 256
_TAIL_BYTES = 16 * 1024
"""Where a request offers no tools, only so much of its end is searched for a result."""
_FIRST_ITEMS, _LAST_ITEMS = 2, 8
"""A conversation is told by so many of its messages, and by how many it has: its beginning says
what it is about, its end what happened in it."""
_EDGE_BYTES = 2_048
"""Of a long message so much is looked at from either end."""
_MARKER = re.compile(rb',?\s*"cache_control"\s*:\s*\{[^{}]{0,64}\}')
"""Anthropic's clients move it to the last message of every turn; it says nothing of the text."""
_MARKER_NAME = b'"cache_control"'
_LONGEST_MARKER = 128
_RESULT_ROLES = frozenset({b'"tool"', b'"function"'})
_RESULT_TYPE = b'_call_output"'
_CALL_TYPE = b'_call"'

_T = TypeVar("_T")


class _Named(msgspec.Struct):
    """A tool or a call of one: OpenAI's chat nests the name, the others do not."""

    name: str | None = None
    function: "_Named | None" = None


class _Block(msgspec.Struct):
    type: str | None = None
    name: str | None = None


class _Message(msgspec.Struct):
    role: msgspec.Raw = ABSENT
    type: msgspec.Raw = ABSENT
    name: msgspec.Raw = ABSENT
    content: msgspec.Raw = ABSENT
    tool_calls: msgspec.Raw = ABSENT
    function_call: msgspec.Raw = ABSENT


_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_message = msgspec.json.Decoder(_Message).decode
_decode_blocks = msgspec.json.Decoder(list[_Block]).decode
_decode_named = msgspec.json.Decoder(_Named).decode
_decode_all_named = msgspec.json.Decoder(list[_Named]).decode
_decode_name = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True)
class ToolMessages:
    """What a request's messages say of tools.

    Attributes:
        messages: All of them, undecoded; none where they cannot be told apart in time.
        asked: How many of them the answer was given to that called the tools whose results are
            the last messages; all of them where no results are.
        called: Names of those tools, each once.
        returned_bytes: Length of those results; 0 for none.
    """

    messages: Sequence[msgspec.Raw]
    asked: int
    called: frozenset[str]
    returned_bytes: int


def offers_tools(content: ContentFields) -> bool:
    """Whether the answer may call tools."""
    return any(
        raw is not ABSENT and bytes(memoryview(raw)[:1]) == b"["
        for raw in (content.tools, content.functions)
    )


def may_return(content: ContentFields) -> bool:
    """A cheap look at whether a tool's result may be among the last messages."""
    tail = bytes(memoryview(_messages(content))[-_TAIL_BYTES:])
    return b'"tool' in tail or _RESULT_TYPE in tail


def offered_names(content: ContentFields) -> tuple[str, ...]:
    """Names of the tools that the answer may call, as far as there are not too many."""
    raw = _tools(content)
    if len(raw) > _MOST_BYTES:
        return ()
    return _names(_decoded(_decode_all_named, raw) or [])[:_MOST_TOOLS]


def tools_key(content: ContentFields) -> int:
    """A hash by which a list of tools is known again, in time that does not grow with it."""
    raw = _tools(content)
    return hash((len(raw), _digest(raw)))


def read_messages(content: ContentFields) -> ToolMessages:
    """What the messages say of tools, read from their end."""
    items = _items(_messages(content))
    at, returned_bytes = len(items), 0
    message = _at(items, at)
    while message is not None and _is_result(message) and len(items) - at < _MOST_WALKED:
        returned_bytes += len(items[at - 1])
        at -= 1
        message = _at(items, at)
    called: set[str] = set()
    end = at
    while returned_bytes and message is not None and _is_answer(message):
        if end - at >= _MOST_WALKED:
            break
        called.update(_called(message))
        at -= 1
        message = _at(items, at)
    return ToolMessages(items, at, frozenset(called), returned_bytes)


def conversation_key(messages: Sequence[msgspec.Raw], seed: int) -> int:
    """A hash by which a conversation is known again, in time that does not grow with it.

    Args:
        messages: Its messages so far.
        seed: Hash of what else has to agree.
    """
    count = len(messages)
    known = {*range(count)[:_FIRST_ITEMS], *range(count)[-_LAST_ITEMS:]}
    return hash((seed, count, *(_digest(messages[index]) for index in sorted(known))))


def _tools(content: ContentFields) -> msgspec.Raw:
    return content.functions if content.tools is ABSENT else content.tools


def _messages(content: ContentFields) -> msgspec.Raw:
    return content.input if content.messages is ABSENT else content.messages


def _items(raw: msgspec.Raw) -> Sequence[msgspec.Raw]:
    if len(raw) > _MOST_BYTES or bytes(memoryview(raw)[:1]) != b"[":
        return ()
    # Messages are objects; braces in their texts count too, because telling them apart would be
    # reading them.
    if len(raw) > _MOST_ITEMS and bytes(raw).count(b"{") > _MOST_ITEMS:
        return ()
    return _decoded(_decode_items, raw) or ()


def _at(items: Sequence[msgspec.Raw], end: int) -> _Message | None:
    return _decoded(_decode_message, items[end - 1]) if end else None


def _is_result(message: _Message) -> bool:
    role = bytes(message.role)
    if role == b'"user"':
        # Anthropic's shape: what a tool returned comes as a user message of such blocks.
        return any(block.type == "tool_result" for block in _blocks(message.content))
    return role in _RESULT_ROLES or bytes(message.type).endswith(_RESULT_TYPE)


def _is_answer(message: _Message) -> bool:
    """A message, or in responses a part of one, that an engine generated."""
    if message.role is ABSENT:
        return message.type is not ABSENT and not _is_result(message)
    return bytes(message.role) == b'"assistant"'


def _called(message: _Message) -> Sequence[str]:
    if message.tool_calls is not ABSENT:
        return _names(_decoded(_decode_all_named, message.tool_calls) or [])
    if message.function_call is not ABSENT:
        call = _decoded(_decode_named, message.function_call)
        return _names([] if call is None else [call])
    if bytes(message.type).endswith(_CALL_TYPE):
        return _names([_Named(_decoded(_decode_name, message.name))])
    blocks = _blocks(message.content)
    return _names([_Named(block.name) for block in blocks if block.type == "tool_use"])


def _blocks(content: msgspec.Raw) -> Sequence[_Block]:
    if bytes(memoryview(content)[:1]) != b"[":
        return ()
    return _decoded(_decode_blocks, content) or ()


def _names(found: Sequence[_Named]) -> tuple[str, ...]:
    names = (item.name if item.function is None else item.function.name for item in found)
    return tuple(name for name in names if name and len(name) <= _LONGEST_NAME)


def _digest(message: msgspec.Raw) -> int:
    view = memoryview(message)
    reach = _EDGE_BYTES + _LONGEST_MARKER
    if len(view) <= 2 * reach:
        return hash(_unmarked(bytes(view)))
    head, tail = _unmarked(bytes(view[:reach])), _unmarked(bytes(view[-reach:]))
    return hash((head[:_EDGE_BYTES], tail[-_EDGE_BYTES:]))


def _unmarked(text: bytes) -> bytes:
    # The expression alone would try to match at every comma and space.
    return _MARKER.sub(b"", text) if _MARKER_NAME in text else text


def _decoded(decode: Callable[[msgspec.Raw], _T], raw: msgspec.Raw) -> _T | None:
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
