from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from alise_bench.load.stream import EventCounter, read_json_end, read_stream_end, stream_is_done

EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":7}}\n\n'
DONE = b"data: [DONE]\n\n"


@given(st.integers(0, 6), st.lists(st.integers(0, 400), max_size=12))
def test_counts_do_not_depend_on_how_the_body_is_cut(events: int, cuts: list[int]) -> None:
    body = EVENT * events + DONE
    marks = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    counter = EventCounter()
    for start, end in pairwise(marks):
        counter.feed(body[start:end])
    assert counter.events == events + 1


def test_every_single_byte_may_come_alone() -> None:
    counter = EventCounter()
    for byte in EVENT * 3 + DONE:
        counter.feed(bytes([byte]))
    assert counter.events == 4


def test_usage_is_found_before_done() -> None:
    end = read_stream_end(EVENT + USAGE + DONE)
    assert (end.done, end.tokens, end.failed) == (True, 7, False)


def test_a_first_event_that_was_cut_is_skipped() -> None:
    assert read_stream_end(EVENT[9:] + USAGE + DONE).tokens == 7


def test_an_error_event_is_a_failure_even_when_the_stream_ends_well() -> None:
    end = read_stream_end(b'data: {"error":{"message":"no"}}\n\n' + DONE)
    assert end.failed
    assert end.done


def test_a_stream_without_done_is_not_done() -> None:
    assert not read_stream_end(EVENT + USAGE).done
    assert not stream_is_done(EVENT)
    assert stream_is_done(EVENT + DONE)


def test_a_json_reply_gives_its_usage() -> None:
    assert read_json_end(b'{"choices":[],"usage":{"completion_tokens":5}}').tokens == 5
    assert read_json_end(b'{"choices":[]}').tokens is None
    assert read_json_end(b'{"error":{"message":"x"}}').failed


def test_a_json_reply_that_does_not_parse_is_not_whole() -> None:
    assert not read_json_end(b'{"choices":[').done
