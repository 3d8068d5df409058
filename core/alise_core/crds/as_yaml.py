"""JSON values as YAML that reads well and does not depend on a library's version.

Block style, two spaces, strings plain where that is safe and quoted as in JSON where not. So the
bare ``alise`` prints manifests, and generated files change only when the models do.
"""

import json
import re
from collections.abc import Iterator, Mapping

_PLAIN = re.compile(
    r"[.]?[A-Za-z][A-Za-z0-9 _.,()/<>=+*'$%^-]*(?:[:;][A-Za-z0-9 _.,()/<>=+*'$%^-]+)*"
)
"""What no YAML 1.1 or 1.2 reader takes for anything but a string, save the words below."""
_WORDS = re.compile(r"(?i)y|n|yes|no|on|off|true|false|null|[.]?nan|[.]?inf")


def as_yaml(value: object) -> str:
    """One document, with a newline at its end.

    Args:
        value: Mappings with text as keys, lists, text, numbers, booleans and ``None``.
    """
    return "\n".join(_lines(value)) + "\n"


def _lines(value: object) -> list[str]:
    if isinstance(value, Mapping) and value:
        return [line for key, item in value.items() for line in _entry(str(key), item)]
    if isinstance(value, list | tuple) and value:
        return [line for item in value for line in _hung("- ", _lines(item))]
    return [_scalar(value)]


def _entry(key: str, item: object) -> Iterator[str]:
    lines = _lines(item)
    if isinstance(item, Mapping | list | tuple) and item:
        yield f"{_scalar(key)}:"
        yield from _hung("  ", lines)
    else:
        yield f"{_scalar(key)}: {lines[0]}"


def _hung(mark: str, lines: list[str]) -> Iterator[str]:
    yield mark + lines[0]
    yield from (" " * len(mark) + line for line in lines[1:])


def _scalar(value: object) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and not _WORDS.fullmatch(value) and value[-1] != " "
        return value if is_plain and ": " not in value else _quoted(value)
    # YAML 1.1 knows no number with an exponent and without a point.
    return re.sub(r"^(-?\d+)e", r"\1.0e", json.dumps(value))


def _quoted(text: str) -> str:
    # JSON escapes what is outside of the first plane in two halves, which YAML does not join.
    marks = (json.dumps(c)[1:-1] if c <= "\uffff" else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(marks)}"'
