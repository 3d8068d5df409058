"""What an API server does to a custom resource before it stores it, from the CRD's schema alone.

Null and unknown fields are pruned, defaults filled in, types and bounds checked (OpenAPI 3.0 reads
as JSON Schema draft 4 here), lists that are maps or sets must have distinct entries, and rules are
evaluated in CEL.
"""

from collections.abc import Iterator
from typing import Any

import cel
import jsonschema

Schema = dict[str, Any]


def refusals(schema: Schema, spec: Any, *, rules: bool = True) -> list[str]:
    """Why an API server refuses a spec; empty where it takes it. ``schema`` is that of the spec."""
    stored = defaulted(schema, pruned(schema, spec))
    found = [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in jsonschema.Draft4Validator(schema).iter_errors(stored)
    ]
    if not found:
        found += duplicates(schema, stored)
    if not found and rules:
        found += broken_rules(schema, stored)
    return found


def pruned(schema: Schema, value: Any) -> Any:
    if isinstance(value, dict) and schema["type"] == "object":
        known = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        return {
            key: pruned(known.get(key) or schema["additionalProperties"], item)
            for key, item in value.items()
            if item is not None and (extra or key in known)
        }
    if isinstance(value, list) and schema["type"] == "array":
        return [pruned(schema["items"], item) for item in value]
    return value


def defaulted(schema: Schema, value: Any) -> Any:
    if isinstance(value, dict) and "properties" in schema:
        filled = dict(value)
        for key, node in schema["properties"].items():
            if key not in filled and "default" in node:
                filled[key] = node["default"]
            if key in filled:
                filled[key] = defaulted(node, filled[key])
        return filled
    if isinstance(value, list) and "items" in schema:
        return [defaulted(schema["items"], item) for item in value]
    return value


def duplicates(schema: Schema, value: Any) -> Iterator[str]:
    for node, item in levels(schema, value):
        kind = node.get("x-kubernetes-list-type")
        keys = node.get("x-kubernetes-list-map-keys", [])
        if kind in {"map", "set"}:
            names = [[entry.get(key) for key in keys] if keys else entry for entry in item]
            if any(name in names[:place] for place, name in enumerate(names)):
                yield f"duplicate in {names}"


def broken_rules(schema: Schema, value: Any) -> Iterator[str]:
    for node, item in levels(schema, value):
        for rule in node.get("x-kubernetes-validations", ()):
            if cel.evaluate(rule["rule"], {"self": typed(node, item)}) is not True:
                yield rule["message"]


def typed(schema: Schema, value: Any) -> Any:
    """As CEL sees it: the schema says which numbers are doubles."""
    if schema["type"] == "number":
        return float(value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return {
            key: typed(known.get(key) or schema["additionalProperties"], item)
            for key, item in value.items()
        }
    return [typed(schema["items"], item) for item in value] if isinstance(value, list) else value


def levels(schema: Schema, value: Any) -> Iterator[tuple[Schema, Any]]:
    """Every node of the schema with every value that it describes."""
    yield schema, value
    if isinstance(value, dict):
        for key, node in schema.get("properties", {}).items():
            if key in value:
                yield from levels(node, value[key])
    if isinstance(value, list):
        for item in value:
            yield from levels(schema["items"], item)
