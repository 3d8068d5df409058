"""The definitions are what every API server since 1.16 accepts, bounded, and explained."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from alise_core.crds.columns import COLUMNS
from alise_core.crds.conditions import Condition, ConditionStatus, ConditionType, Reason
from alise_core.crds.definition import DEFINITIONS, custom_resource_definition, object_schema
from alise_core.crds.examples import EXAMPLES
from alise_core.crds.meanings import CONDITION_MEANINGS, REASON_MEANINGS
from alise_core.crds.names import Kind
from alise_core.crds.schema import RuleSupport, rule_support
from alise_core.crds.validate import parse_spec

ALLOWED_KEYS = {
    "description", "type", "format", "default", "enum", "properties", "required", "items",
    "additionalProperties", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "minLength", "maxLength", "pattern", "minItems", "maxItems", "minProperties", "maxProperties",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip
CHECKED = [(kind, minor) for kind in DEFINITIONS for minor in (20, 25, 27, 28, 31, 34)]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, node in schema.get("properties", {}).items():
        yield from nodes(node, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def ours(kind: Kind) -> list[tuple[str, dict[str, Any]]]:
    properties = object_schema(kind)["properties"]
    return [item for part in ("spec", "status") for item in nodes(properties[part], part)]


@pytest.mark.parametrize(("kind", "minor"), CHECKED)
def test_api_servers_know_every_field_of_the_definitions(kind: Kind, minor: int) -> None:
    # No older schemas than those of 1.25 are published; what 1.20 lacks, a real one tells.
    version = f"1.{max(minor, 25)}"
    definition = custom_resource_definition(kind, rule_support(minor))

    kubernetes_validate.validate(definition, version, strict=True)


def test_rules_are_left_out_where_they_are_not_known() -> None:
    text = {
        support: json.dumps(custom_resource_definition(Kind.TENANT, support))
        for support in RuleSupport
    }
    assert "fieldPath" in text[RuleSupport.FULL]
    assert "fieldPath" not in text[RuleSupport.WITHOUT_FIELD_PATH]
    assert "x-kubernetes-validations" in text[RuleSupport.WITHOUT_FIELD_PATH]
    assert "x-kubernetes" not in text[RuleSupport.NONE].replace("x-kubernetes-list", "")
    assert [rule_support(minor) for minor in (24, 25, 27, 28)] == [
        RuleSupport.NONE,
        RuleSupport.WITHOUT_FIELD_PATH,
        RuleSupport.WITHOUT_FIELD_PATH,
        RuleSupport.FULL,
    ]


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_schemas_are_structural(kind: Kind) -> None:
    for path, node in ours(kind):
        assert set(node) <= ALLOWED_KEYS, path
        assert not ("properties" in node and "additionalProperties" in node), path
        if node["type"] == "object":
            assert "properties" in node or "additionalProperties" in node, path
        if node.get("x-kubernetes-list-type") == "map":
            key = node["x-kubernetes-list-map-keys"][0]
            inner = node["items"]
            assert key in inner["required"] or "default" in inner["properties"][key], path


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_everything_has_a_bound_so_that_rules_have_a_known_cost(kind: Kind) -> None:
    for path, node in ours(kind):
        if node["type"] == "string":
            assert {"maxLength", "enum", "format"} & set(node), path
        elif node["type"] == "array":
            assert "maxItems" in node, path
        elif "additionalProperties" in node:
            assert "maxProperties" in node, path


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_kubectl_explain_has_something_to_say_of_every_field(kind: Kind) -> None:
    schema = object_schema(kind)
    assert schema["description"].endswith(".")
    for path, node in ours(kind):
        if path.endswith(("[]", "{}")):
            continue
        assert len(node.get("description", "")) > 4, path
        assert node["description"].endswith("."), path
        assert "``" not in node["description"], path


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_defaults_are_valid_themselves(kind: Kind) -> None:
    for path, node in ours(kind):
        if "default" in node:
            jsonschema.Draft4Validator(node).validate(node["default"])
            assert not path.startswith("status"), path


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_columns_show_what_exists(kind: Kind) -> None:
    paths = {f".{path}" for path, _ in ours(kind)}
    for column in COLUMNS[kind]:
        known = column.path.partition("[?")[0]
        assert known in paths or known == ".metadata.creationTimestamp", column
    narrow = [column.name for column in COLUMNS[kind] if not column.wide]
    assert narrow[-1] != column.name or not column.wide
    assert len(narrow) <= 8
    assert len({column.name for column in COLUMNS[kind]}) == len(COLUMNS[kind])


def test_names_do_not_collide() -> None:
    names = [custom_resource_definition(kind)["spec"]["names"] for kind in DEFINITIONS]
    words = [
        word for item in names for word in (item["plural"], item["singular"], *item["shortNames"])
    ]
    assert len(set(words)) == len(words)
    assert all(item["categories"] == ["alise"] for item in names)


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_examples_are_valid_and_are_what_they_say(kind: Kind) -> None:
    example = EXAMPLES[kind]
    jsonschema.Draft4Validator(object_schema(kind)).validate(example)
    parse_spec(kind, example["spec"])
    known = json.loads(parse_spec(kind, example["spec"]).model_dump_json(by_alias=True))
    assert set(example["spec"]) <= set(known)


def test_a_status_with_reasons_of_a_newer_operator_is_stored() -> None:
    status = object_schema(Kind.TENANT)["properties"]["status"]
    condition = {
        "type": "NewType",
        "status": "True",
        "reason": "NewReason",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    jsonschema.Draft4Validator(status).validate({"conditions": [condition]})


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_what_the_operator_writes_fits_the_schema_of_the_status(kind: Kind) -> None:
    condition = Condition.model_validate(
        {
            "type": ConditionType.ACCEPTED,
            "status": ConditionStatus.TRUE,
            "reason": Reason.ACCEPTED,
            "message": "x" * 32_768,
            "last_transition_time": "2026-01-01T00:00:00Z",
        }
    )
    status = DEFINITIONS[kind].status(conditions=(condition,))  # type: ignore[call-arg]
    written = json.loads(status.model_dump_json(by_alias=True, exclude_none=True))
    schema = object_schema(kind)["properties"]["status"]
    jsonschema.Draft4Validator(schema).validate(written)
    assert set(written) <= set(schema["properties"])


def test_a_status_that_says_too_much_is_cut_and_not_refused() -> None:
    status = DEFINITIONS[Kind.MODEL_POOL].status.model_validate(
        {"models": [f"m{each}" for each in range(300)], "kvCachePolicy": "x" * 5_000}
    )
    written = status.model_dump(by_alias=True)
    assert len(written["models"]) == 256
    assert len(written["kvCachePolicy"]) == 1_024


def test_every_condition_and_every_reason_is_explained() -> None:
    assert set(CONDITION_MEANINGS) == set(ConditionType)
    assert set(REASON_MEANINGS) == set(Reason)
