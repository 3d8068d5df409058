from hypothesis import given
from hypothesis import strategies as st

from alise_core.record import RequestRecord
from alise_gateway.measure.timing import Intervals, intervals_of
from fakes.record import a_record, a_refusal

gaps = st.one_of(st.none(), st.integers(0, 10_000_000).map(lambda us: us / 1_000_000))
"""Time to the next mark, or no such mark."""


@st.composite
def records(draw: st.DrawFn) -> RequestRecord:
    """Any request whose marks are in order."""
    now = draw(st.floats(0, 1e6))
    fields: dict[str, float | None] = {"arrival": now}
    for mark in ("enqueued", "dispatched", "first_token", "last_token"):
        gap = draw(gaps)
        now += gap or 0.0
        fields[mark] = None if gap is None else now
    fields["finished"] = now + draw(st.floats(0, 100))
    tokens = draw(st.one_of(st.none(), st.integers(0, 100_000)))
    return a_record(**fields, output_tokens=tokens, stream=draw(st.booleans()))


def test_each_interval_lies_between_its_two_marks() -> None:
    assert intervals_of(a_record()) == Intervals(
        e2e_s=3.5,
        intake_s=0.25,
        queue_s=0.25,
        ttft_s=1.0,
        backend_ttft_s=0.5,
        ttlt_s=3.0,
        tpot_s=0.5,
        tail_s=0.5,
    )


def test_a_refused_request_has_only_its_duration() -> None:
    intervals = intervals_of(a_refusal())
    assert intervals.e2e_s == 0.125
    assert {getattr(intervals, name) for name in Intervals.__slots__ if name != "e2e_s"} == {None}


def test_an_answer_in_one_piece_has_no_first_token() -> None:
    intervals = intervals_of(a_record(stream=False))
    assert intervals.ttft_s is None
    assert intervals.backend_ttft_s is None
    assert intervals.tpot_s is None
    assert intervals.ttlt_s == 3.0


def test_one_token_has_no_gap() -> None:
    assert intervals_of(a_record(output_tokens=1)).tpot_s is None
    assert intervals_of(a_record(output_tokens=2)).tpot_s == 2.0


@given(records())
def test_marks_in_order_never_give_negative_time(record: RequestRecord) -> None:
    intervals = intervals_of(record)
    values = [getattr(intervals, name) for name in Intervals.__slots__]
    assert all(value >= 0 for value in values if value is not None)


@given(records())
def test_no_part_is_longer_than_the_whole(record: RequestRecord) -> None:
    intervals = intervals_of(record)
    for name in Intervals.__slots__:
        value = getattr(intervals, name)
        assert value is None or value <= intervals.e2e_s + 1e-9


@given(records())
def test_an_interval_exists_exactly_when_its_marks_do(record: RequestRecord) -> None:
    intervals = intervals_of(record)
    marks = (record.first_token, record.last_token)
    assert (intervals.ttft_s is not None) == (record.stream and marks[0] is not None)
    assert (intervals.queue_s is not None) == (None not in (record.enqueued, record.dispatched))
    has_gap = (record.output_tokens or 0) >= 2
    assert (intervals.tpot_s is not None) == (record.stream and None not in marks and has_gap)
