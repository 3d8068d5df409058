"""Reading JSON that may be anything: what has the wrong type counts as absent. Pure."""

from collections.abc import Mapping
from typing import cast


def mapping_at(raw: Mapping[str, object], key: str) -> Mapping[str, object]:
    """The mapping there, or an empty one."""
    value = raw.get(key)
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def sequence_at(raw: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    """The mappings in the list there; nothing where it is no list."""
    value = raw.get(key)
    if not isinstance(value, list):
        return []
    return [cast("Mapping[str, object]", each) for each in value if isinstance(each, Mapping)]


def text_at(raw: Mapping[str, object], key: str) -> str:
    """The text there, or an empty one."""
    value = raw.get(key)
    return value if isinstance(value, str) else ""
