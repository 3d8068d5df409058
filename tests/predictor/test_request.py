"""Every endpoint's body is read alike, and no body whatever makes the reader fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.request import MAX_TEXT_BYTES, PredictionRequest, cut, from_body, from_prompt

QUESTION = "How deep is the sea?"
BLOCKS = [{"type": "text", "text": "How deep"}, {"type": "text", "text": "is the sea?"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:..."}}


def _read(**body: object) -> PredictionRequest:
    return from_body(body, "m")


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        ({"messages": [{"role": "user", "content": QUESTION}]}, QUESTION),
        ({"messages": [{"role": "user", "content": BLOCKS}]}, "How deep\nis the sea?"),
        ({"messages": [{"role": "user", "content": [IMAGE, *BLOCKS]}]}, "How deep\nis the sea?"),
        ({"prompt": QUESTION}, QUESTION),
        ({"prompt": [QUESTION]}, QUESTION),
        ({"prompt": ["one", "two"]}, "one\ntwo"),
        ({"prompt": [1, 2, 3]}, ""),
        ({"prompt": [[1, 2], [3]]}, ""),
        ({"input": QUESTION}, QUESTION),
        ({"input": [{"role": "user", "content": QUESTION}]}, QUESTION),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]},
            QUESTION,
        ),
        (
            {"input": [{"type": "message", "role": "user", "content": BLOCKS}]},
            "How deep\nis the sea?",
        ),
        ({}, ""),
    ],
    ids=[
        "chat",
        "chat in blocks",
        "chat with an image",
        "completion",
        "completion in a list",
        "completions",
        "token ids",
        "lists of token ids",
        "response",
        "response in items",
        "response in items and blocks",
        "response in typed items",
        "nothing",
    ],
)
def test_the_prompt_is_found(body: dict[str, object], prompt: str) -> None:
    request = from_body(body, "m")

    assert request.prompt == prompt.encode()
    assert request.model == "m"
    assert request.turns == 1
    assert request.prompt_bytes == len(prompt.encode())


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": "Be brief."}]},
        {"messages": [{"role": "developer", "content": "Be brief."}]},
        {"messages": [], "system": "Be brief."},
        {"messages": [], "system": [{"type": "text", "text": "Be brief."}]},
        {"input": "", "instructions": "Be brief."},
    ],
    ids=["chat", "developer", "anthropic", "anthropic in blocks", "responses"],
)
def test_instructions_are_found(body: dict[str, object]) -> None:
    assert from_body(body, "m").system == b"Be brief."


def test_several_instructions_are_joined() -> None:
    request = _read(
        system="One.",
        messages=[{"role": "system", "content": "Two."}, {"role": "user", "content": "x"}],
    )

    assert request.system == b"One.\nTwo."


def test_the_last_user_turn_is_the_prompt_and_the_rest_is_history() -> None:
    request = _read(
        messages=[
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "answer"},
            {"role": "user", "content": "second"},
        ]
    )

    assert request.prompt == b"second"
    assert request.turns == 3
    assert request.prompt_bytes == len("first" + "answer" + "second")


@pytest.mark.parametrize(
    "last",
    [
        {"role": "tool", "tool_call_id": "1", "content": "42"},
        {"type": "function_call_output", "call_id": "1", "output": "42"},
    ],
    ids=["chat", "responses"],
)
def test_a_tools_result_keeps_the_prompt(last: dict[str, object]) -> None:
    turns = [{"role": "user", "content": "Ask the tool."}, {"role": "assistant", "content": None}]

    request = _read(messages=[*turns, last])

    assert request.prompt == b"Ask the tool."
    assert request.after_tool
    assert request.prompt_bytes == len("Ask the tool.42")


def test_a_question_after_a_tools_result_is_a_question() -> None:
    messages = [{"role": "tool", "content": "42"}, {"role": "user", "content": "Sure?"}]

    assert not _read(messages=messages).after_tool


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_the_limit_has_three_names(field: str) -> None:
    assert from_body({"prompt": "x", field: 7}, "m").max_tokens == 7


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "7", None, [7]])
def test_what_is_no_limit_counts_as_none(value: object) -> None:
    assert _read(prompt="x", max_tokens=value).max_tokens is None


@pytest.mark.parametrize(
    "field",
    [
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"text": {"format": {"type": "json_schema"}}},
        {"guided_json": {"type": "object"}},
        {"structured_outputs": {"json": {}}},
    ],
)
def test_json_can_be_asked_for_in_five_ways(field: dict[str, object]) -> None:
    assert from_body({"prompt": "x", **field}, "m").json_mode


@pytest.mark.parametrize(
    "field", [{}, {"response_format": {"type": "text"}}, {"text": {"format": {"type": "text"}}}]
)
def test_text_is_no_json(field: dict[str, object]) -> None:
    assert not from_body({"prompt": "x", **field}, "m").json_mode


@pytest.mark.parametrize("field", ["tools", "functions"])
def test_tools_are_counted(field: str) -> None:
    assert from_body({"prompt": "x", field: [{}, {}]}, "m").tools == 2


def test_old_messages_count_as_turns_only() -> None:
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}] * 5_000

    request = _read(messages=turns)

    assert request.turns == 10_000
    assert request.prompt == b"x"
    assert request.prompt_bytes < 100


def test_instructions_are_read_however_long_the_history() -> None:
    turns = [{"role": "user", "content": "x"}] * 1_000

    request = _read(messages=[{"role": "system", "content": "Be brief."}, *turns])

    assert request.system == b"Be brief."


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": [], "content": "x"}]},
        {"prompt": "x", "response_format": {"type": []}},
        {"prompt": "x", "text": {"format": {"type": {}}}},
    ],
    ids=["role", "response_format", "text.format"],
)
def test_a_list_where_a_word_belongs_counts_as_absent(body: dict[str, object]) -> None:
    assert not from_body(body, "m").json_mode


def test_lone_surrogates_have_a_replacement() -> None:
    assert from_prompt("a\ud800b", "m").prompt == b"a?b"


def test_a_prompt_and_its_chat_are_the_same_request() -> None:
    body: dict[str, object] = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": QUESTION},
        ],
        "max_tokens": 9,
    }

    assert from_body(body, "m") == from_prompt(QUESTION, "m", system="Be brief.", max_tokens=9)


WORDS = "user assistant system developer tool function_call_output json_object text type format"
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS.split())
)


def _nest(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(WORDS.split()), inner, max_size=4
    )


JSON = st.recursive(LEAVES, _nest, max_leaves=10)
TYPED = st.dictionaries(st.sampled_from(["type", "format", "text"]), JSON)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": JSON,
        "content": JSON | st.lists(TYPED, max_size=3),
        "type": JSON,
        "output": JSON,
    },
)
MESSAGES = JSON | st.lists(MESSAGE | JSON, max_size=5)
BODY = st.fixed_dictionaries(
    {},
    optional={
        "messages": MESSAGES,
        "prompt": MESSAGES,
        "input": MESSAGES,
        "system": JSON,
        "instructions": JSON,
        "tools": JSON,
        "functions": JSON,
        "max_tokens": JSON,
        "max_completion_tokens": JSON,
        "max_output_tokens": JSON,
        "response_format": JSON | TYPED,
        "text": JSON | st.fixed_dictionaries({"format": JSON | TYPED}),
        "guided_json": JSON,
    },
)


@given(BODY)
def test_no_body_makes_the_reader_fail(body: dict[str, object]) -> None:
    request = from_body(body, "m")

    assert request.turns >= 1
    assert len(request.prompt) <= MAX_TEXT_BYTES
    assert len(request.system) <= MAX_TEXT_BYTES
    assert request.max_tokens is None or request.max_tokens > 0
    assert from_body(body, "m") == request


@given(st.binary(max_size=3 * MAX_TEXT_BYTES))
def test_a_cut_has_a_bound_and_keeps_both_ends(text: bytes) -> None:
    short = cut(text)

    assert len(short) <= MAX_TEXT_BYTES
    assert short[:1_000] == text[:1_000]
    assert short[-1_000:] == text[-1_000:]
    assert cut(short) == short


@pytest.mark.parametrize("excess", [-1, 0])
def test_what_fits_is_not_cut(excess: int) -> None:
    text = b"x" * (MAX_TEXT_BYTES + excess)

    assert cut(text) == text


def test_the_smallest_excess_is_cut_to_the_bound() -> None:
    assert len(cut(b"x" * (MAX_TEXT_BYTES + 1))) == MAX_TEXT_BYTES


def test_a_tools_result_in_anthropics_shape_is_not_the_question() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "What is the weather in Oslo?"},
            {"role": "assistant", "content": [{"type": "tool_use", "name": "weather"}]},
            {"role": "user", "content": [{"type": "tool_result", "content": "rain"}]},
        ]
    }

    request = from_body(body, "m")

    assert request.prompt == b"What is the weather in Oslo?"
    assert request.after_tool
