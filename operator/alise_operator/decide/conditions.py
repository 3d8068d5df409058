"""Conditions of a status, from what was found and what stands there. Pure.

Source: Kubernetes API conventions, "Typical status properties": ``lastTransitionTime`` moves only
when ``status`` does; conditions of other writers stay as they are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from alise_core.crds.conditions import ConditionStatus, ConditionType, Reason
from alise_operator.decide.raw import text_at

_MOST_MESSAGE_CHARS = 2_048
"""Kubernetes allows 32,768; nobody reads them, and every watcher carries them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a condition has to say."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str


RawCondition = Mapping[str, object]


def true(kind: ConditionType, reason: Reason, message: str) -> Finding:
    """It is so."""
    return Finding(kind, ConditionStatus.TRUE, reason, message)


def false(kind: ConditionType, reason: Reason, message: str) -> Finding:
    """It is not so, and the message says what can be done."""
    return Finding(kind, ConditionStatus.FALSE, reason, message)


def unknown(kind: ConditionType, reason: Reason, message: str) -> Finding:
    """It cannot be said, and the message says why."""
    return Finding(kind, ConditionStatus.UNKNOWN, reason, message)


def timestamp(unix: float) -> str:
    """``metav1.Time``: RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(
    findings: Iterable[Finding], before: Iterable[RawCondition], generation: int, unix: float
) -> list[dict[str, object]]:
    """The new list: what was found, then the conditions of other types as they were.

    Args:
        findings: One per type.
        before: The conditions that stand in the object.
        generation: Of the spec that was looked at.
        unix: Now, in seconds since the epoch.
    """
    standing = {text_at(condition, "type"): condition for condition in before}
    merged = [_condition(found, standing, generation, unix) for found in findings]
    ours = {condition["type"] for condition in merged}
    return merged + [dict(other) for kind, other in standing.items() if kind and kind not in ours]


def _condition(
    found: Finding, standing: Mapping[str, RawCondition], generation: int, unix: float
) -> dict[str, object]:
    old = standing.get(found.type.value, {})
    since = text_at(old, "lastTransitionTime")
    moved = text_at(old, "status") != found.status.value or not since
    return {
        "type": found.type.value,
        "status": found.status.value,
        "reason": found.reason.value,
        "message": shorten(found.message, _MOST_MESSAGE_CHARS),
        "observedGeneration": generation,
        "lastTransitionTime": timestamp(unix) if moved else since,
    }


def shorten(text: str, most: int) -> str:
    """At most so many characters."""
    return text if len(text) <= most else text[: most - 3] + "..."
