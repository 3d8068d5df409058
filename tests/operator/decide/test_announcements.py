import pytest

from alise_core.crds.conditions import ConditionType, Reason
from alise_operator.decide.announcements import (
    Announcement,
    EventType,
    announce,
    announce_in_force,
)
from alise_operator.decide.conditions import Finding, false, true, unknown

INVALID = false(ConditionType.ACCEPTED, Reason.INVALID, "spec.x: wrong")
ACCEPTED = true(ConditionType.ACCEPTED, Reason.ACCEPTED, "fine")
EMPTY = false(ConditionType.READY, Reason.NO_READY_ENDPOINTS, "None of 2 is ready")
UNCHECKED = unknown(ConditionType.RESOLVED_REFS, Reason.NOT_CHECKED, "not yet")


def condition(kind: str, status: str, reason: str) -> dict[str, object]:
    return {"type": kind, "status": status, "reason": reason}


def test_what_became_wrong_is_a_warning() -> None:
    before = [condition("Accepted", "True", "Accepted")]

    assert announce([INVALID], before) == (
        Announcement(EventType.WARNING, "Invalid", "spec.x: wrong"),
    )


def test_what_is_wrong_from_the_start_is_a_warning_too() -> None:
    assert [each.reason for each in announce([INVALID], [])] == ["Invalid"]


def test_a_new_pool_without_endpoints_is_no_news() -> None:
    assert announce([EMPTY], []) == ()


def test_a_pool_that_lost_its_last_endpoint_is() -> None:
    (news,) = announce([EMPTY], [condition("Ready", "True", "EndpointsReady")])

    assert news.type is EventType.WARNING
    assert news.reason == "NoReadyEndpoints"


def test_a_pool_that_still_has_no_endpoint_is_no_news() -> None:
    assert announce([EMPTY], [condition("Ready", "False", "NoEndpoints")]) == ()
    assert announce([EMPTY], [condition("Ready", "Unknown", "Invalid")]) == ()


def test_another_reason_is_news() -> None:
    before = [condition("Accepted", "False", "Conflicted")]

    assert [each.reason for each in announce([INVALID], before)] == ["Invalid"]


def test_the_same_again_is_not() -> None:
    assert announce([INVALID], [condition("Accepted", "False", "Invalid")]) == ()


def test_what_is_right_again_is_normal() -> None:
    (news,) = announce([ACCEPTED], [condition("Accepted", "False", "Invalid")])

    assert news.type is EventType.NORMAL


@pytest.mark.parametrize("before", [[], [condition("Accepted", "Unknown", "NotChecked")]])
def test_what_was_never_wrong_is_not_announced_as_right(before: list[dict[str, object]]) -> None:
    assert announce([ACCEPTED], before) == ()


def test_what_cannot_be_told_is_no_news() -> None:
    before = [condition("ResolvedRefs", "True", "ResolvedRefs")]

    assert announce([UNCHECKED], before) == ()


def test_messages_fit_into_events() -> None:
    (news,) = announce([Finding(INVALID.type, INVALID.status, INVALID.reason, "x" * 5_000)], [])

    assert len(news.message) <= 1_024


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ("old", "new", "'new' is in force in place of 'old'"),
        ("old", "", "'old' is not in force any more"),
    ],
)
def test_another_policy_in_force_is_told(before: str, now: str, words: str) -> None:
    (news,) = announce_in_force("SchedulingPolicy", before, now)

    assert words in news.message


@pytest.mark.parametrize(("before", "now"), [("", "new"), ("same", "same"), ("", "")])
def test_the_first_policy_and_the_same_one_are_not(before: str, now: str) -> None:
    assert announce_in_force("SchedulingPolicy", before, now) == ()
