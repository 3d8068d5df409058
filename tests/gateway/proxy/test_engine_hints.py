"""Hints go into any body, in whatever way it is written, and nothing else of it changes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.wire.openai import Endpoint
from alise_gateway.intake.parse import parse_request, with_model
from alise_gateway.proxy.engine_hints import EngineHints, with_hints

OWN = ("alise_p50", "alise_p90", "alise_class")
hints = st.builds(
    EngineHints,
    st.none() | st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)),
    st.none() | st.integers(0, 4),
)
keys = st.sampled_from([*OWN, "vllm_xargs", 'a"b', "}", "ü"]) | st.text(max_size=4)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=6)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=6,
)
xargs = st.dictionaries(keys, values, max_size=4)
bodies = st.tuples(
    st.dictionaries(st.text(min_size=1, max_size=4).map("x-{}".format), values, max_size=3),
    st.none() | xargs,
).map(
    lambda drawn: drawn[0] | {"model": "m"} | ({} if drawn[1] is None else {"vllm_xargs": drawn[1]})
)
spaces = st.text(" \t\r\n", max_size=3)


@st.composite
def written(draw: st.DrawFn, body: dict[str, Any]) -> bytes:
    """Some way to write an object down."""
    ascii_only, indent = draw(st.booleans()), draw(st.none() | st.integers(0, 2))
    text = json.dumps(body, ensure_ascii=ascii_only, indent=indent)
    return (draw(spaces) + text + draw(spaces)).encode()


def expected(body: dict[str, Any], told: EngineHints, client_wins: bool) -> dict[str, Any]:
    own: dict[str, Any] = {}
    if told.predicted_tokens is not None:
        own["alise_p50"], own["alise_p90"] = told.predicted_tokens
    if told.class_rank is not None:
        own["alise_class"] = told.class_rank
    if not own:
        return body
    theirs = body.get("vllm_xargs") or {}
    return {**body, "vllm_xargs": {**own, **theirs} if client_wins else {**theirs, **own}}


@given(st.data(), bodies, hints, st.booleans())
def test_the_hints_are_added_and_nothing_is_lost(
    data: st.DataObject, content: dict[str, Any], told: EngineHints, client_wins: bool
) -> None:
    body = data.draw(written(content))
    stated = parse_request(Endpoint.COMPLETIONS, body).stated_xargs
    made = with_hints(body, told, stated, client_wins=client_wins)

    assert json.loads(made) == expected(content, told, client_wins)
    end = body.rindex(b"}")
    assert made.startswith(body[:end])
    assert made.endswith(body[end:])


@given(st.data(), xargs, hints)
def test_the_clients_xargs_are_found_behind_another_model_name(
    data: st.DataObject, stated: dict[str, Any], told: EngineHints
) -> None:
    content = {"model": "alias", "prompt": "x", "vllm_xargs": stated}
    inference = parse_request(Endpoint.COMPLETIONS, data.draw(written(content)))
    body = with_model(inference.body, "served")
    made = with_hints(body, told, inference.stated_xargs, client_wins=True)

    assert json.loads(made) == expected({**content, "model": "served"}, told, True)


def both(stated: str) -> dict[str, Any]:
    body = b'{"model": "m", %b}' % stated.encode()
    inference = parse_request(Endpoint.CHAT_COMPLETIONS, body)
    told = EngineHints((120, 400), 2)
    found: dict[str, Any] = json.loads(
        with_hints(body, told, inference.stated_xargs, client_wins=True)
    )
    return found


@pytest.mark.parametrize(
    "stated",
    [
        '"vllm_xargs": {"first": 1}, "vllm_xargs": {"k": "v"}',
        r'"vllm\u005fxargs": {"k": "v"}',
        '"vllm_xargs" :\n{ "k" : "v" }',
    ],
)
def test_the_last_of_the_clients_own_counts(stated: str) -> None:
    assert both(stated)["vllm_xargs"] == {
        "alise_p50": 120,
        "alise_p90": 400,
        "alise_class": 2,
        "k": "v",
    }


@pytest.mark.parametrize("stated", ["[1]", '"text"', "7", "true"])
def test_what_is_no_object_is_for_the_engine_to_refuse(stated: str) -> None:
    assert both(f'"vllm_xargs": {stated}')["vllm_xargs"] == json.loads(stated)


def test_null_is_nothing() -> None:
    assert both('"vllm_xargs": null')["vllm_xargs"]["alise_p50"] == 120


def test_a_request_of_which_nothing_is_known_keeps_its_body() -> None:
    body = b'{"model": "m"}'

    assert with_hints(body, EngineHints(None, None), b"", client_wins=True) is body
