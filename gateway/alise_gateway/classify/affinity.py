"""What a request's text and conversation have in common with earlier ones. Pure.

In: a body's undecoded content and the header fields. Out: an ``Affinity`` of hashes. An engine
keeps the KV of prompts it has computed, so a request whose beginning it has seen costs it less;
how much two requests share is told from their JSON, which need not be decoded for it: of a
conversation's next turn, tools, instructions and earlier messages are the same bytes.

Hashes begin with tenant and model: what a tenant sends says nothing about another tenant's text,
not even by the time that an answer takes. They hold within one process only.

Source: the header names are those of OpenAI-compatible agents and gateways (OpenCode, Claude Code,
NVIDIA Dynamo); vLLM docs, design/prefix_caching (blocks that are hashed in a chain).
"""

import msgspec

from alise_gateway.domain.affinity import Affinity
from alise_gateway.domain.content import ABSENT, ContentFields
from alise_gateway.domain.request import RawHeaders

BLOCK_BYTES = 512
"""About 128 tokens: eight of an engine's usual KV blocks. Smaller ones cost more and tell no more,
because what conversations share are whole messages."""
MAX_BLOCKS = 64
"""32 KiB: hashing it takes some 40 microseconds. Whoever shares that much shares most of it."""
SESSION_NAMES = (
    b"x-session-id",
    b"x-session-token",
    b"x-session-affinity",
    b"x-claude-code-session-id",
    b"x-dynamo-session-id",
)
"""Header fields that name a conversation; of several the first in this order counts."""

_MAX_BYTES = BLOCK_BYTES * MAX_BLOCKS
_SPACE = b" \t\r\n"
_OPEN_ENDED = (b"[", b'"')
_NAMES = frozenset(SESSION_NAMES)
_LONGEST_SESSION = 1_024
_NO_NAME = frozenset({b"null", b'""'})


def affinity_of(content: ContentFields, fields: RawHeaders, model: str, tenant: str) -> Affinity:
    """What ties a request to a backend.

    Args:
        content: The body's fields.
        fields: Header fields, names in lower case.
        model: Name of the served model.
        tenant: Id of its tenant.
    """
    seed = hash((tenant, model))
    session = session_of(content, fields)
    return Affinity(
        blocks=_chained(_leading_text(content), seed),
        session=None if session is None else hash((seed, session)),
    )


def session_of(content: ContentFields | None, fields: RawHeaders) -> bytes | None:
    """The conversation that a client names: in a header, or else in the body.

    Args:
        content: The body's fields; ``None`` where they are not kept.
        fields: Header fields, names in lower case.

    Returns: ``None`` where it names none, or something that is too long to be a name.
    """
    found = {name: value for name, value in reversed(fields) if name in _NAMES}
    for name in SESSION_NAMES if found else ():
        value = found.get(name)
        if value and len(value) <= _LONGEST_SESSION:
            return value
    if content is None:
        return None
    return _named(content.prompt_cache_key) or _named(content.user)


def _named(raw: msgspec.Raw) -> bytes | None:
    if raw is ABSENT or len(raw) > _LONGEST_SESSION:
        return None
    value = bytes(raw)
    return None if value in _NO_NAME or not value.startswith(b'"') else value


def _leading_text(content: ContentFields) -> bytes:
    """The first bytes of all text; what comes last is left open, as the next turn continues it."""
    in_order = (  # as chat templates put them into the prompt
        content.tools,
        content.functions,
        content.system,
        content.instructions,
        content.messages,
        content.prompt,
        content.input,
    )
    parts: list[bytes] = []
    room = _MAX_BYTES
    whole = True
    for raw in in_order:
        if raw is ABSENT or not room:
            continue
        part = bytes(memoryview(raw)[:room])
        whole = len(part) == len(raw)
        room -= len(part)
        parts.append(part)
    if parts and whole and parts[-1].startswith(_OPEN_ENDED):
        parts[-1] = parts[-1][:-1].rstrip(_SPACE)
    return b"".join(parts)


def _chained(text: bytes, seed: int) -> tuple[int, ...]:
    blocks = []
    for end in range(BLOCK_BYTES, len(text) + 1, BLOCK_BYTES):
        # Keyed anew in every process: nobody can construct texts that look alike.
        seed = hash((seed, text[end - BLOCK_BYTES : end]))
        blocks.append(seed)
    return tuple(blocks)
