import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.ordering.pace import Pace, PaceMeter


def run(meter: PaceMeter, steps: int, seconds: float, tokens: int, start: float = 0.0) -> float:
    """Steps of four requests; returns when the last of them ends, and the next may begin."""
    now = start
    for _ in range(steps):
        meter.begin(now)
        meter.scheduled(now, 4, tokens)
        now += seconds
    return now


def test_steps_say_how_long_a_token_takes() -> None:
    meter = PaceMeter()

    run(meter, 300, 0.004, 4)

    assert meter.pace.step_seconds == pytest.approx(0.004, rel=0.01)
    assert meter.pace.prompt_seconds == Pace().prompt_seconds


def test_what_a_step_with_prompts_takes_longer_is_theirs() -> None:
    meter = PaceMeter()
    now = run(meter, 300, 0.004, 4)

    run(meter, 300, 0.054, 504, now)

    assert meter.pace.step_seconds == pytest.approx(0.004, rel=0.01)
    assert meter.pace.prompt_seconds == pytest.approx(0.0001, rel=0.01)


def test_a_rest_is_no_step() -> None:
    meter = PaceMeter()
    now = run(meter, 300, 0.004, 4)
    before = meter.pace

    meter.begin(now)
    before = meter.pace
    meter.scheduled(now, 0, 0)
    meter.begin(now + 3.0)
    meter.scheduled(now + 3.0, 4, 4)
    meter.begin(now + 1_000.0)

    assert meter.pace == before


@given(st.lists(st.tuples(st.floats(-10, 100), st.integers(0, 9), st.integers(0, 9_000))))
def test_a_pace_is_always_above_zero(steps: list[tuple[float, int, int]]) -> None:
    meter, now = PaceMeter(), 0.0
    for seconds, requests, tokens in steps:
        now += seconds
        meter.begin(now)
        meter.scheduled(now, requests, tokens)

    assert meter.pace.step_seconds > 0
    assert meter.pace.prompt_seconds >= 0
