"""The API server and we agree on every spec: schema and CEL there, pydantic and Python here."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from alise_core.crds.definition import DEFINITIONS, object_schema
from alise_core.crds.names import Kind
from alise_core.crds.rules import Rule, rules_of
from alise_core.crds.validate import SpecInvalid, parse_spec
from fakes.admission import broken_rules, defaulted, refusals
from fakes.specs import BROKEN, GOOD, PODS, UNEQUAL_LISTS, mutated

SCHEMAS = {kind: object_schema(kind)["properties"]["spec"] for kind in DEFINITIONS}


def problems(kind: Kind, spec: object) -> tuple[str, ...]:
    try:
        parse_spec(kind, spec)
    except SpecInvalid as error:
        return error.problems
    return ()


@pytest.mark.parametrize(("kind", "spec"), GOOD)
def test_both_take_what_is_good(kind: Kind, spec: dict[str, Any]) -> None:
    assert refusals(SCHEMAS[kind], spec) == []
    assert problems(kind, spec) == ()


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    BROKEN,
    ids=[f"{row[2][:40]}-{at}" for at, row in enumerate(BROKEN)],
)
def test_both_refuse_what_breaks_a_rule_and_for_the_same_reason(
    kind: Kind, spec: dict[str, Any], message: str
) -> None:
    assert refusals(SCHEMAS[kind], spec) == [message]
    (problem,) = problems(kind, spec)
    field, _, text = message.partition(" ")
    path = problem.partition(": ")[0]
    assert problem.endswith(message) or (path.endswith(f".{field}") and text in problem)


@pytest.mark.parametrize(("kind", "spec", "message"), BROKEN)
def test_without_cel_the_api_server_takes_it_and_we_do_not(
    kind: Kind, spec: dict[str, Any], message: str
) -> None:
    assert refusals(SCHEMAS[kind], spec, rules=False) == []
    assert problems(kind, spec) != ()


@pytest.mark.parametrize(("kind", "spec"), UNEQUAL_LISTS)
def test_lists_that_name_something_twice_are_refused_by_both(
    kind: Kind, spec: dict[str, Any]
) -> None:
    (refusal,) = refusals(SCHEMAS[kind], spec)
    (problem,) = problems(kind, spec)
    assert refusal.startswith("duplicate")
    assert "Duplicate value" in problem


def test_every_rule_is_broken_by_a_sample() -> None:
    declared = {
        rule["message"]
        for schema in SCHEMAS.values()
        for node in nodes(schema)
        for rule in node.get("x-kubernetes-validations", ())
    }
    assert declared == {message for _, _, message in BROKEN}


def test_every_rule_reaches_the_schema() -> None:
    named = {
        text["message"]
        for schema in SCHEMAS.values()
        for node in nodes(schema)
        for text in node.get("x-kubernetes-validations", ())
    }
    found = {
        item.as_validation()["message"]
        for kind in DEFINITIONS
        for item in rules_of(DEFINITIONS[kind].spec)
    }
    assert found
    assert found <= named
    assert all(isinstance(item, Rule) for item in rules_of(DEFINITIONS[Kind.TENANT].spec))


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_defaults_of_both_are_the_same(kind: Kind) -> None:
    least = {**(PODS if kind is Kind.MODEL_POOL else {})}
    ours = json.loads(parse_spec(kind, least).model_dump_json(by_alias=True, exclude_none=True))
    theirs = defaulted(SCHEMAS[kind], least)
    if kind is Kind.MODEL_POOL:
        assert ours.pop("targetPorts") == [{"number": 8000}]
    assert {key: item for key, item in ours.items() if item not in ([], "")} == theirs


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "type" in schema and isinstance(schema["type"], str):
            yield schema
        for item in schema.values():
            yield from nodes(item)


@pytest.mark.slow
@settings(max_examples=200)
@given(mutated())
def test_both_agree_on_anything(case: tuple[Kind, Any]) -> None:
    kind, spec = case
    assert bool(refusals(SCHEMAS[kind], spec)) == bool(problems(kind, spec)), (
        refusals(SCHEMAS[kind], spec),
        problems(kind, spec),
    )


def test_the_rules_of_a_whole_default_object_hold() -> None:
    for kind in DEFINITIONS:
        if kind is not Kind.MODEL_POOL:
            assert list(broken_rules(SCHEMAS[kind], defaulted(SCHEMAS[kind], {}))) == []
