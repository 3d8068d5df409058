"""Errors that end a request are twins of outcomes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import (
    AliseError,
    BackendError,
    ConfigError,
    Evicted,
    InvalidRequest,
    Rejected,
    RequestError,
    Unauthorized,
    WireError,
)
from alise_core.outcome import SPECS, Outcome

KINDS = [InvalidRequest, Unauthorized, Rejected, Evicted, BackendError]


@pytest.mark.parametrize("kind", [ConfigError, WireError, RequestError, *KINDS])
def test_everything_raised_on_purpose_has_one_root(kind: type[Exception]) -> None:
    assert issubclass(kind, AliseError)


@pytest.mark.parametrize("kind", KINDS)
def test_kind_stands_for_an_outcome_and_its_status(kind: type[RequestError]) -> None:
    error = kind("no")

    assert error.status == SPECS[error.outcome].status
    assert str(error) == error.message == "no"
    assert (error.param, error.code, error.retry_after_seconds) == (None, None, None)


def test_kinds_differ_in_their_outcome() -> None:
    assert len({kind("").outcome for kind in KINDS}) == len(KINDS)


@given(st.sampled_from(Outcome), st.integers(100, 599))
def test_only_a_status_that_the_outcome_allows_is_taken(outcome: Outcome, status: int) -> None:
    spec = SPECS[outcome]

    if status == spec.status or status in spec.also:
        assert RequestError("x", outcome=outcome, status=status).status == status
    else:
        with pytest.raises(ValueError, match=str(status)):
            RequestError("x", outcome=outcome, status=status)


def test_detail_is_kept_for_the_reply() -> None:
    error = Rejected(
        "come back",
        outcome=Outcome.REJECTED_RATE_LIMITED,
        param="model",
        code="rate_limit_exceeded",
        retry_after_seconds=1.5,
    )

    assert error.outcome is Outcome.REJECTED_RATE_LIMITED
    assert error.status == 429
    assert (error.param, error.code) == ("model", "rate_limit_exceeded")
    assert error.retry_after_seconds == 1.5


def test_outcome_of_one_error_does_not_stick_to_its_kind() -> None:
    Rejected("a", outcome=Outcome.REJECTED_NO_BACKENDS)

    assert Rejected("b").outcome is Outcome.REJECTED_SATURATED
