"""What is read of a large body is what would be read of it decoded whole."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.domain.content import ContentFields
from alise_gateway.predict.content import TooLarge, read_content
from alise_predictor.request import PredictionRequest, from_body

_fields = msgspec.json.Decoder(ContentFields).decode
LONG = 200_000


def read(body: dict[str, Any], *, ensure_ascii: bool = False) -> PredictionRequest:
    raw = json.dumps(body, ensure_ascii=ensure_ascii).encode("utf-8")
    return read_content(_fields(raw), "m", body.get("max_tokens"))


def seen(request: PredictionRequest) -> dict[str, Any]:
    """All but the length of the whole text, which is close instead."""
    return {name: getattr(request, name) for name in request.__slots__ if name != "prompt_bytes"}


def check(body: dict[str, Any], *, ensure_ascii: bool = False) -> None:
    found, whole = read(body, ensure_ascii=ensure_ascii), from_body(body, "m")
    assert seen(found) == seen(whole)
    assert found.prompt_bytes == pytest.approx(whole.prompt_bytes, rel=0.05)


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


SHORT_BODIES: list[dict[str, Any]] = [
    {"messages": [user("hello")], "max_tokens": 5},
    {"messages": [{"role": "system", "content": "Be brief."}, user("hello")]},
    {"messages": [], "tools": [{}, {}]},
    {"messages": "not a list"},
    {"messages": [1, None, "x", {"role": 7, "content": {"a": 1}}]},
    {"prompt": "hello"},
    {"prompt": [1, 2, 3]},
    {"prompt": None},
    {"input": [{"type": "message", "role": "user", "content": "hi"}], "instructions": "Be kind."},
    {
        "system": [{"type": "text", "text": "a"}],
        "messages": [user([{"type": "text", "text": "b"}])],
    },
    {"response_format": {"type": "json_object"}, "messages": [user("x")]},
    {"text": {"format": {"type": "json_schema", "schema": {}}}, "input": "x"},
    {},
]


@pytest.mark.parametrize("body", SHORT_BODIES, ids=lambda body: ",".join(body)[:30])
def test_small_bodies_are_read_as_they_are(body: dict[str, Any]) -> None:
    assert read(body) == from_body(body, "m")


LARGE_BODIES: dict[str, dict[str, Any]] = {
    "one long prompt": {"messages": [user("word " * LONG)]},
    "quotes and lines": {"messages": [user('a "quoted"\n line\t' * LONG)]},
    "not ascii": {"messages": [user("東京はどこ🗼ですか" * LONG)]},
    "a long system prompt": {
        "messages": [{"role": "system", "content": "rule. " * LONG}, user("hello")]
    },
    "long history": {"messages": [user("x" * LONG), {"role": "assistant"}, user("short")]},
    "after a tool": {"messages": [user("hi"), {"role": "tool", "content": "y" * LONG}]},
    "many messages": {"messages": [user(f"message {index}") for index in range(10_000)]},
    "many, then a long one": {
        "messages": [*[user("x")] * 500, user("the last " * LONG)],
        "tools": [{"name": str(index), "about": "z" * 100} for index in range(2_000)],
    },
    "an image": {
        "messages": [
            user(
                [
                    {"type": "image_url", "image_url": {"url": "data:" + "A" * LONG}},
                    {"type": "text", "text": "What is this?"},
                ]
            )
        ]
    },
    "long parts": {"messages": [user([{"type": "text", "text": c * LONG} for c in "abc"])]},
    "a batch": {"prompt": ["p" * LONG, "q" * LONG]},
    "token ids": {"prompt": list(range(LONG))},
    "several of token ids": {"prompt": [list(range(LONG))]},
    "a large schema": {
        "messages": [user("x")],
        "response_format": {"type": "json_schema", "json_schema": {"a": "b" * LONG}},
    },
    "anthropic": {
        "system": [{"type": "text", "text": "s" * LONG}],
        "messages": [user([{"type": "text", "text": "t" * LONG}])],
    },
}


@pytest.mark.parametrize("name", LARGE_BODIES)
def test_large_bodies_are_read_as_if_whole(name: str) -> None:
    check(LARGE_BODIES[name])


@pytest.mark.parametrize("name", ["not ascii", "quotes and lines", "one long prompt"])
def test_escape_sequences_are_not_cut_in_two(name: str) -> None:
    check(LARGE_BODIES[name], ensure_ascii=True)


CHARACTERS = st.sampled_from([*'ab "\\\n', "\x00", "é", "東", "🗼"])


@given(
    st.lists(CHARACTERS, min_size=1, max_size=40).map("".join),
    st.integers(0, 40),
    st.booleans(),
)
def test_wherever_the_cut_falls(unit: str, shift: int, ensure_ascii: bool) -> None:
    text = "x" * shift + unit * (120_000 // len(unit))
    found = read({"messages": [user(text)]}, ensure_ascii=ensure_ascii)
    whole = from_body({"messages": [user(text)]}, "m")
    assert found.prompt[:4_000] == whole.prompt[:4_000]
    if set(unit) != {"\\"}:  # where nothing else occurs, which of two belong together is lost
        assert found.prompt == whole.prompt


def test_a_list_that_would_take_too_long_is_refused() -> None:
    with pytest.raises(TooLarge):
        read({"messages": [user(""), *[1] * 60_000]})


def test_nesting_has_an_end() -> None:
    deep: object = "x" * LONG
    for _ in range(50):
        deep = [{"content": deep}]
    assert read({"messages": deep}).prompt == b""
