"""Whatever a body holds, intake either prepares a generation that fits or refuses with 4xx."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alise_bench.sim.api.bodies import (
    ChatBody,
    CompletionBody,
    MessagesBody,
    ResponsesBody,
    parse,
)
from alise_bench.sim.api.errors import ApiError
from alise_bench.sim.api.generation import Generation, Identity, Options, prepare
from alise_bench.sim.lengths import Lengths

OPTIONS = Options(Lengths(median_tokens=20), max_model_len=200)
IDENTITY = Identity("r", "m", 0)

leaves = st.none() | st.booleans() | st.integers(-3, 300) | st.text(max_size=8)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "type", "name", "function", "parameters"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.text(max_size=30)}
)
tool = st.fixed_dictionaries(
    {"type": st.just("function"), "function": st.fixed_dictionaries({"name": st.text(max_size=4)})}
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "messages": st.lists(message | anything, max_size=3),
    "prompt": st.text(max_size=20) | st.lists(st.integers(0, 9), max_size=250) | anything,
    "input": st.text(max_size=20) | anything,
    "max_tokens": st.integers(-1, 300) | st.none(),
    "max_completion_tokens": st.integers(-1, 300) | st.none(),
    "min_tokens": st.integers(-1, 50),
    "ignore_eos": st.booleans(),
    "n": st.integers(-1, 3) | st.none(),
    "stop": st.lists(st.sampled_from([" the", "e", "", "zzz"]), max_size=2),
    "stream": st.booleans(),
    "stream_options": st.just({"include_usage": True}) | anything,
    "tools": st.lists(tool | anything, max_size=2),
    "tool_choice": st.sampled_from(["auto", "none", "required"]) | anything,
    "priority": st.integers(-(2**64), 2**64),
    "model": st.just("m"),
}


@given(
    st.fixed_dictionaries({}, optional=FIELDS),
    st.sampled_from([ChatBody, CompletionBody, ResponsesBody, MessagesBody]),
)
@settings(max_examples=60, deadline=None)
def test_every_body_is_prepared_or_refused(
    fields: dict[str, Any], schema: type[ChatBody | CompletionBody | ResponsesBody | MessagesBody]
) -> None:
    refusal: ApiError | None = None
    try:
        body = parse(schema, json.dumps(fields).encode(), "application/json")
        check(prepare(body, IDENTITY, OPTIONS), fields)
    except ApiError as error:
        refusal = error
    if refusal is not None:
        assert 400 <= refusal.status < 500
        assert json.dumps(refusal.body())


def check(generation: Generation, fields: dict[str, Any]) -> None:
    sequences = generation.sequences()
    assert len({sequence.request_id for sequence in sequences}) == len(sequences)
    for sequence, output in zip(sequences, generation.outputs, strict=True):
        assert 1 <= sequence.output_tokens == output.tokens
        assert len(sequence.prompt) + output.tokens <= OPTIONS.max_model_len
        assert len(output.whole) >= 0
        if output.pieces is not None:
            assert len(output.pieces) == output.tokens
        minimum = fields.get("min_tokens", 0)
        assert output.tokens >= min(minimum, OPTIONS.max_model_len - len(sequence.prompt))


def test_the_same_request_gets_the_same_output_and_a_seed_changes_it() -> None:
    def outputs(**extra: Any) -> list[str]:
        raw = json.dumps({"prompt": "p", "max_tokens": 100, "n": 2, **extra}).encode()
        body = parse(CompletionBody, raw, "application/json; charset=utf-8")
        return [output.whole for output in prepare(body, IDENTITY, OPTIONS).outputs]

    assert outputs() == outputs()
    assert outputs()[0] != outputs()[1]
    assert outputs() != outputs(seed=1)
