"""Which time counts as somebody's silence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.loop_time import LoopTime
from fakes.clock import FakeClock

PERIOD = 0.25


def loop_time() -> tuple[FakeClock, LoopTime]:
    clock = FakeClock()
    made = LoopTime(clock, clock, PERIOD)
    assert not made.tick()
    return clock, made


def test_a_stall_is_nobodys_silence() -> None:
    clock, time = loop_time()
    before = time.now()
    clock.advance(PERIOD + 3)
    assert time.tick() == pytest.approx(3)
    assert time.now() - before == pytest.approx(PERIOD)


def test_a_slow_loop_has_not_stalled_but_gets_its_turns() -> None:
    clock, time = loop_time()
    before = time.now()
    for _ in range(5):
        clock.advance(PERIOD * 1.9)
        assert not time.tick()
    assert time.now() - before == pytest.approx(PERIOD * 5)


def test_a_timer_that_is_early_takes_nothing_away() -> None:
    clock, time = loop_time()
    before = time.now()
    clock.advance(PERIOD / 2)
    assert not time.tick()
    assert time.now() - before == pytest.approx(PERIOD / 2)


def test_what_was_before_the_first_tick_is_no_stall() -> None:
    clock = FakeClock()
    time = LoopTime(clock, clock, PERIOD)
    before = time.now()
    clock.advance(30)
    assert not time.tick()
    assert time.now() - before == pytest.approx(30)


@given(st.lists(st.floats(0, 100), max_size=50))
def test_it_never_runs_backwards_nor_more_than_a_period_a_tick(steps: list[float]) -> None:
    clock, time = loop_time()
    for step in steps:
        before = time.now()
        clock.advance(step)
        time.tick()
        assert -1e-9 <= time.now() - before <= PERIOD + 1e-9


def test_the_wall_goes_on() -> None:
    clock, time = loop_time()
    clock.advance(10)
    time.tick()
    assert time.unix() == clock.unix()
