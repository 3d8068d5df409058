"""Whether what an object names exists. Pure; nothing here holds a value of a Secret."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from alise_core.crds.base import SecretRef
from alise_core.crds.conditions import ConditionType, Reason
from alise_operator.decide.conditions import Finding, false, true, unknown

_MOST_NAMED = 4
_BY_WEIGHT = (Reason.REF_NOT_FOUND, Reason.REF_NOT_PERMITTED, Reason.NOT_CHECKED)
"""What is known to be missing is worth more than what could not be looked at."""


class Presence(StrEnum):
    """What asking for a Secret came to."""

    PRESENT = "present"
    ABSENT = "absent"
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"
    """Not asked yet, or the API server did not answer."""


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """What is known of one Secret without reading it.

    Attributes:
        entries: Names of its entries as its metadata tells them; ``None`` where it does not.
    """

    presence: Presence = Presence.UNKNOWN
    entries: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """A reference and the field that holds it."""

    field: str
    ref: SecretRef


@dataclass(frozen=True, slots=True)
class Problem:
    """A reference that does not resolve, or may not."""

    reason: Reason
    text: str


def resolved(problems: Iterable[Problem]) -> Finding:
    """``ResolvedRefs``: by the weightiest of the problems."""
    found = tuple(problems)
    for reason in _BY_WEIGHT:
        texts = [problem.text for problem in found if problem.reason is reason]
        if texts:
            make = false if reason is Reason.REF_NOT_FOUND else unknown
            return make(ConditionType.RESOLVED_REFS, reason, enumerate_some(texts))
    return true(
        ConditionType.RESOLVED_REFS, Reason.RESOLVED, "Everything that the spec names exists"
    )


def secret_problems(
    refs: Iterable[NamedSecret], known: Mapping[str, SecretFacts]
) -> Iterator[Problem]:
    """What is wrong with references to Secrets.

    Args:
        refs: All of them.
        known: By name of the Secret; one that is missing has not been asked for yet.
    """
    for named in refs:
        facts = known.get(named.ref.name, SecretFacts())
        problem = _secret_problem(named.field, named.ref, facts)
        if problem is not None:
            yield problem


def enumerate_some(texts: list[str]) -> str:
    """The first few, and how many more there are."""
    rest = len(texts) - _MOST_NAMED
    return "; ".join(texts[:_MOST_NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def _secret_problem(field: str, ref: SecretRef, facts: SecretFacts) -> Problem | None:
    match facts.presence:
        case Presence.ABSENT:
            return Problem(
                Reason.REF_NOT_FOUND, f"{field}: Secret {ref.name!r} does not exist; create it"
            )
        case Presence.FORBIDDEN:
            return Problem(
                Reason.REF_NOT_PERMITTED,
                f"{field}: the operator may not get Secret {ref.name!r}, so it cannot tell "
                "whether it exists; gateways read it with their own permissions",
            )
        case Presence.UNKNOWN:
            return Problem(
                Reason.NOT_CHECKED, f"{field}: Secret {ref.name!r} could not be looked for yet"
            )
        case Presence.PRESENT:
            return _entry_problem(field, ref, facts.entries)
        case _:
            assert_never(facts.presence)


def _entry_problem(field: str, ref: SecretRef, entries: frozenset[str] | None) -> Problem | None:
    if ref.key is None or (entries is not None and ref.key in entries):
        return None
    if entries is None:
        return Problem(
            Reason.NOT_CHECKED,
            f"{field}: Secret {ref.name!r} exists; whether it has an entry {ref.key!r} cannot be "
            "told without reading it, which the operator does not do",
        )
    return Problem(
        Reason.REF_NOT_FOUND, f"{field}: Secret {ref.name!r} has no entry {ref.key!r}; add it"
    )
