"""What clients are told of requests that the queue did not serve."""

import pytest

from alise_core.errors import Evicted, Rejected
from alise_core.outcome import SPECS, Outcome
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.drops import drop_error, shutting_down

ENDS = {
    DropReason.QUEUE_FULL: Outcome.REJECTED_SATURATED,
    DropReason.CLASS_FULL: Outcome.REJECTED_SATURATED,
    DropReason.TENANT_QUEUE_FULL: Outcome.REJECTED_SATURATED,
    DropReason.REQUEST_RATE: Outcome.REJECTED_RATE_LIMITED,
    DropReason.TOKEN_RATE: Outcome.REJECTED_RATE_LIMITED,
    DropReason.DEADLINE: Outcome.REJECTED_SATURATED,
    DropReason.TTL: Outcome.EVICTED_TTL,
    DropReason.SHED: Outcome.EVICTED_PRIORITY,
    DropReason.NO_BACKENDS: Outcome.REJECTED_NO_BACKENDS,
    DropReason.SHUTTING_DOWN: Outcome.REJECTED_SHUTTING_DOWN,
}


@pytest.mark.parametrize("reason", DropReason)
def test_every_reason_has_a_message_of_its_own_and_a_time_to_come_back(reason: DropReason) -> None:
    error = drop_error(ENDS[reason], reason, 7.0)
    assert error.status == SPECS[ENDS[reason]].status
    assert error.retry_after_seconds == 7.0
    others = {drop_error(ENDS[item], item, 1.0).message for item in DropReason if item != reason}
    assert error.message not in others


def test_what_had_a_place_was_evicted() -> None:
    assert isinstance(drop_error(Outcome.EVICTED_TTL, DropReason.DEADLINE, 1.0), Evicted)
    assert isinstance(drop_error(Outcome.REJECTED_SATURATED, DropReason.DEADLINE, 1.0), Rejected)


def test_the_code_is_finer_than_the_outcome_where_that_says_more() -> None:
    assert drop_error(Outcome.REJECTED_SATURATED, DropReason.DEADLINE, 1.0).code == "deadline"
    assert drop_error(Outcome.EVICTED_TTL, DropReason.TTL, 1.0).code is None
    assert shutting_down().code is None
