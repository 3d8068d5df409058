"""Errors as bytes: the shapes that OpenAI's and Anthropic's clients parse."""

import json

import h11
import pytest

from alise_core.errors import InvalidRequest, Rejected, RequestError, Unauthorized
from alise_core.outcome import SPECS, Outcome
from alise_core.wire.openai import Endpoint
from alise_gateway.intake.replies import closing_reply, error_body, error_fields, reply


def test_openai_shape() -> None:
    error = InvalidRequest("'n' is wrong", param="n", code="invalid_type")
    for endpoint in (None, Endpoint.CHAT_COMPLETIONS):
        assert json.loads(error_body(error, endpoint)) == {
            "error": {
                "message": "'n' is wrong",
                "type": "invalid_request_error",
                "param": "n",
                "code": "invalid_type",
            }
        }


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequest("x"), "invalid_request_error"),
        (InvalidRequest("x", status=404), "not_found_error"),
        (InvalidRequest("x", status=408), "invalid_request_error"),
        (InvalidRequest("x", status=501), "api_error"),
        (Unauthorized("x"), "authentication_error"),
        (Unauthorized("x", status=403), "permission_error"),
        (Rejected("x"), "rate_limit_error"),
        (Rejected("x", status=503), "overloaded_error"),
        (RequestError("x", outcome=Outcome.REJECTED_TOO_LARGE), "request_too_large"),
        (RequestError("x", outcome=Outcome.FAILED_BACKEND_TIMEOUT), "timeout_error"),
        (RequestError("x", outcome=Outcome.FAILED_BACKEND_ERROR), "api_error"),
    ],
)
def test_anthropic_shape(error: RequestError, kind: str) -> None:
    assert json.loads(error_body(error, Endpoint.MESSAGES)) == {
        "type": "error",
        "error": {"type": kind, "message": "x"},
    }


@pytest.mark.parametrize("outcome", [o for o in Outcome if SPECS[o].error_type])
@pytest.mark.parametrize("seconds", [None, 0.0, 0.2, 1.2, 1e9, float("inf")])
def test_every_dropped_request_is_told_why_and_until_when(
    outcome: Outcome, seconds: float | None
) -> None:
    error = RequestError("x", outcome=outcome, retry_after_seconds=seconds)
    fields = dict(error_fields(error))
    spec = SPECS[outcome]
    assert fields.get(b"x-alise-dropped-reason") == (outcome.encode() if spec.dropped else None)
    assert (b"retry-after" in fields) == spec.retry_after
    if spec.retry_after:
        wanted = {None: 1, 0.0: 1, 0.2: 1, 1.2: 2}.get(seconds, 3_600)
        assert int(fields[b"retry-after"]) == wanted
    assert json.loads(error_body(error, None))["error"]["code"] == outcome


def test_fields_that_http_asks_for() -> None:
    assert error_fields(Unauthorized("x")) == [(b"www-authenticate", b"Bearer")]
    assert error_fields(InvalidRequest("x", status=405)) == [(b"allow", b"POST")]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 404, 422, 529, 599])
def test_a_reply_is_what_http_says(method: str, status: int) -> None:
    data = reply(status, [(b"x-a", b"b")], b"hello", keep_alive=True, head_only=method == "HEAD")
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    head = client.next_event()
    assert isinstance(head, h11.Response)
    assert head.status_code == status
    assert head.reason
    assert (b"x-a", b"b") in list(head.headers)
    assert (b"content-length", b"5") in list(head.headers)
    if method == "GET":
        body = client.next_event()
        assert isinstance(body, h11.Data)
        assert body.data == b"hello"
    assert isinstance(client.next_event(), h11.EndOfMessage)
    assert client.their_state is h11.DONE


def test_a_closing_reply_says_so() -> None:
    assert b"connection: close\r\n" in closing_reply(InvalidRequest("x"), b"GET", None)
    assert closing_reply(InvalidRequest("x"), b"HEAD", None).endswith(b"\r\n\r\n")
