"""Every way a request can end has a status, a metric label and a row of documentation."""

import re
from http import HTTPStatus

import pytest

from alise_core.outcome import SPECS, Outcome
from architecture.repository import ROOT

CLIENT_CLOSED_REQUEST = 499
VALID = {status.value for status in HTTPStatus} | {CLIENT_CLOSED_REQUEST, 529}
ROW = re.compile(r"^\| `(?P<outcome>[a-z_]+)` \| (?P<status>\d{3})", re.MULTILINE)


def documented() -> dict[str, int]:
    text = (ROOT / "docs/outcomes.md").read_text(encoding="utf-8")
    return {match["outcome"]: int(match["status"]) for match in ROW.finditer(text)}


def test_every_outcome_has_a_spec_and_no_spec_is_left_over() -> None:
    assert set(SPECS) == set(Outcome)


@pytest.mark.parametrize("outcome", Outcome)
def test_metric_label_is_the_name_in_lower_case(outcome: Outcome) -> None:
    assert outcome.value == outcome.name.lower()
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", outcome.value)


@pytest.mark.parametrize("outcome", Outcome)
def test_statuses_are_valid_and_distinct(outcome: Outcome) -> None:
    spec = SPECS[outcome]

    assert {spec.status, *spec.also} <= VALID
    assert spec.status not in spec.also


@pytest.mark.parametrize("outcome", Outcome)
def test_errors_have_a_type_and_only_errors_have_one(outcome: Outcome) -> None:
    spec = SPECS[outcome]
    reaches_the_client = spec.status >= 400 and spec.status != CLIENT_CLOSED_REQUEST

    assert bool(spec.error_type) == reaches_the_client


@pytest.mark.parametrize("outcome", Outcome)
def test_whoever_was_dropped_learns_when_to_come_back(outcome: Outcome) -> None:
    spec = SPECS[outcome]

    assert spec.dropped == spec.retry_after


def test_documentation_has_one_row_for_each_with_its_status() -> None:
    assert documented() == {outcome.value: spec.status for outcome, spec in SPECS.items()}


def test_documentation_names_every_other_status() -> None:
    text = (ROOT / "docs/outcomes.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}

    missing = [
        (outcome.value, status)
        for outcome, spec in SPECS.items()
        for status in spec.also
        if str(status) not in rows[outcome.value]
    ]
    assert missing == []
