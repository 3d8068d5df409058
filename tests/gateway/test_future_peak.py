"""The most memory at one time, against a count token by token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.domain.future_peak import future_peak, high_peak


def counted(requests: list[tuple[int, int]]) -> int:
    """Memory at every step until all are over; a request holds what it has until its last token."""
    last = max((rest for _, rest in requests), default=0)
    return max(
        (sum(held + step for held, rest in requests if rest >= step) for step in range(last + 1)),
        default=0,
    )


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), max_size=12))
def test_it_is_what_counting_every_step_gives(requests: list[tuple[int, int]]) -> None:
    assert future_peak(requests) == counted(requests)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), min_size=1, max_size=12))
def test_it_lies_between_what_is_held_and_the_sum_of_the_ends(
    requests: list[tuple[int, int]],
) -> None:
    now, ends = sum(held for held, _ in requests), sum(map(sum, requests))
    assert now <= future_peak(requests) <= ends


def test_who_ends_soon_makes_room_for_who_goes_on() -> None:
    # The short one is over after 10 steps, when both hold 210; the long one ends with 150.
    assert future_peak([(100, 10), (90, 60)]) == 210
    assert future_peak([]) == 0


def test_of_many_requests_the_spread_is_less_than_of_one() -> None:
    assert high_peak(100.0, 140.0, 1) == pytest.approx(140.0)
    assert high_peak(100.0, 140.0, 16) == pytest.approx(110.0)
    assert high_peak(100.0, 90.0, 4) == 100.0
