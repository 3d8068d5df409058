"""Token counts, wherever an API keeps them."""

import pytest

from alise_gateway.proxy.usage import (
    NO_USAGE,
    Usage,
    body_usage,
    decode_event,
    event_usage,
    tail_usage,
)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}', Usage(1, 2, None)),
        (b'{"usage":{"prompt_tokens":1,"total_tokens":1}}', Usage(1, None, None)),
        (
            b'{"usage":{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":3}}}',
            Usage(1, None, 3),
        ),
        (
            b'{"usage":{"input_tokens":1,"output_tokens":2,"input_tokens_details":{"cached_tokens":0}}}',
            Usage(1, 2, 0),
        ),
        (b'{"usage":{"input_tokens":1,"cache_read_input_tokens":4}}', Usage(1, None, 4)),
        (b'{"usage":{"prompt_tokens":-1,"completion_tokens":1180591620717411303424}}', NO_USAGE),
        (b'{"usage":null}', NO_USAGE),
        (b'{"usage":{"prompt_tokens":"1"}}', NO_USAGE),
        (b"[]", NO_USAGE),
        (b"", NO_USAGE),
        (b"[" * 100_000, NO_USAGE),
        (b'{"usage":' + b"[" * 100_000, NO_USAGE),
    ],
)
def test_a_body(body: bytes, usage: Usage) -> None:
    assert body_usage(body) == usage
    assert tail_usage(body[-8_192:]) in (usage, NO_USAGE)
    if usage is not NO_USAGE:
        assert tail_usage(b'x":"\xc3' + body) == usage


@pytest.mark.parametrize("tail", [b"", b'"usage":', b'"usage":{', b'"usage":"x"', b'"usage":[1]'])
def test_a_tail_without_usage(tail: bytes) -> None:
    assert tail_usage(tail) == NO_USAGE


def test_events() -> None:
    def of(data: bytes) -> Usage | None:
        event = decode_event(data)
        return None if event is None else event_usage(event)

    assert of(b'{"type":"message_start","message":{"usage":{"input_tokens":1}}}') == Usage(1)
    assert of(b'{"response":{"usage":{"output_tokens":2}}}') == Usage(None, 2)
    assert of(b'{"message":"text"}') is None
    assert of(b'{"message":{"usage":{"input_tokens":"x"}}}') is None
    assert of(b"[DONE]") is None


def test_later_figures_win_where_they_are() -> None:
    assert Usage(1, 2, 3).merged(Usage(None, 5, None)) == Usage(1, 5, 3)
    assert Usage(1, 2, 3).merged(None) == Usage(1, 2, 3)
    assert Usage().merged(Usage(0, 0, 0)) == Usage(0, 0, 0)
