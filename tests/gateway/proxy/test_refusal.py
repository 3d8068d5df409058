"""What a client is told when no backend gave it an answer."""

import pytest

from alise_core.errors import RequestError
from alise_core.outcome import Outcome
from alise_gateway.domain.failure import FailureKind
from alise_gateway.proxy.answers import Answer
from alise_gateway.proxy.attempt import AttemptResult
from alise_gateway.proxy.refusal import PassedError, final_error

SHAPED = b'{"error": {"message": "too long"}}'


def result(
    outcome: Outcome, failure: FailureKind | None = None, answer: Answer | None = None
) -> AttemptResult:
    return AttemptResult(outcome, committed=False, failure=failure, answer=answer)


def test_the_backends_own_refusal_passes_word_for_word() -> None:
    answer = Answer(422, SHAPED)
    assert final_error(result(Outcome.REJECTED_INVALID, answer=answer)) == PassedError(422, SHAPED)


@pytest.mark.parametrize(
    "body", [b"", b"<html>10.0.0.1</html>", b'{"error":"x"}', b'{"detail":1}', b"[" * 100_000,
             b'{"error":{"message":"' + b"x" * 300_000 + b'"}}'],
)  # fmt: skip
def test_a_refusal_of_no_known_shape_is_put_into_words(body: bytes) -> None:
    error = final_error(result(Outcome.REJECTED_INVALID, answer=Answer(404, body)))
    assert isinstance(error, RequestError)
    assert (error.status, error.code) == (404, "backend_refused")
    assert "10.0.0.1" not in error.message


def test_a_status_that_the_outcome_does_not_know_becomes_its_own() -> None:
    error = final_error(result(Outcome.REJECTED_INVALID, answer=Answer(418, b"")))
    assert isinstance(error, RequestError)
    assert error.status == 400


@pytest.mark.parametrize("kind", [k for k in FailureKind if k is not FailureKind.LOST_MIDSTREAM])
@pytest.mark.parametrize("answer", [None, Answer(500, SHAPED), Answer(599, b"10.0.0.1")])
def test_failures_are_the_gateways_own_errors(kind: FailureKind, answer: Answer | None) -> None:
    error = final_error(result(Outcome.FAILED_BACKEND_ERROR, kind, answer))
    assert isinstance(error, RequestError)
    assert error.code == f"backend_{kind}"
    assert error.message
    assert "10.0.0.1" not in error.message
    assert error.status == (500 if answer is not None and answer.status == 500 else 502)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [(None, 1), (b"7", 7), (b"x", 1), (b"-3", 1), (b"9" * 400, 3_600), (b"", 1)],
)
def test_the_backends_retry_after_is_passed_on(retry_after: bytes | None, seconds: int) -> None:
    answer = Answer(429, SHAPED, retry_after)
    error = final_error(result(Outcome.REJECTED_SATURATED, FailureKind.OVERLOADED, answer))
    assert isinstance(error, RequestError)
    assert error.status == 503
    assert error.retry_after_seconds == seconds
