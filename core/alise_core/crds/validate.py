"""A raw spec becomes a validated one, or a list of problems that a person can act on.

What Kubernetes does to an object before it stores it is done here too, for API servers that know an
older schema: fields that the schema does not know are dropped, and null means absent. Types are
strict: ``"8000"`` is no port. A problem reads as the API server's own::

    spec.admission.highQuantile: Invalid value: 0.2: must not be below quantile (0.5)

Source: k8s.io/apimachinery, ``pkg/util/validation/field/errors.go``.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, overload

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from alise_core.crds.base import RULES_BROKEN, Spec
from alise_core.crds.inference_pool import InferencePoolSpec
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.crds.model_pool import ModelPoolSpec
from alise_core.crds.names import Kind
from alise_core.crds.scheduling_policy import SchedulingPolicySpec
from alise_core.crds.tenant import TenantSpec
from alise_core.errors import ConfigError

MOST_PROBLEMS = 8
LONGEST_PROBLEM = 300
"""Characters; a condition's message holds all problems and stays below the 32,768 allowed."""
LONGEST_VALUE = 64

SPECS: Mapping[Kind, type[Spec]] = MappingProxyType(
    {
        Kind.MODEL_POOL: ModelPoolSpec,
        Kind.SCHEDULING_POLICY: SchedulingPolicySpec,
        Kind.KV_CACHE_POLICY: KVCachePolicySpec,
        Kind.TENANT: TenantSpec,
        Kind.INFERENCE_POOL: InferencePoolSpec,
    }
)


class SpecInvalid(ConfigError):
    """A spec is wrong.

    Attributes:
        problems: One line each: the field, what is wrong, the value, the remedy.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@overload
def parse_spec(kind: Literal[Kind.MODEL_POOL], raw_spec: object) -> ModelPoolSpec: ...
@overload
def parse_spec(kind: Literal[Kind.SCHEDULING_POLICY], raw_spec: object) -> SchedulingPolicySpec: ...
@overload
def parse_spec(kind: Literal[Kind.KV_CACHE_POLICY], raw_spec: object) -> KVCachePolicySpec: ...
@overload
def parse_spec(kind: Literal[Kind.TENANT], raw_spec: object) -> TenantSpec: ...
@overload
def parse_spec(kind: Literal[Kind.INFERENCE_POOL], raw_spec: object) -> InferencePoolSpec: ...
@overload
def parse_spec(kind: Kind, raw_spec: object) -> Spec: ...
def parse_spec(kind: Kind, raw_spec: object) -> Spec:
    """The validated spec of an object.

    Args:
        kind: Of the object.
        raw_spec: ``spec`` as the API server sends it; ``None`` where there is none.

    Raises:
        SpecInvalid: The spec is wrong. Anything may be passed; nothing else is raised.
    """
    if not isinstance(raw_spec, Mapping | None):
        raise SpecInvalid([f"spec: Invalid value: {_shown(raw_spec)}: must be an object"])
    model = SPECS[kind]
    try:
        text = json.dumps(_without_nulls(raw_spec or {}), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise SpecInvalid(
            ["spec: Invalid value: must be JSON, with numbers that are finite"]
        ) from None
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        unknown = [item["loc"] for item in _details(error) if item["type"] == "extra_forbidden"]
        if not unknown:
            raise SpecInvalid(_problems(error)) from None
    return _parse_known(model, json.loads(text), unknown)


def _parse_known(model: type[Spec], spec: object, unknown: Iterable[tuple[int | str, ...]]) -> Spec:
    for path in unknown:
        owner: Any = spec
        for step in path[:-1]:
            owner = owner[step]
        del owner[path[-1]]
    try:
        return model.model_validate_json(json.dumps(spec), strict=True)
    except ValidationError as error:
        raise SpecInvalid(_problems(error)) from None


def _without_nulls(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value


def _details(error: ValidationError) -> list[ErrorDetails]:
    found = error.errors(include_url=False)
    # An entry that is wrong does not count for pydantic, so the list is also too short for it.
    inner = {item["loc"][:-cut] for item in found for cut in range(1, len(item["loc"]) + 1)}
    return [item for item in found if item["type"] != "too_short" or item["loc"] not in inner]


def _problems(error: ValidationError) -> list[str]:
    lines = [line for item in _details(error) for line in _lines(item)]
    shown = [_cut(line, LONGEST_PROBLEM) for line in lines[:MOST_PROBLEMS]]
    if len(lines) > MOST_PROBLEMS:
        shown.append(f"and {len(lines) - MOST_PROBLEMS} more")
    return shown


def _lines(item: ErrorDetails) -> list[str]:
    path = _path(item["loc"])
    if item["type"] == RULES_BROKEN:
        return [
            _line(f"{path}.{field}" if field else path, wrong, value, message)
            for field, wrong, value, message in item["ctx"]["broken"]
        ]
    if item["type"] == "missing":
        return [f"{path}: Required value"]
    if item["type"] in {"enum", "literal_error"}:
        supported = ", ".join(f'"{each}"' for each in re.findall(r"'([^']*)'", item["msg"]))
        return [_line(path, "Unsupported value", item["input"], f"supported values: {supported}")]
    return [_line(path, "Invalid value", item["input"], _must(item["msg"]))]


def _line(path: str, kind: str, value: object, message: str) -> str:
    # What is pasted where a Secret's name belongs is often the secret itself.
    if value is None or "SecretRef" in path:
        return f"{path}: {kind}: {message}"
    return f"{path}: {kind}: {_shown(value)}: {message}"


def _must(message: str) -> str:
    """Pydantic's sentence as Kubernetes would end its own: ``must be a valid integer``."""
    text = re.sub(r"^\w+ should ", "must ", message)
    return text.replace(" after validation, not", ", not").replace("a valid array", "a list")


def _path(steps: Iterable[int | str]) -> str:
    path = "spec"
    for step in steps:
        plain = isinstance(step, str) and re.fullmatch(r"[a-zA-Z]\w*", step)
        path += f".{step}" if plain else f"[{_cut(str(step), LONGEST_VALUE)}]"
    return path


def _shown(value: object) -> str:
    if isinstance(value, str | bool | int | float):
        return _cut(json.dumps(value), LONGEST_VALUE)
    if isinstance(value, Mapping):
        return "object"
    return "list" if isinstance(value, list | tuple) else type(value).__name__


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
