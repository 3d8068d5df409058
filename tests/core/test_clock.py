"""The process's clock and its fake tell time in the same way."""

import time

import pytest

from alise_core.clock import Clock, MonotonicClock
from fakes.clock import FakeClock

EARLY_2024 = 1_704_067_200


@pytest.mark.parametrize("clock", [MonotonicClock(), FakeClock()], ids=["real", "fake"])
def test_time_does_not_run_backwards(clock: Clock) -> None:
    marks = [clock.now() for _ in range(100)]

    assert marks == sorted(marks)


def test_now_is_the_monotonic_clock() -> None:
    before, now, after = time.monotonic(), MonotonicClock().now(), time.monotonic()

    assert before <= now <= after


def test_unix_counts_from_the_epoch() -> None:
    assert MonotonicClock().unix() > EARLY_2024


def test_the_clock_keeps_no_state() -> None:
    with pytest.raises(AttributeError):
        MonotonicClock().offset = 1  # type: ignore[attr-defined]
