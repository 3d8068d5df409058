"""Which changes of a status are worth an Event. Pure.

The status that stands in the object is the memory: a change is announced when it is written, so
neither a restart nor another leader announces it again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from alise_core.crds.conditions import ConditionStatus, ConditionType
from alise_operator.decide.conditions import Finding, RawCondition, shorten
from alise_operator.decide.raw import text_at

_MOST_MESSAGE_CHARS = 1_024
"""What the API server takes in an Event's message."""

_NEWS_FROM_THE_START = frozenset({ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS})
"""Being wrong is news at first sight; a pool that never had endpoints may just be on its way."""


class EventType(StrEnum):
    """As Kubernetes has them."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Announcement:
    """An Event to be."""

    type: EventType
    reason: str
    message: str


def announce(
    findings: Iterable[Finding], before: Iterable[RawCondition]
) -> tuple[Announcement, ...]:
    """What became wrong, and what is right again.

    Args:
        findings: What is found now.
        before: The conditions that stand in the object.
    """
    standing = {text_at(condition, "type"): condition for condition in before}
    found = (_announcement(finding, standing.get(finding.type.value)) for finding in findings)
    return tuple(each for each in found if each is not None)


def announce_in_force(what: str, before: str, now: str) -> tuple[Announcement, ...]:
    """Another policy governs a pool; the first one that is seen to is no news.

    Args:
        what: Kind of the policy.
        before: Name that stands in the status.
        now: Name of the one that governs; empty for the defaults.
    """
    if not before or before == now:
        return ()
    message = f"{what} {now!r} is in force in place of {before!r}"
    if not now:
        message = f"{what} {before!r} is not in force any more; the defaults are"
    return (Announcement(EventType.NORMAL, "PolicyChanged", message),)


def _announcement(found: Finding, old: Mapping[str, object] | None) -> Announcement | None:
    was = "" if old is None else text_at(old, "status")
    message = shorten(found.message, _MOST_MESSAGE_CHARS)
    if found.status is ConditionStatus.FALSE:
        same = was == ConditionStatus.FALSE and text_at(old or {}, "reason") == found.reason
        expected = found.type not in _NEWS_FROM_THE_START and was != ConditionStatus.TRUE
        if same or expected:
            return None
        return Announcement(EventType.WARNING, found.reason.value, message)
    if found.status is ConditionStatus.TRUE and was == ConditionStatus.FALSE:
        return Announcement(EventType.NORMAL, found.reason.value, message)
    return None
