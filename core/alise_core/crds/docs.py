"""``docs/crds.md``, written from the models. Pure: text out."""

from collections.abc import Iterable, Iterator

from alise_core.crds.as_yaml import as_yaml
from alise_core.crds.base import OBJECT_NAME, SECRET_ENTRY
from alise_core.crds.columns import COLUMNS
from alise_core.crds.definition import CATEGORY, DEFINITIONS, may_be_empty, object_schema
from alise_core.crds.examples import EXAMPLES
from alise_core.crds.kv_cache_policy import KV_CACHE_DTYPE
from alise_core.crds.meanings import CONDITION_MEANINGS, REASON_MEANINGS
from alise_core.crds.model_pool import BASE_PATH
from alise_core.crds.names import API_VERSION, PLURALS, Kind
from alise_core.crds.rules import VALIDATIONS
from alise_core.crds.schema import Schema

_INTRODUCTION = f"""\
<!-- Written by `make crds` from core/alise_core/crds: change the models, not this file. -->

# Custom resources

Four kinds of `{API_VERSION}`, all namespaced. `kubectl get {CATEGORY}` lists them all, and
`kubectl explain KIND.spec` says in the terminal what is below. The chart installs them; without it
`alise crds | kubectl apply -f -` does (`--kube-version 1.N` for an older API server).

A spec that is wrong is refused by `kubectl apply`. Where the API server knows no rules between
fields (before 1.25) it is stored, and changes nothing: the last good spec stays in force, and the
condition `Accepted` says what is wrong. Names of pools and Secrets are of the object's own
namespace. Null means absent. Which policy governs a pool is said in
[design note 0011](design/0011-kubernetes.md).
"""

_PATTERNS = {
    OBJECT_NAME: "lower-case letters, digits, `-` and `.`, with a letter or digit at both ends",
    SECRET_ENTRY: "letters, digits, `-`, `.` and `_`",
    BASE_PATH: "`/` and a part, any number of times",
    KV_CACHE_DTYPE: "lower-case letters, digits and `_`",
}
"""In words: what is a pattern's own mark-up would be Markdown's too."""


def crds_page() -> str:
    """The page, in Markdown."""
    return "\n".join(_page()).rstrip("\n") + "\n"


def _page() -> Iterator[str]:
    yield _INTRODUCTION
    yield from _table(
        ("kind", "short", "what it is"),
        (
            (f"[{kind}](#{str(kind).lower()})", f"`{item.short_name}`", item.description)
            for kind, item in DEFINITIONS.items()
        ),
    )
    for kind in DEFINITIONS:
        yield from _kind(kind)
    yield from _conditions()


def _kind(kind: Kind) -> Iterator[str]:
    item = DEFINITIONS[kind]
    properties = object_schema(kind)["properties"]
    yield f"## {kind}\n\n{item.description}\n"
    yield f"```yaml\n{as_yaml(EXAMPLES[kind])}```\n"
    if may_be_empty(item.spec):
        yield "Everything in the spec may be left out.\n"
    yield "### Fields of its spec\n"
    yield from _table(
        ("field", "type", "default", "bounds", "meaning"), _fields(properties["spec"], "")
    )
    rules = list(_rules(properties["spec"], "spec"))
    if rules:
        yield "Rules between fields:\n"
        yield from (f"- {line}" for line in rules)
        yield ""
    yield f"### What `kubectl get {PLURALS[kind]}` shows\n"
    yield from _table(
        ("column", "meaning"),
        (
            (f"{column.name}{' (`-o wide`)' if column.wide else ''}", column.description)
            for column in COLUMNS[kind]
        ),
    )
    yield "### Fields of its status\n"
    yield from _table(
        ("field", "type", "meaning"),
        ((row[0], row[1], row[4]) for row in _fields(properties["status"], "")),
    )


def _conditions() -> Iterator[str]:
    yield "## Conditions\n"
    yield "Each says for which `observedGeneration` it holds, and since when.\n"
    yield from _table(
        ("type", "True means"), ((f"`{type_}`", text) for type_, text in CONDITION_MEANINGS.items())
    )
    yield from _table(
        ("reason", "means"), ((f"`{reason}`", text) for reason, text in REASON_MEANINGS.items())
    )


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, ...]]:
    """Rows of what is below a node: field, type, default, bounds, meaning."""
    required = schema.get("required", ())
    for name, node in schema.get("properties", {}).items():
        here = f"{path}{name}"
        if here == "conditions":
            yield "`conditions[]`", "object", "", "", "See [conditions](#conditions)."
            continue
        yield _row(here, node, is_required=name in required)
        inner = node.get("items", node)
        yield from _fields(inner, here + ("[]." if "items" in node else "."))


def _row(path: str, node: Schema, *, is_required: bool) -> tuple[str, ...]:
    inner = node.get("items", node)
    suffix = "[]" if "items" in node else ""
    default = node.get("default")
    shown = "required" if is_required else _code(default) if default not in (None, {}) else ""
    return f"`{path}{suffix}`", _type(inner), shown, _bounds(node), node["description"]


def _type(node: Schema) -> str:
    if "additionalProperties" in node:
        return "map of text"
    return {"string": "text", "number": "number", "integer": "integer"}.get(
        node["type"], str(node["type"])
    )


def _bounds(node: Schema) -> str:
    inner = node.get("items", node)
    parts = [", ".join(_code(item) for item in inner.get("enum", ()))]
    parts += [_range(node, "Items", "entries"), _range(node, "Properties", "entries")]
    parts += [_numbers(inner), _range(inner, "Length", "characters")]
    if "pattern" in inner:
        parts.append(_PATTERNS[inner["pattern"]])
    if "x-kubernetes-list-map-keys" in node:
        parts.append(f"each `{node['x-kubernetes-list-map-keys'][0]}` once")
    if node.get("x-kubernetes-list-type") == "set":
        parts.append("each once")
    return "; ".join(part for part in parts if part)


def _numbers(node: Schema) -> str:
    parts = []
    if "minimum" in node:
        parts.append(f"{'>' if node.get('exclusiveMinimum') else '>='} {_number(node['minimum'])}")
    if "maximum" in node:
        parts.append(f"{'<' if node.get('exclusiveMaximum') else '<='} {_number(node['maximum'])}")
    return ", ".join(parts)


def _range(node: Schema, what: str, unit: str) -> str:
    least, most = node.get(f"min{what}"), node.get(f"max{what}")
    if most is None:
        return ""
    return f"{least} to {most} {unit}" if least else f"at most {most} {unit}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _code(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_code(item) for item in value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    # A bar ends a cell, even inside code.
    return f"`{text}`".replace("|", "\\|")


def _rules(schema: Schema, path: str) -> Iterator[str]:
    for item in schema.get(VALIDATIONS, ()):
        yield f"`{path}`: {item['message']}"
    for name, node in schema.get("properties", {}).items():
        yield from _rules(node.get("items", node), f"{path}.{name}" + "[]" * ("items" in node))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
