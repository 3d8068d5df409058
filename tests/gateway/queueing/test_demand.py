"""Predicted KV tokens of everybody, kept as sums."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.queueing.demand import Demand
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
