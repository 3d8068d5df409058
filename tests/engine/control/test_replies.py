import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.control.replies import Reply, come_later, error, refusal

TOKEN = "an-admin-token"


def stated(value: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", value)]


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
def test_the_token_opens(scheme: bytes) -> None:
    assert refusal(TOKEN, stated(scheme + b" an-admin-token")) is None


@given(st.one_of(st.binary(), st.text().map(lambda text: b"Bearer " + text.encode())))
def test_nothing_else_does(value: bytes) -> None:
    reply = refusal(TOKEN, stated(value))

    assert reply is not None
    assert reply.status == 401
    assert json.loads(reply.body)["error"]["code"] == "invalid_admin_token"
    assert TOKEN.encode() not in reply.body


@pytest.mark.parametrize("value", [b"an-admin-token", b"Basic an-admin-token", b"Beareran-admin"])
def test_the_scheme_counts(value: bytes) -> None:
    assert refusal(TOKEN, stated(value)) is not None


def test_the_first_field_counts() -> None:
    assert refusal(TOKEN, [*stated(b"no"), *stated(b"Bearer an-admin-token")]) is not None
    assert refusal(TOKEN, []) is not None


def test_without_a_token_everybody_may() -> None:
    assert refusal(None, []) is None


def test_errors_have_openais_shape() -> None:
    reply = error(400, "No.", code="wrong", param="a.b")

    assert json.loads(reply.body) == {
        "error": {
            "message": "No.",
            "type": "invalid_request_error",
            "param": "a.b",
            "code": "wrong",
        }
    }
    assert dict(reply.fields) == {
        b"content-type": b"application/json",
        b"content-length": str(len(reply.body)).encode(),
    }


def test_who_comes_too_early_is_told_when() -> None:
    reply = come_later("Later.", "draining")

    assert reply.status == 503
    assert dict(reply.fields)[b"retry-after"] == b"1"
    assert json.loads(reply.body)["error"]["type"] == "server_error"


def test_a_reply_is_json() -> None:
    assert Reply(200, {"é": None}).body == b'{"\\u00e9": null}'
