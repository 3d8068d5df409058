"""What is remembered of a change under way, on the workload itself. Pure.

It is an annotation, written by the very patch that takes the step: either both are there or neither
is, so that nobody who takes over finds a step half done. A record that cannot be read counts as
none; brakes that were left then are the owner's to see, which is why only this module writes it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from math import isfinite
from typing import cast

from alise_core.crds.kv_cache_policy import RollbackSpec
from alise_core.crds.names import GROUP
from alise_operator.canary.brakes import Brake
from alise_operator.canary.workload import Fields

RECORD_ANNOTATION = f"{GROUP}/canary"
_MOST_HOLDS = 16
_MOST_WHY_CHARS = 512


class Phase(StrEnum):
    """Of a change under way."""

    CANARY = "canary"
    """One pod has it or gets it, and is compared."""
    PASSED = "passed"
    """It was found good, and more is not asked for yet."""
    ROLLING = "rolling"
    """The others get it, one by one."""
    BACK = "back"
    """All go back."""


@dataclass(frozen=True, slots=True)
class Underway:
    """A change under way.

    Attributes:
        name: Of the goal.
        phase: Where it stands.
        since: Unix seconds; when the phase began, or the last pod got through it.
        pods: That have it, or get it now.
        container: In which.
        before: The fields as they were.
        after: As they become.
        others: Stands for the rest of the template: another one is another's work.
        own_brake: The owner's.
        brake: That was set last.
        text: What the gate found, or what is wrong.
        paused_at: Since when it stands still.
    """

    name: str
    phase: Phase
    since: float
    pods: int
    container: str
    before: Fields
    after: Fields
    others: str
    own_brake: Brake
    brake: Brake
    text: str = ""
    paused_at: float | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A goal that failed, and is not tried again before a time."""

    name: str
    until: float
    failures: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """See the module."""

    underway: Underway | None = None
    holds: tuple[Held, ...] = ()

    def held(self, name: str, now: float) -> Held | None:
        """Why a goal is not tried now."""
        return next((one for one in self.holds if one.name == name and one.until > now), None)

    def failed(self, name: str, why: str, now: float, pace: RollbackSpec) -> "Record":
        """A goal failed: twice as long a hold as the last time, up to the most."""
        failures = next((one.failures for one in self.holds if one.name == name), 0) + 1
        seconds = min(pace.max_hold_seconds, pace.hold_seconds * 2.0 ** min(failures - 1, 32))
        others = tuple(one for one in self.holds if one.name != name)
        held = Held(name, now + seconds, failures, why[:_MOST_WHY_CHARS])
        return replace(self, holds=(*others, held)[-_MOST_HOLDS:])

    def forgiven(self, name: str) -> "Record":
        """A goal was reached."""
        return replace(self, holds=tuple(one for one in self.holds if one.name != name))

    def caught_up(self, now: float, pace: RollbackSpec) -> "Record":
        """The same with no time in the future: the clock of whoever wrote it may have been wrong.

        The caller writes the result back, or a time ahead would stay ahead.
        """
        underway, most = self.underway, now + pace.max_hold_seconds
        if underway is not None:
            paused = underway.paused_at
            underway = replace(
                underway,
                since=min(underway.since, now),
                paused_at=None if paused is None else min(paused, now),
            )
        holds = tuple(replace(one, until=min(one.until, most)) for one in self.holds)
        return Record(underway, holds)

    def to_json(self) -> str | None:
        """The annotation; ``None`` where there is nothing to remember."""
        if self == Record():
            return None
        return json.dumps(asdict(self), separators=(",", ":"))


def record_from(text: str | None) -> Record:
    """What an annotation says; an empty record where it says nothing that can be read."""
    if not text:
        return Record()
    try:
        raw = json.loads(text)
        underway = raw["underway"]
        return Record(
            None if underway is None else _underway(underway),
            tuple(_held(one) for one in raw["holds"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return Record()


def _underway(raw: Mapping[str, object]) -> Underway:
    paused = raw["paused_at"]
    return Underway(
        name=str(raw["name"]),
        phase=Phase(str(raw["phase"])),
        since=_number(raw["since"]),
        pods=int(_number(raw["pods"])),
        container=str(raw["container"]),
        before=_fields(raw["before"]),
        after=_fields(raw["after"]),
        others=str(raw["others"]),
        own_brake=_brake(raw["own_brake"]),
        brake=_brake(raw["brake"]),
        text=str(raw["text"]),
        paused_at=None if paused is None else _number(paused),
    )


def _held(raw: Mapping[str, object]) -> Held:
    until, failures = _number(raw["until"]), int(_number(raw["failures"]))
    return Held(str(raw["name"]), until, failures, str(raw["why"]))


def _fields(raw: object) -> Fields:
    found = dict(_brake(raw))
    for name in ("command", "args"):
        words = found[name]
        found[name] = None if words is None else tuple(map(str, cast("list[object]", words)))
    return Fields(**found)  # type: ignore[arg-type]


def _brake(raw: object) -> Brake:
    if not isinstance(raw, dict):
        raise TypeError("not an object")
    return cast("Brake", raw)


def _number(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not isfinite(raw):
        raise TypeError("not a number")
    return float(raw)
