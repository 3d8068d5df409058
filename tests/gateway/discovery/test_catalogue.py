import contextlib
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import ConfigError, WireError
from alise_gateway.discovery.catalogue import (
    CatalogueEntry,
    Target,
    check_aliases,
    check_fallbacks,
    merge_models,
    parse_models,
    pick_target,
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


def aliased(**targets: str) -> dict[str, tuple[Target, ...]]:
    return {alias: (Target(model),) for alias, model in targets.items()}


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
        ({"a": ["a"]}, "stands for itself"),
        ({"a": ["b", "a"]}, "stands for itself"),
        ({"a": ["b"], "b": ["c"]}, "'a' leads to 'b', which is an alias itself"),
        ({"a": ["c", "b"], "b": ["c"]}, "'a' leads to 'b', which is an alias itself"),
        ({"a": ["b"], "b": ["a"]}, "which is an alias itself"),
        ({"": ["b"]}, "must not be empty"),
        ({"a": [""]}, "must not be empty"),
        ({"a": ["b", ""]}, "must not be empty"),
        ({"a": ["b", "c", "b"]}, "names 'b' more than once"),
    ],
)
def test_aliases_resolve_in_one_step_or_not_at_all(
    aliases: dict[str, list[str]], message: str
) -> None:
    targets = {alias: tuple(Target(name) for name in names) for alias, names in aliases.items()}
    with pytest.raises(ConfigError, match=f"^aliases: .*{message}"):
        check_aliases(targets)


@pytest.mark.parametrize(
    ("fallbacks", "message"),
    [
        ({"a": "a"}, "falls back to itself"),
        ({"a": "b", "b": "c"}, "'a' leads to 'b', which has a fallback itself"),
        ({"a": "b", "b": "a"}, "which has a fallback itself"),
        ({"": "b"}, "must not be empty"),
        ({"a": ""}, "must not be empty"),
        ({"nick": "b"}, "'nick' is an alias"),
        ({"a": "nick"}, "'nick' is an alias"),
    ],
)
def test_fallbacks_are_one_step_between_served_models(
    fallbacks: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^fallbacks: .*{message}"):
        check_fallbacks(fallbacks, aliased(nick="z"))


def test_what_is_in_order_is_not_refused() -> None:
    check_aliases(aliased(a="x", b="x"))
    check_fallbacks({"x": "z", "y": "z"}, aliased(a="x"))


def test_each_model_gets_its_share_of_the_conversations() -> None:
    targets = (Target("old", 90), Target("new", 9), Target("other", 1))
    found = Counter(pick_target(targets, b"%d" % number) for number in range(10_000))
    assert found["old"] / 10_000 == pytest.approx(0.9, abs=0.01)
    assert found["new"] / 10_000 == pytest.approx(0.09, abs=0.01)
    assert found["other"] / 10_000 == pytest.approx(0.01, abs=0.005)


def test_a_share_is_the_same_in_every_process() -> None:
    targets = (Target("old"), Target("new"))
    found = [pick_target(targets, key) for key in (b"a", b"b", b"c", b"d", b"e", b"f")]
    assert found == ["new", "old", "old", "new", "new", "new"]


@given(
    st.dictionaries(st.text(max_size=5), st.integers(1, 1_000_000), min_size=2, max_size=5),
    st.binary(max_size=20),
)
def test_who_leaves_takes_only_its_own_conversations_along(
    weights: dict[str, int], key: bytes
) -> None:
    targets = [Target(name, weight) for name, weight in weights.items()]
    picked = pick_target(targets, key)
    assert pick_target(targets[::-1], key) == picked
    for gone in targets:
        others = [target for target in targets if target is not gone]
        assert (pick_target(others, key) == picked) == (gone.model != picked)


@given(st.integers(1, 1_000), st.integers(1, 1_000), st.binary(max_size=20))
def test_a_larger_weight_takes_conversations_and_gives_none(
    weight: int, more: int, key: bytes
) -> None:
    def pick(new: int) -> str:
        return pick_target([Target("old", 500), Target("new", new)], key)

    assert pick(weight) == "old" or pick(weight + more) == "new"


def test_the_smallest_context_is_what_clients_may_count_on() -> None:
    backends = [
        {"m": ServedModel("m", 8192, 20, "first")},
        {"m": ServedModel("m", None, 10, "second"), "n": ServedModel("n", None, 1, "x")},
        {"m": ServedModel("m", 4096, 30, "third")},
    ]
    aliases = aliased(alias="m", dangling="z") | {"both": (Target("n"), Target("z"), Target("m"))}
    assert merge_models(backends, aliases) == (
        CatalogueEntry("alias", 4096, 10, "first", ("m",)),
        CatalogueEntry("both", 4096, 1, "x", ("n", "m")),
        CatalogueEntry("m", 4096, 10, "first"),
        CatalogueEntry("n", None, 1, "x"),
    )


@given(st.lists(MODELS, max_size=4))
def test_the_order_of_backends_matters_to_the_owner_only(
    backends: list[dict[str, ServedModel]],
) -> None:
    def facts(models: list[dict[str, ServedModel]]) -> list[tuple[str, int | None, int]]:
        entries = merge_models(models, {})
        return [(entry.name, entry.max_model_len, entry.created) for entry in entries]

    assert facts(backends) == facts(backends[::-1])
