"""Predicted KV tokens of everybody, kept as sums."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import LengthDistribution
from alise_gateway.queueing.demand import MOST_LOOKED_AT, Demand
from fakes.queue_bench import backend
from fakes.tickets import ticket


def test_prompt_and_output_of_every_request_count_once() -> None:
    demand = Demand()
    first, second = ticket(1, 100, prompt_tokens=10), ticket(2, 300, prompt_tokens=20)
    demand.hold(first)
    demand.hold(second)
    demand.hold(first)
    known = demand.of_models()[first.model]
    assert known.requests == 2
    assert known.median == pytest.approx(30 + first.work.median_tokens + second.work.median_tokens)
    assert known.high == pytest.approx(30 + first.work.high_tokens + second.work.high_tokens)


def test_what_is_over_counts_no_more_and_unknown_ones_never_did() -> None:
    demand = Demand()
    one = ticket(1, 100)
    demand.hold(one)
    demand.release(ticket(2, 100))
    demand.release(one)
    demand.release(one)
    known = demand.of_models()[one.model]
    assert (known.requests, known.median, known.high) == (0, 0.0, 0.0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=60))
def test_sums_are_those_of_the_held(steps: list[tuple[bool, int]]) -> None:
    demand = Demand()
    held: set[int] = set()
    tickets = [ticket(number, 10 * (number + 1)) for number in range(6)]
    for holds, number in steps:
        (demand.hold if holds else demand.release)(tickets[number])
        (held.add if holds else held.discard)(number)
    known = demand.of_models().get("m") or demand.of_models().get(tickets[0].model)
    total = sum(tickets[n].prompt_tokens + tickets[n].work.median_tokens for n in held)
    assert (0.0 if known is None else known.median) == pytest.approx(total, abs=1e-6)


def test_the_peak_is_below_the_sum_of_the_ends_where_the_short_end_first() -> None:
    demand = Demand()
    short, long = ticket(1, 10, prompt_tokens=1_000), ticket(2, 500, prompt_tokens=100)
    demand.hold(short)
    demand.hold(long)

    middle, high = demand.peaks(0.0)[short.model]

    assert middle == pytest.approx(1_000 + 100 + 2 * 10)
    assert middle <= high
    demand.release(short)
    assert demand.peaks(0.0)[short.model][0] == pytest.approx(600)
    demand.release(long)
    assert demand.peaks(0.0)[short.model] == (0.0, 0.0)


def test_what_runs_counts_with_what_it_has_generated_and_what_is_left() -> None:
    demand, one = Demand(), ticket(1, 100, prompt_tokens=50)
    length = LengthDistribution.of([3.0, 3.5, 4.0, 4.61, 5.0, 5.5, 6.0], 1, 10_000, None)
    one.prediction = length
    one.backend = backend()
    one.backend.admission.ledger.add(1, 50, length, 0.0)
    one.backend.admission.ledger.set_pace(0.1, 0.0)
    demand.hold(one)

    assert demand.peaks(0.0)["m"][0] == pytest.approx(150)
    assert demand.peaks(4.0)["m"][0] == pytest.approx(150)
    # It has outlasted its median: some more is to come, the more the longer it goes on.
    late, later = demand.peaks(20.0)["m"][0], demand.peaks(40.0)["m"][0]
    assert 50 + 200 < late < 50 + 400 < later


def test_of_very_many_requests_some_stand_for_all() -> None:
    demand, count = Demand(), 10 * MOST_LOOKED_AT + 7
    for number in range(count):
        demand.hold(ticket(number, 100, prompt_tokens=50))

    middle, high = demand.peaks(0.0)["m"]

    assert middle == pytest.approx(150 * count)
    assert high == pytest.approx(middle)
