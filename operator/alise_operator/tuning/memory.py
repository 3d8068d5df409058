"""What the tuner remembers of a pool, so that a restarted operator goes on where it was. Pure.

It is kept in the policy's status, as one JSON text. The operator writes it there before it acts:
what is desired is then known to whoever comes next, and an interrupted plan is carried out anew,
with the same result. Times are Unix seconds, since they outlive a process; one that lies in the
future (another node's clock) counts as now, so that a wrong clock delays and never blocks.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import isfinite

from alise_operator.tuning.settings import Knob, PoolSettings, Value, settings_of
from alise_operator.tuning.trend import Trend

_WHY_CHARS = 512
MOST_CHANGES = 64
"""An hour holds at most 60 (``maxChangesPerHour``)."""
_KNOBS = frozenset(Knob)


class Direction(StrEnum):
    """Of a change on the ladder."""

    UP = "up"
    """Makes room, at a price."""
    DOWN = "down"
    """Gives the price back."""


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that was changed, or recommended to be.

    Attributes:
        at: Unix seconds; of a restarting change, when it was over.
        knob: What.
        direction: Up or down the ladder.
        after: The value since then.
    """

    at: float
    knob: Knob
    direction: Direction
    after: Value = None


class Phase(StrEnum):
    """Of a change that restarts pods."""

    CANARY = "canary"
    """One pod has it and is judged."""
    ROLLING = "rolling"
    """The others get it, one by one."""
    BACK = "back"
    """All go back to what they had."""


@dataclass(frozen=True, slots=True)
class ColdChange:
    """A change that restarts pods, under way.

    Attributes:
        before: What pods started with.
        after: The one they get.
        phase: Where it stands.
        since: When the phase began, or the last pod got through it.
        done: Pods that had the phase's value then.
        direction: Up or down the ladder.
        why: What is wrong, in the phase back.
        knob: ``DTYPE``, or ``TIER_BYTES`` with numbers as texts.
    """

    before: str
    after: str
    phase: Phase
    since: float
    done: int = 0
    direction: Direction = Direction.UP
    why: str = ""
    knob: Knob = Knob.DTYPE


@dataclass(frozen=True, slots=True)
class Hold:
    """A dtype, or size of a tier, that failed its canary and is not tried again before a time."""

    value: str
    until: float
    failures: int


@dataclass(frozen=True, slots=True)
class TunerMemory:
    """See the module.

    Attributes:
        desired: What the pool is meant to have.
        base: What it had before anything was changed; pools return to it.
        changes: Made or recommended, oldest first; of the last hour and the stabilisation window.
        calm_since: Since when pressure has been below the low mark.
        calm_peak: The highest pressure since then.
        hot_since: Since when pressure has been above the high mark.
        cold: The change that restarts pods, under way.
        holds: What failed.
        regrets: How often in a row a knob had to be turned up soon after it was turned down.
        recommended: The change that is recommended and not made.
        trend: Where the need is going.
        outlook: Where the predicted peak is going, or the need where nobody predicts.
    """

    desired: PoolSettings = field(default_factory=PoolSettings)
    base: PoolSettings = field(default_factory=PoolSettings)
    changes: tuple[Change, ...] = ()
    calm_since: float | None = None
    calm_peak: float = 0.0
    hot_since: float | None = None
    cold: ColdChange | None = None
    holds: tuple[Hold, ...] = ()
    regrets: tuple[tuple[Knob, int], ...] = ()
    recommended: Change | None = None
    trend: Trend | None = None
    outlook: Trend | None = None

    def regrets_of(self, knob: Knob) -> int:
        """How often in a row turning it down was wrong."""
        return dict(self.regrets).get(knob, 0)

    def last(self, knob: Knob, direction: Direction) -> Change | None:
        """The newest change of a knob in a direction."""
        found = [one for one in self.changes if (one.knob, one.direction) == (knob, direction)]
        return found[-1] if found else None

    def with_change(self, change: Change, keep_seconds: float) -> "TunerMemory":
        """One change more; what is older than ``keep_seconds`` is forgotten."""
        kept = [one for one in self.changes if one.at > change.at - keep_seconds]
        return replace(self, changes=(*kept, change)[-MOST_CHANGES:])

    def with_hold(self, value: str, now: float, first: float, most: float) -> "TunerMemory":
        """A canary failed: twice as long a hold as the last time, up to ``most`` seconds."""
        failures = next((one.failures for one in self.holds if one.value == value), 0) + 1
        seconds = min(most, first * 2.0 ** min(failures - 1, 32))
        others = tuple(one for one in self.holds if one.value != value)
        return replace(self, holds=(*others, Hold(value, now + seconds, failures)))

    def caught_up(self, now: float, most_hold_seconds: float) -> "TunerMemory":
        """The same with no time in the future: a clock may have gone back, or be another's."""

        def past(at: float | None) -> float | None:
            return None if at is None else min(at, now)

        def looked(trend: Trend | None) -> Trend | None:
            if trend is None:
                return None
            return replace(trend, at=min(trend.at, now), begun=min(trend.begun, now))

        cold = self.cold
        return replace(
            self,
            changes=tuple(one if one.at <= now else replace(one, at=now) for one in self.changes),
            calm_since=past(self.calm_since),
            hot_since=past(self.hot_since),
            trend=looked(self.trend),
            outlook=looked(self.outlook),
            cold=None if cold is None else replace(cold, since=min(cold.since, now)),
            holds=tuple(
                replace(one, until=min(one.until, now + most_hold_seconds)) for one in self.holds
            ),
        )

    def to_json(self) -> str:
        """One text for the status."""
        cold = self.cold
        raw: dict[str, object] = {
            "desired": self.desired.as_json(),
            "base": self.base.as_json(),
            "changes": [_change_json(one) for one in self.changes],
            "calmSince": self.calm_since,
            "calmPeak": self.calm_peak,
            "hotSince": self.hot_since,
            "trend": _trend_json(self.trend),
            "outlook": _trend_json(self.outlook),
            "holds": [[one.value, one.until, one.failures] for one in self.holds],
            "regrets": {str(knob): count for knob, count in self.regrets},
            "recommended": None if self.recommended is None else _change_json(self.recommended),
            "cold": None if cold is None else _cold_json(cold),
        }
        return json.dumps(raw, separators=(",", ":"))


