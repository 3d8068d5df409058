"""Pydantic models become the structural schemas of Kubernetes.

Structural means: no references, a type at every level, no ``additionalProperties`` beside
``properties`` (what is unknown is pruned), no null, numbers with the boolean ``exclusiveMinimum``
of OpenAPI 3.0. The schema of a status is open where it will grow: it has no enums and no defaults,
so that a newer operator's reasons are stored under an older CRD.

Source: Kubernetes, "Extend the Kubernetes API with CustomResourceDefinitions", structural schemas
and defaulting; KEP-2876 (bounds everywhere, for the cost estimates of rules).
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from alise_core.crds.base import LIST_MAP_KEYS, LIST_TYPE, UNSTATED_DEFAULT, Spec
from alise_core.crds.rules import FIELD_PATH, VALIDATIONS

Schema = dict[str, Any]

RULES_SINCE = 25
FIELD_PATH_SINCE = 28
"""Minor versions of Kubernetes 1. Source: its published JSON schemas of ``ValidationRule``."""

_LONGEST_STATUS_TEXT = 1_024
_FORMATS = {"integer": "int64", "number": "double"}
_KEPT = (
    "format", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems",
    "minProperties", "maxProperties",
)  # fmt: skip


def structural(model: type[Spec], *, is_status: bool = False) -> Schema:
    """The structural schema of a model.

    Args:
        model: A spec or a status.
        is_status: Leaves out enums and defaults.
    """
    root = model.model_json_schema()
    return _Builder(root.get("$defs", {}), is_status).node(root)


class _Builder:
    def __init__(self, defs: Mapping[str, Schema], is_status: bool) -> None:
        self._defs = defs
        self._is_status = is_status

    def node(self, raw: Schema) -> Schema:
        """One level, with everything below it."""
        raw = self._resolved(raw)
        out: Schema = {"type": raw["type"]}
        if "description" in raw:
            out = {"description": _plain(raw["description"]), **out}
        if raw["type"] in _FORMATS:
            out["format"] = _FORMATS[raw["type"]]
        out |= self._default(raw)
        out |= {key: raw[key] for key in _KEPT if key in raw}
        out |= self._values(raw)
        if raw["type"] == "array":
            out[LIST_TYPE] = raw.get(LIST_TYPE, "atomic")
            out |= {LIST_MAP_KEYS: raw[LIST_MAP_KEYS]} if LIST_MAP_KEYS in raw else {}
            out["items"] = self.node(raw["items"])
        if raw["type"] == "object":
            out |= self._object(raw)
        return out

    def _resolved(self, raw: Schema) -> Schema:
        """Without references, and without the null of what may be absent."""
        if "anyOf" in raw:
            (only,) = (item for item in raw["anyOf"] if item.get("type") != "null")
            return {**self._resolved(only), **_without(raw, "anyOf")}
        if "$ref" in raw:
            return {**self._defs[raw["$ref"].rpartition("/")[2]], **_without(raw, "$ref")}
        return raw

    def _default(self, raw: Schema) -> Schema:
        value = raw.get("default")
        if self._is_status or raw.get(UNSTATED_DEFAULT) or value is None or value in ("", []):
            return {}
        if isinstance(value, dict):
            # The API server fills in what is inside from the defaults there.
            return {"default": {}}
        whole = isinstance(value, float) and value.is_integer()
        return {"default": int(value) if whole else value}

    def _values(self, raw: Schema) -> Schema:
        out: Schema = {}
        for bound in ("minimum", "maximum"):
            exclusive = "exclusive" + bound.capitalize()
            if exclusive in raw:
                out |= {bound: raw[exclusive], exclusive: True}
        if "enum" in raw and not self._is_status:
            out["enum"] = list(raw["enum"])
        elif raw["type"] == "string" and "maxLength" not in raw and "format" not in raw:
            out["maxLength"] = _LONGEST_STATUS_TEXT
        return out

    def _object(self, raw: Schema) -> Schema:
        if "properties" not in raw:
            values = list(raw.get("patternProperties", {}).values())
            return {"additionalProperties": self.node(values[0])}
        properties = {name: self.node(item) for name, item in raw["properties"].items()}
        out: Schema = {"properties": properties}
        if raw.get("required"):
            out["required"] = list(raw["required"])
        if VALIDATIONS in raw:
            # Pydantic sorts keys; what is read first comes first.
            keys = ("rule", "message", FIELD_PATH)
            out[VALIDATIONS] = [
                {key: item[key] for key in keys if key in item} for item in raw[VALIDATIONS]
            ]
        return out


class RuleSupport(StrEnum):
    """What an API server knows of ``x-kubernetes-validations``.

    ``kubectl apply`` and Helm refuse a definition with fields that their server does not know.
    """

    FULL = "full"
    WITHOUT_FIELD_PATH = "without-field-path"
    """Before 1.28."""
    NONE = "none"
    """Before 1.25."""


def rule_support(minor: int) -> RuleSupport:
    """What Kubernetes 1.``minor`` knows of rules."""
    if minor < RULES_SINCE:
        return RuleSupport.NONE
    return RuleSupport.FULL if minor >= FIELD_PATH_SINCE else RuleSupport.WITHOUT_FIELD_PATH


def with_rules(schema: Schema, support: RuleSupport) -> Schema:
    """The schema with those parts of its rules that an API server knows."""
    dropped = {
        RuleSupport.FULL: frozenset[str](),
        RuleSupport.WITHOUT_FIELD_PATH: frozenset({FIELD_PATH}),
        RuleSupport.NONE: frozenset({VALIDATIONS}),
    }[support]
    return {key: _dropping(item, dropped) for key, item in schema.items() if key not in dropped}


def _dropping(value: object, dropped: frozenset[str]) -> object:
    if isinstance(value, dict):
        return {key: _dropping(item, dropped) for key, item in value.items() if key not in dropped}
    return [_dropping(item, dropped) for item in value] if isinstance(value, list) else value


def _without(raw: Schema, key: str) -> Schema:
    return {name: item for name, item in raw.items() if name != key}


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("``", "")).strip()
