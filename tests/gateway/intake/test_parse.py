"""What intake understands of a body, and what it leaves as it came."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alise_core.errors import InvalidRequest
from alise_core.wire.openai import Endpoint
from alise_gateway.intake.parse import parse_request, with_model

CHAT = Endpoint.CHAT_COMPLETIONS


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", **fields}).encode()


def refusal(data: bytes, endpoint: Endpoint = CHAT) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(endpoint, data)
    return caught.value


def test_what_is_read() -> None:
    data = body(max_tokens=7, priority=3, other=[1, {"model": "x"}])
    request = parse_request(CHAT, data)
    assert (request.model, request.stream, request.max_tokens) == ("m", False, 7)
    assert request.client_priority
    assert request.body is data
    assert not request.injects_usage
    assert not parse_request(CHAT, body(priority=None)).client_priority


@pytest.mark.parametrize("endpoint", list(Endpoint))
@pytest.mark.parametrize("tier", ["flex", "anything", "", None])
def test_the_tier_is_read_and_travels_on(endpoint: Endpoint, tier: str | None) -> None:
    data = body(service_tier=tier)
    request = parse_request(endpoint, data)
    assert request.service_tier == tier
    assert request.tier_echo is None
    assert request.body is data
    assert parse_request(endpoint, body()).service_tier is None


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [
        (b"", "missing_body", None),
        (b"[]", "invalid_type", None),
        (b"null", "invalid_type", None),
        (b'"model"', "invalid_type", None),
        (b"{}", "missing_model", "model"),
        (b'{"model":null}', "missing_model", "model"),
        (b'{"model":""}', "missing_model", "model"),
        (b'{"model":5}', "invalid_type", "model"),
        (b'{"model":"%b"}' % (b"m" * 513), "invalid_model", "model"),
        (b'{"model":"m","stream":"yes"}', "invalid_type", "stream"),
        (b'{"model":"m","stream":1}', "invalid_type", "stream"),
        (b'{"model":"m","stream_options":[]}', "invalid_type", "stream_options"),
        (
            b'{"model":"m","stream_options":{"include_usage":"x"}}',
            "invalid_type",
            "stream_options.include_usage",
        ),
        (b'{"model":"m","service_tier":1}', "invalid_type", "service_tier"),
        (b'{"model":"m","service_tier":["flex"]}', "invalid_type", "service_tier"),
        (b'{"model":"m","max_tokens":"7"}', "invalid_type", "max_tokens"),
        (b'{"model":"m","max_tokens":1.5}', "invalid_type", "max_tokens"),
        (b'{"model":"m","max_tokens":-1}', "invalid_max_tokens", "max_tokens"),
        (b'{"model":"m","max_tokens":2147483648}', "invalid_max_tokens", "max_tokens"),
        (
            b'{"model":"m","max_completion_tokens":' + b"9" * 400 + b"}",
            "invalid_max_tokens",
            "max_completion_tokens",
        ),
        (b'{"model":"m"', "invalid_json", None),
        (b'{"model":"m",}', "invalid_json", None),
        (b'{"model":"m","x":NaN}', "invalid_json", None),
        (b'{"model":"m"}x', "invalid_json", None),
        (b'\xef\xbb\xbf{"model":"m"}', "invalid_json", None),
        (b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json", None),
        (b'{"model":"m","x":"\xff"}', "invalid_encoding", None),
        (b'{"model":"m","x":["\xed\xa0\x80"]}', "invalid_encoding", None),
    ],
)
def test_what_is_refused(data: bytes, code: str, param: str | None) -> None:
    error = refusal(data)
    assert (error.status, error.code, error.param) == (400, code, param)
    assert len(error.message) < 400


def test_refusals_do_not_repeat_the_prompt() -> None:
    for data in (b'{"model":"m","x":"secret" secret}', b'{"model":["secret"]}', b'"secret"'):
        assert "secret" not in refusal(data).message


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=4), st.integers(0, 60))
def test_bytes_that_are_not_utf_8_are_refused_wherever_they_are(junk: bytes, at: int) -> None:
    data = body(messages=[{"role": "user", "content": "hello there"}])
    at %= len(data)
    data = data[:at] + junk + data[at:]
    try:
        data.decode()
    except UnicodeDecodeError:
        assert refusal(data).code == "invalid_encoding"


def test_the_tightest_limit_counts() -> None:
    limits = {"max_tokens": 9, "max_completion_tokens": 4, "max_output_tokens": 6}
    assert parse_request(CHAT, body(**limits)).max_tokens == 4
    assert parse_request(CHAT, body(max_tokens=None)).max_tokens is None
    assert parse_request(CHAT, body(max_tokens=0)).max_tokens == 0


# Keys may occur twice, and be spelt with escapes: the engine's parser takes the last.

_keys = st.sampled_from(
    ['"model"', r'"mod\u0065l"', r'"\u006dodel"', '"stream"', r'"str\u0065am"', '"x"', '"Model"']
)
_values = st.sampled_from(
    ['"a"', '"b"', "true", "false", "null", "1", r'"\u0061"', '{"model":"c"}']
)


@settings(deadline=None)
@given(st.lists(st.tuples(_keys, _values), max_size=6), st.sampled_from(["", " ", "\n\t"]))
@example([('"model"', '"a"'), (r'"mod\u0065l"', '"b"')], "")
def test_the_last_of_equal_keys_counts_as_in_the_engines_parser(
    fields: list[tuple[str, str]], space: str
) -> None:
    text = (
        f"{space}{{{space}" + ",".join(f"{k}{space}:{v}" for k, v in fields) + f"{space}}}{space}"
    )
    expected = json.loads(text)
    try:
        request = parse_request(CHAT, text.encode())
    except InvalidRequest:
        return
    assert request.model == expected["model"]
    assert request.stream == bool(expected.get("stream"))
    sent = json.loads(request.body)
    assert sent["model"] == expected["model"]
    changed = json.loads(with_model(request.body, "other"))
    assert changed == {**sent, "model": "other"}


# Streams: the gateway asks for usage, and changes nothing else.


@pytest.mark.parametrize("endpoint", [Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS])
@pytest.mark.parametrize(
    ("options", "sent", "injects"),
    [
        ("absent", {"include_usage": True}, True),
        (None, {"include_usage": True}, True),
        ({}, {"include_usage": True}, True),
        ({"include_usage": False}, {"include_usage": True}, True),
        ({"include_usage": None, "x": 1}, {"x": 1, "include_usage": True}, True),
        (
            {"include_usage": False, "continuous_usage_stats": True, "y": 1e300},
            {"include_usage": True, "y": 1e300},
            True,
        ),
        ({"include_usage": True}, {"include_usage": True}, False),
        (
            {"include_usage": True, "continuous_usage_stats": True},
            {"include_usage": True, "continuous_usage_stats": True},
            False,
        ),
    ],
)
def test_usage_is_asked_for(endpoint: Endpoint, options: Any, sent: Any, injects: bool) -> None:
    data = body(stream=True) if options == "absent" else body(stream=True, stream_options=options)
    request = parse_request(endpoint, data)
    assert request.injects_usage is injects
    assert json.loads(request.body) == {"model": "m", "stream": True, "stream_options": sent}
    if not injects:
        assert request.body is data


@pytest.mark.parametrize("endpoint", [Endpoint.MESSAGES, Endpoint.RESPONSES, Endpoint.EMBEDDINGS])
def test_other_endpoints_state_usage_anyway(endpoint: Endpoint) -> None:
    data = body(stream=True)
    request = parse_request(endpoint, data)
    assert request.body is data
    assert not request.injects_usage


def test_options_without_a_stream_are_the_engines_business() -> None:
    data = body(stream_options={"include_usage": False})
    assert parse_request(CHAT, data).body is data


_json = st.sampled_from(
    [None, True, 0, -1, 2**70, 1.5, 1e300, 1e-7, "", "é", "\\n\\u0000", "\U0001f600", [], {},
     [[1.0]],
     {"model": "x", "stream_options": None}, [{"role": "user", "content": "a\"b"}]]
)  # fmt: skip


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "messages", "é", "n"]), _json),
    st.booleans(),
    st.sampled_from(["absent", None, {}, {"z": [1.50, "ü"]}]),
)
def test_everything_else_stays(others: dict[str, Any], ascii_only: bool, options: Any) -> None:
    fields = {"model": "m", **others, "stream": True}
    if options != "absent":
        fields["stream_options"] = options
    data = json.dumps(fields, ensure_ascii=ascii_only, indent=1).encode()
    request = parse_request(CHAT, data)
    given_options = {} if options in ("absent", None) else options
    expected = {**fields, "stream_options": {**given_options, "include_usage": True}}
    if options == "absent":
        # Spliced in: every byte of the client's is there.
        cut = request.body.replace(b'"stream_options":{"include_usage":true},', b"", 1)
        assert cut == data
    assert json.loads(request.body) == expected
    renamed = with_model(request.body, "n")
    assert json.loads(renamed) == {**expected, "model": "n"}
    for value in others.values():
        # Values keep their bytes: numbers are not rounded, escapes not rewritten.
        raw = json.dumps(value, ensure_ascii=ascii_only)
        if "\n" not in json.dumps(value, indent=1):
            assert raw.encode() in renamed
