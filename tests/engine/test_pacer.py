"""Steps that are kept apart, on a clock that sleeping moves."""

from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.pacer import Pacer


class World:
    """A clock, and how long was slept."""

    def __init__(self) -> None:
        self.time = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@given(st.floats(0.001, 1.0), st.lists(st.floats(0.0, 3.0), min_size=1, max_size=20))
def test_steps_are_no_nearer_than_they_may_be_and_no_further_than_they_need_be(
    step_seconds: float, computing: list[float]
) -> None:
    world = World()
    pacer = Pacer(step_seconds, world.now, world.sleep)
    before = None
    for seconds in computing:
        world.time += seconds
        came = world.time
        pacer.step()
        if before is None:
            assert world.time == came, "the first one waits for nothing"
        else:
            assert world.time >= before + step_seconds - 1e-9
            assert world.time <= max(came, before + step_seconds) + 1e-9
        before = world.time


def test_a_clock_that_goes_back_delays_by_one_step_at_most() -> None:
    world = World()
    pacer = Pacer(0.5, world.now, world.sleep)
    pacer.step()
    world.time -= 60.0
    pacer.step()
    assert world.slept == [0.5]
