"""One member of a JSON object, changed in the text: all other characters stay as they are. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from alise_operator.canary.words import Refused

_DECODER = json.JSONDecoder()
_BLANK = " \t\n\r"


@dataclass(frozen=True, slots=True)
class Splice:
    """``text`` in the place of the characters from ``start`` to ``end``."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    name_start: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Object:
    start: int
    end: int
    members: tuple[_Member, ...]

    def member(self, name: str) -> _Member | None:
        found = [member for member in self.members if member.name == name]
        if len(found) > 1:
            raise Refused(f"{name!r} is there {len(found)} times: leave one of them")
        return found[0] if found else None


def member_text(text: str, path: Sequence[str]) -> str | None:
    """The value at a path as it is written; ``None`` where the last name is absent.

    Raises:
        Refused: It is no JSON object, or an object on the way is missing.
    """
    member = _parent(text, path).member(path[-1])
    return None if member is None else text[member.start : member.end]


def member_splice(text: str, path: Sequence[str], value: str | None) -> Splice:
    """The change that puts ``value``, itself JSON, at a path; ``None`` takes the member away.

    Raises:
        Refused: As in ``member_text``.
    """
    parent = _parent(text, path)
    member = parent.member(path[-1])
    if member is not None and value is not None:
        return Splice(member.start, member.end, value)
    if member is not None:
        return _without(parent, member)
    if value is None:
        return Splice(parent.end, parent.end, "")
    added = f"{json.dumps(path[-1])}:{value}"
    if not parent.members:
        return Splice(parent.start + 1, parent.start + 1, added)
    end = parent.members[-1].end
    return Splice(end, end, f",{added}")


def _without(parent: _Object, member: _Member) -> Splice:
    at = parent.members.index(member)
    if at:
        return Splice(parent.members[at - 1].end, member.end, "")
    if len(parent.members) > 1:
        return Splice(member.name_start, parent.members[1].name_start, "")
    return Splice(parent.start + 1, member.end, "")


def _parent(text: str, path: Sequence[str]) -> _Object:
    try:
        value, end = _DECODER.raw_decode(text, _blank(text, 0))
        if not isinstance(value, dict) or text[end:].strip(_BLANK):
            raise Refused(f"{text[:80]!r} is not a JSON object")
        found = _object(text, _blank(text, 0))
        for depth, name in enumerate(path[:-1], 1):
            member = found.member(name)
            if member is None or text[member.start] != "{":
                raise Refused(f"{text[:80]!r} has no object at {'.'.join(path[:depth])}: write it")
            found = _object(text, member.start)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{text[:80]!r} is not JSON: {str(error)[:80]}") from error
    return found


def _object(text: str, start: int) -> _Object:
    """The object at ``start`` of a text that is known to be good JSON."""
    members: list[_Member] = []
    at = _blank(text, start + 1)
    while text[at] != "}":
        name, end = _DECODER.raw_decode(text, at)
        value_start = _blank(text, _blank(text, end) + 1)
        _, value_end = _DECODER.raw_decode(text, value_start)
        members.append(_Member(name, at, value_start, value_end))
        at = _blank(text, value_end)
        if text[at] == ",":
            at = _blank(text, at + 1)
    return _Object(start, at, tuple(members))


def _blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at
