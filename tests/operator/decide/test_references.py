import pytest

from alise_core.crds.base import SecretRef
from alise_core.crds.conditions import ConditionStatus, Reason
from alise_operator.decide.conditions import Finding
from alise_operator.decide.references import (
    NamedSecret,
    Presence,
    SecretFacts,
    resolved,
    secret_problems,
)


def find(known: dict[str, SecretFacts], *refs: SecretRef) -> Finding:
    named = [NamedSecret(f"spec.refs[{index}]", ref) for index, ref in enumerate(refs)]
    return resolved(secret_problems(named, known))


def facts(presence: Presence, *entries: str) -> SecretFacts:
    return SecretFacts(presence, frozenset(entries) if entries else None)


def test_nothing_named_is_resolved() -> None:
    assert find({}).status is ConditionStatus.TRUE


def test_a_secret_that_is_there() -> None:
    assert find({"keys": facts(Presence.PRESENT)}, SecretRef(name="keys")).status == "True"


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        (facts(Presence.ABSENT), ConditionStatus.FALSE, Reason.REF_NOT_FOUND),
        (facts(Presence.FORBIDDEN), ConditionStatus.UNKNOWN, Reason.REF_NOT_PERMITTED),
        (facts(Presence.UNKNOWN), ConditionStatus.UNKNOWN, Reason.NOT_CHECKED),
    ],
)
def test_a_secret_that_is_not(state: SecretFacts, status: ConditionStatus, reason: Reason) -> None:
    found = find({"keys": state}, SecretRef(name="keys"))

    assert (found.status, found.reason) == (status, reason)
    assert "'keys'" in found.message
    assert "spec.refs[0]" in found.message


def test_a_secret_nobody_has_asked_for_yet() -> None:
    assert find({}, SecretRef(name="keys")).reason is Reason.NOT_CHECKED


def test_an_entry_that_is_there() -> None:
    known = {"keys": facts(Presence.PRESENT, "team-a")}

    assert find(known, SecretRef(name="keys", key="team-a")).status is ConditionStatus.TRUE


def test_an_entry_that_is_missing() -> None:
    known = {"keys": facts(Presence.PRESENT, "team-b")}

    found = find(known, SecretRef(name="keys", key="team-a"))

    assert found.reason is Reason.REF_NOT_FOUND
    assert "'team-a'" in found.message
    assert "team-b" not in found.message  # names of entries may be telling


def test_an_entry_that_cannot_be_told() -> None:
    found = find({"keys": facts(Presence.PRESENT)}, SecretRef(name="keys", key="team-a"))

    assert (found.status, found.reason) == (ConditionStatus.UNKNOWN, Reason.NOT_CHECKED)


def test_what_is_missing_weighs_more_than_what_is_unknown() -> None:
    known = {"a": facts(Presence.FORBIDDEN), "b": facts(Presence.ABSENT)}

    found = find(known, SecretRef(name="a"), SecretRef(name="b"), SecretRef(name="c"))

    assert found.reason is Reason.REF_NOT_FOUND
    assert "'a'" not in found.message


def test_many_problems_are_counted() -> None:
    found = find({}, *(SecretRef(name=f"s{index}") for index in range(9)))

    assert found.message.endswith("and 5 more")
