"""What two requests share is told from their bytes: a next turn shares all whole blocks."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.classify.affinity import (
    BLOCK_BYTES,
    MAX_BLOCKS,
    SESSION_NAMES,
    affinity_of,
    session_of,
)
from alise_gateway.domain.affinity import NO_AFFINITY
from alise_gateway.domain.content import ContentFields

_fields = msgspec.json.Decoder(ContentFields).decode
TOOLS = [{"type": "function", "function": {"name": "search", "description": "d" * 400}}]


def content(body: dict[str, Any], indent: int | None = None) -> ContentFields:
    return _fields(json.dumps(body, indent=indent).encode())


def blocks(body: dict[str, Any], *, indent: int | None = None) -> tuple[int, ...]:
    return affinity_of(content(body, indent), [], "m", "t").blocks


def messages(*texts: str) -> list[dict[str, object]]:
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]


def shared(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(first), len(second)))


@pytest.mark.slow
@pytest.mark.parametrize("indent", [None, 2])
@given(
    texts=st.lists(st.text(max_size=900), min_size=1, max_size=6),
    more=st.lists(st.text(max_size=900), max_size=3),
)
def test_the_next_turn_shares_every_block(
    texts: list[str], more: list[str], indent: int | None
) -> None:
    first = blocks({"tools": TOOLS, "messages": messages(*texts)}, indent=indent)
    later = blocks({"tools": TOOLS, "messages": messages(*texts, *more)}, indent=indent)
    assert later[: len(first)] == first


def test_where_a_turn_ends_within_a_block_does_not_matter() -> None:
    for size in range(BLOCK_BYTES):
        texts = ["x" * size, "y" * 600]
        first = blocks({"messages": messages(*texts)}, indent=2)
        later = blocks({"messages": messages(*texts, "z" * 600)}, indent=2)
        assert later[: len(first)] == first


def test_a_prompt_that_goes_on_shares_what_it_began_with() -> None:
    text = '"' + "x" * (3 * BLOCK_BYTES - 1)
    first = blocks({"prompt": text[1:]})
    later = blocks({"prompt": text[1:] + "y" * BLOCK_BYTES})
    assert (len(first), len(later)) == (3, 4)
    assert later[:3] == first


def test_the_order_is_that_of_the_prompt_whatever_the_body_s() -> None:
    turn = {"messages": messages("x" * 2_000), "tools": TOOLS, "system": "s" * 2_000}
    assert blocks(turn) == blocks(dict(reversed(turn.items())))
    other = blocks(turn | {"messages": messages("y" * 2_000)})
    assert shared(blocks(turn), other) == (len(json.dumps(TOOLS)) + 2_002) // BLOCK_BYTES


def test_a_difference_shows_in_its_block_and_in_all_behind_it() -> None:
    first = blocks({"input": "x" * 4_000})
    second = blocks({"input": "x" * 1_500 + "!" + "x" * 2_499})
    assert shared(first, second) == 2
    assert not set(first[2:]) & set(second[2:])


def test_only_whole_blocks_count_and_not_more_than_the_limit() -> None:
    assert blocks({"prompt": "x" * (BLOCK_BYTES - 2)}) == ()
    assert len(blocks({"prompt": "x" * (BLOCK_BYTES - 1)})) == 1
    assert len(blocks({"prompt": "x" * 1_000_000})) == MAX_BLOCKS
    assert len(blocks({"tools": ["x" * 1_000_000], "prompt": "y"})) == MAX_BLOCKS


def test_tenants_and_models_have_nothing_in_common() -> None:
    body = content({"prompt": "x" * 4_000, "user": "u"})
    found = [
        affinity_of(body, [], model, tenant)
        for model, tenant in [("m", "t"), ("m", "u"), ("n", "t"), ("t", "m")]
    ]
    hashes = {block for affinity in found for block in affinity.blocks}
    assert len(hashes) == 4 * len(found[0].blocks)
    assert len({affinity.session for affinity in found}) == 4


def test_what_says_nothing_has_no_affinity() -> None:
    assert affinity_of(content({}), [], "m", "t") == NO_AFFINITY
    assert affinity_of(content({"messages": None, "user": None}), [], "m", "t") == NO_AFFINITY


@pytest.mark.parametrize("name", SESSION_NAMES)
def test_every_known_header_names_the_conversation(name: bytes) -> None:
    fields = [(b"accept", b"*/*"), (name, b"abc"), (name, b"later")]
    assert session_of(content({"user": "u"}), fields) == b"abc"
    assert session_of(None, fields) == b"abc"


def test_of_several_names_the_first_in_order_counts() -> None:
    fields = [(name, name) for name in reversed(SESSION_NAMES)]
    assert session_of(None, fields) == SESSION_NAMES[0]
    fields.append((SESSION_NAMES[0], b""))
    body = content({"user": "u", "prompt_cache_key": "key"})
    assert session_of(body, []) == b'"key"'
    assert session_of(content({"user": "u", "prompt_cache_key": None}), []) == b'"u"'


@pytest.mark.parametrize("value", [None, "", 7, ["a"], {"a": 1}, "x" * 2_000])
def test_what_is_no_name_is_not_taken_for_one(value: object) -> None:
    body = content({"user": value, "prompt_cache_key": value})
    assert session_of(body, [(b"x-session-id", b""), (b"x-session-token", b"y" * 2_000)]) is None


def test_the_same_name_is_the_same_conversation() -> None:
    one = affinity_of(content({}), [(b"x-session-id", b"abc")], "m", "t")
    same = affinity_of(content({"prompt": "x" * 4_000}), [(b"x-session-id", b"abc")], "m", "t")
    other = affinity_of(content({}), [(b"x-session-id", b"abd")], "m", "t")
    assert one.session == same.session
    assert one.session != other.session