def memory_of(text: str) -> TunerMemory:
    """Read back what ``to_json`` gave.

    Whatever is damaged is left out: the tuner then begins anew from what it sees, and with a
    whole stabilisation window to wait before it gives anything back.
    """
    try:
        raw = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raw = {}
    if not isinstance(raw, Mapping):
        return TunerMemory()
    return TunerMemory(
        desired=settings_of(raw.get("desired")),
        base=settings_of(raw.get("base")),
        changes=tuple(filter(None, map(_change_of, _items(raw.get("changes"))))),
        calm_since=_number(raw.get("calmSince")),
        calm_peak=_number(raw.get("calmPeak")) or 0.0,
        hot_since=_number(raw.get("hotSince")),
        cold=_cold_of(raw.get("cold")),
        holds=tuple(filter(None, map(_hold_of, _items(raw.get("holds"))))),
        regrets=tuple(_regrets_of(raw.get("regrets"))),
        recommended=_change_of(raw.get("recommended")),
        trend=_trend_of(raw.get("trend")),
        outlook=_trend_of(raw.get("outlook")),
    )


_DIRECTIONS, _PHASES = frozenset(Direction), frozenset(Phase)


def _change_json(change: Change) -> list[object]:
    return [change.at, change.knob, change.direction, change.after]


def _cold_json(cold: ColdChange) -> list[object]:
    why = cold.why[:_WHY_CHARS]
    where = (cold.phase, cold.since, cold.done, cold.direction)
    return [cold.before, cold.after, *where, why, cold.knob]


def _trend_json(trend: Trend | None) -> list[float] | None:
    return None if trend is None else [trend.level, trend.slope, trend.at, trend.begun]


def _change_of(raw: object) -> Change | None:
    match raw:
        case [int() | float() as at, str(knob), str(way), None | int() | str() as after] if (
            _number(at) is not None and knob in _KNOBS and way in _DIRECTIONS
        ):
            return Change(float(at), Knob(knob), Direction(way), after)
    return None


def _cold_of(raw: object) -> ColdChange | None:
    match raw:
        case [
            str(old),
            str(new),
            str(phase),
            int() | float() as at,
            int(n),
            str(way),
            str(why),
            str(knob),
        ] if (
            _number(at) is not None
            and phase in _PHASES
            and way in _DIRECTIONS
            and (knob == Knob.DTYPE or (knob == Knob.TIER_BYTES and _are_sizes(old, new)))
        ):
            where = (Phase(phase), float(at), n, Direction(way))
            return ColdChange(old, new, *where, why, Knob(knob))
    return None


def _are_sizes(*texts: str) -> bool:
    return all(text.isascii() and text.isdigit() for text in texts)


def _hold_of(raw: object) -> Hold | None:
    match raw:
        case [str(dtype), int() | float() as until, int(failures)] if (
            _number(until) is not None and failures > 0
        ):
            return Hold(dtype, float(until), failures)
    return None


def _trend_of(raw: object) -> Trend | None:
    values = [_number(item) for item in _items(raw)]
    match values:
        case [float() as level, float() as slope, float() as at, float() as begun]:
            return Trend(level, slope, at, begun)
    return None


def _regrets_of(raw: object) -> Iterable[tuple[Knob, int]]:
    if isinstance(raw, Mapping):
        for knob, count in raw.items():
            if knob in _KNOBS and isinstance(count, int) and count > 0:
                yield Knob(knob), count


def _items(raw: object) -> list[object]:
    return raw if isinstance(raw, list) else []


def _number(raw: object) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    try:
        value = float(raw)
    except OverflowError:
        return None
    return value if isfinite(value) else None
