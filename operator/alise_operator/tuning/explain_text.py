"""An explanation as lines for a terminal. Pure."""

from collections.abc import Iterable, Iterator

from alise_operator.tuning.explain import SILENT_SECONDS, Explanation
from alise_operator.tuning.settings import Value

_MINUTE, _HOUR = 60.0, 3_600.0


def lines_of(found: Explanation) -> Iterator[str]:
    """From what matters most to what is only needed to argue with it."""
    yield f"{found.namespace}/{found.pool}, under KVCachePolicy {found.policy}, mode {found.mode}"
    yield from _freshness(found)
    yield f"pressure  {_pressure(found)}"
    yield f"rung      {found.rung}"
    yield f"decision  {found.decision or 'none yet'}"
    if found.waiting_for:
        yield f"waits for {found.waiting_for}"
    if found.under_way:
        yield f"under way {found.under_way}"
    if found.wanted_replicas:
        yield f"replicas  {found.wanted_replicas} are asked for"
    yield from _block("considered", found.considered)
    yield from _block("notes", found.notes)
    yield from _block("has to pass", (f"{_time(w.left_seconds)}  {w.what}" for w in found.waits))
    yield f"changes   {found.changes} in the last hour, of {found.most_changes}"
    yield from _block("settings", _settings(found))
    yield from _last_action(found)
    yield from _block("conditions of the policy", found.conditions)


def _freshness(found: Explanation) -> Iterator[str]:
    seen = found.seen_seconds_ago
    if seen is None:
        yield "seen      never: no figures of this pool have been trusted yet"
        return
    yield f"seen      {_time(seen)} ago"
    if seen > SILENT_SECONDS:
        yield (
            "          that is long: does an operator lead, and does the pool have pods that "
            "answer? What follows may be out of date"
        )


def _pressure(found: Explanation) -> str:
    marks = f"(room is made from {found.high:g} on, given back below {found.low:g})"
    value = "not known" if found.pressure is None else f"{found.pressure:.2f}"
    if found.hot_seconds:
        return f"{value} {marks}, hot for {_time(found.hot_seconds)}"
    if found.calm_seconds:
        return f"{value} {marks}, calm for {_time(found.calm_seconds)}"
    return f"{value} {marks}"


def _settings(found: Explanation) -> Iterator[str]:
    for name, (value, base) in found.settings.items():
        yield f"{name} {_value(value)}" + ("" if value == base else f" (base {_value(base)})")


def _value(value: Value) -> str:
    return "none asked for" if value is None else str(value)


def _last_action(found: Explanation) -> Iterator[str]:
    action = found.last_action
    if not action:
        return
    yield f"last      {action['time']}  {action['action']}"
    yield f"          {action['reason']}"
    if "command" in action:
        yield f"          {action['command']}"


def _block(title: str, lines: Iterable[str]) -> Iterator[str]:
    for place, line in enumerate(lines):
        if place == 0:
            yield title
        yield f"  {line}"


def _time(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"
