"""Expected waits: none before what it stands behind, and more slots never mean a longer one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.ordering.waits import expected_waits
from fakes.works import PACE, make

TOKENS = st.lists(st.one_of(st.none(), st.floats(1.0, 5_000.0)), max_size=12)


@given(TOKENS, st.integers(1, 9))
def test_waits_rise_along_the_line(tokens: list[float | None], slots: int) -> None:
    line = [make(each) for each in tokens]
    waits = expected_waits(line, PACE, slots)
    in_order = [waits[work.number] for work in line]
    assert in_order == sorted(in_order)
    assert in_order[:1] in ([], [0.0])
    more = expected_waits(line, PACE, slots + 1)
    assert all(more[number] <= wait for number, wait in waits.items())


def test_the_work_that_stands_before_is_waited_for() -> None:
    first, second = make(100.0, prompt_tokens=50), make(1.0)
    waits = expected_waits([first, second], PACE, 2)
    service = first.remaining_tokens() * PACE.step_seconds + 50 * PACE.prompt_seconds
    assert waits[second.number] == pytest.approx(service / 2)


def test_an_engine_without_slots_is_taken_for_one_with_a_slot() -> None:
    line = [make(10.0), make(10.0)]
    assert expected_waits(line, PACE, 0) == expected_waits(line, PACE, 1)
