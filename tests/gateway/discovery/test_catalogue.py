import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import ConfigError, WireError
from alise_gateway.discovery.catalogue import (
    CatalogueEntry,
    check_aliases,
    merge_models,
    parse_models,
    resolve_name,
)
from alise_gateway.domain.backend import ServedModel

NAMES = st.sampled_from(["a", "b", "c", "d"])
MODELS = st.lists(
    st.builds(
        ServedModel,
        NAMES,
        st.none() | st.integers(1, 9),
        st.integers(0, 9),
        st.sampled_from(["vllm", "x"]),
    ),
    max_size=4,
).map(lambda models: {model.name: model for model in models})


def listing(*models: object) -> bytes:
    return json.dumps({"object": "list", "data": models}).encode()


def test_vllms_answer_is_understood() -> None:
    body = listing(
        {
            "id": "llama",
            "object": "model",
            "created": 1_750_000_000,
            "owned_by": "vllm",
            "root": "/models/llama",
            "parent": None,
            "max_model_len": 8192,
            "permission": [{"id": "modelperm-1", "allow_view": True}],
        },
        {"id": "adapter", "object": "model", "created": 7, "owned_by": "vllm", "parent": "llama"},
    )
    assert parse_models(body) == {
        "llama": ServedModel("llama", 8192, 1_750_000_000, "vllm"),
        "adapter": ServedModel("adapter", None, 7, "vllm"),
    }


def test_a_bare_list_of_names_is_enough() -> None:
    assert parse_models(b'{"data":[{"id":"m"}]}') == {"m": ServedModel("m", None, 0, "unknown")}
    assert parse_models(b'{"data":[]}') == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"data": null}',
        b'{"data": {}}',
        b'{"data": ["m"]}',
        b'{"data": [{}]}',
        b'{"data": [{"id": 7}]}',
        b'{"data": [{"id": ""}]}',
        b'{"data": [{"id": "m", "max_model_len": "8k"}]}',
        b'{"data": [{"id": "m", "max_model_len": 0}]}',
        b'{"data": [{"id": "m", "max_model_len": true}]}',
        listing({"id": "x" * 513}),
        listing(*({"id": str(number)} for number in range(10_001))),
        b"[" * 100_000,
    ],
)
def test_garbage_is_a_wire_error_that_does_not_repeat_it(body: bytes) -> None:
    with pytest.raises(WireError, match="not a model list") as refused:
        parse_models(body)
    assert len(str(refused.value)) < 200


@given(st.binary(max_size=50))
def test_any_bytes_are_models_or_a_wire_error(body: bytes) -> None:
    with contextlib.suppress(WireError):
        parse_models(body)


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ({"a": "a"}, "stands for itself"),
        ({"a": "b", "b": "c"}, "'a' leads to 'b', which is an alias itself"),
        ({"a": "b", "b": "a"}, "which is an alias itself"),
        ({"": "b"}, "must not be empty"),
        ({"a": ""}, "must not be empty"),
    ],
)
def test_aliases_resolve_in_one_step_or_not_at_all(aliases: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_aliases(aliases)


def test_an_alias_wins_over_a_model_of_the_same_name() -> None:
    aliases = {"gpt-4": "llama"}
    served = {"gpt-4": 1, "llama": 1}
    assert resolve_name("gpt-4", aliases, served) == "llama"
    assert resolve_name("llama", aliases, served) == "llama"
    assert resolve_name("gpt-4", aliases, {"gpt-4": 1}) is None
    assert resolve_name("other", aliases, served) is None


def test_the_smallest_context_is_what_clients_may_count_on() -> None:
    backends = [
        {"m": ServedModel("m", 8192, 20, "first")},
        {"m": ServedModel("m", None, 10, "second"), "n": ServedModel("n", None, 1, "x")},
        {"m": ServedModel("m", 4096, 30, "third")},
    ]
    assert merge_models(backends, {"alias": "m", "dangling": "z"}) == (
        CatalogueEntry("alias", 4096, 10, "first", "m"),
        CatalogueEntry("m", 4096, 10, "first"),
        CatalogueEntry("n", None, 1, "x"),
    )


@given(st.lists(MODELS, max_size=4), st.dictionaries(st.sampled_from(["w", "x"]), NAMES))
def test_listed_is_what_resolves(
    backends: list[dict[str, ServedModel]], aliases: dict[str, str]
) -> None:
    served = {name: model for models in backends for name, model in models.items()}
    names = [entry.name for entry in merge_models(backends, aliases)]
    assert names == sorted(set(names))
    for name in ["a", "b", "c", "d", "w", "x"]:
        assert (name in names) == (resolve_name(name, aliases, served) is not None)


@given(st.lists(MODELS, max_size=4))
def test_the_order_of_backends_matters_to_the_owner_only(
    backends: list[dict[str, ServedModel]],
) -> None:
    def facts(models: list[dict[str, ServedModel]]) -> list[tuple[str, int | None, int]]:
        entries = merge_models(models, {})
        return [(entry.name, entry.max_model_len, entry.created) for entry in entries]

    assert facts(backends) == facts(backends[::-1])
