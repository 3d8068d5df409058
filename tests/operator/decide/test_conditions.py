from alise_core.crds.conditions import ConditionStatus, ConditionType, Reason
from alise_operator.decide.conditions import Finding, false, merge, shorten, timestamp, true

NOON = 1_750_000_000.0
SINCE = "2025-06-01T00:00:00Z"


def standing(**changes: object) -> dict[str, object]:
    return {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "fine",
        "observedGeneration": 1,
        "lastTransitionTime": SINCE,
    } | changes


def accepted(message: str = "fine") -> Finding:
    return true(ConditionType.ACCEPTED, Reason.ACCEPTED, message)


def test_times_are_as_kubernetes_writes_them() -> None:
    assert timestamp(NOON) == "2025-06-15T15:06:40Z"


def test_a_new_condition_begins_now() -> None:
    (condition,) = merge([accepted()], [], 3, NOON)

    assert condition == standing(observedGeneration=3, lastTransitionTime=timestamp(NOON))


def test_the_time_stays_while_the_status_does() -> None:
    (condition,) = merge([accepted("another message")], [standing()], 2, NOON)

    assert condition["lastTransitionTime"] == SINCE
    assert condition["observedGeneration"] == 2
    assert condition["message"] == "another message"


def test_the_time_moves_with_the_status() -> None:
    found = false(ConditionType.ACCEPTED, Reason.INVALID, "wrong")

    (condition,) = merge([found], [standing()], 1, NOON)

    assert condition["status"] == ConditionStatus.FALSE
    assert condition["lastTransitionTime"] == timestamp(NOON)


def test_a_time_that_was_lost_begins_again() -> None:
    (condition,) = merge([accepted()], [{"type": "Accepted", "status": "True"}], 1, NOON)

    assert condition["lastTransitionTime"] == timestamp(NOON)


def test_conditions_of_others_stay_as_they_are() -> None:
    foreign = {"type": "example.com/Audited", "status": "True", "extra": {"a": 1}}

    merged = merge([accepted()], [foreign, standing()], 1, NOON)

    assert merged == [standing(), foreign]


def test_garbage_in_the_list_does_not_hurt() -> None:
    merged = merge([accepted()], [{}, {"type": 5}, {"type": "Accepted", "status": 7}], 1, NOON)

    assert [condition["type"] for condition in merged] == ["Accepted"]


def test_messages_are_bounded() -> None:
    (condition,) = merge([accepted("x" * 10_000)], [], 1, NOON)

    assert len(str(condition["message"])) == 2_048
    assert shorten("abcdef", 5) == "ab..."
