from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.tier.swaps import Swaps


def test_a_load_waits_for_the_next_step_where_somebody_gave_way() -> None:
    swaps = Swaps()
    held: list[int] = []
    swaps.on_hold = lambda: held.append(swaps.held)
    assert not swaps.hold()

    swaps.out()
    assert swaps.hold()
    assert swaps.hold(), "each of that step"
    swaps.step_ends()

    assert not swaps.hold()
    assert held == [1, 2]


def test_nothing_is_held_where_somebody_gave_way_in_an_earlier_step() -> None:
    swaps = Swaps()
    swaps.out()
    swaps.step_ends()

    assert not swaps.hold()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=50))
def test_nothing_is_held_in_two_steps_in_a_row(steps: list[tuple[bool, int]]) -> None:
    swaps = Swaps()
    held_before = False
    for gives_way, loads in steps:
        if gives_way:
            swaps.out()
        answers = {swaps.hold() for _ in range(loads)}
        assert len(answers) <= 1
        assert answers <= {gives_way and not held_before}
        held_before = True in answers
        swaps.step_ends()
