"""How many answers are learned from."""

import pytest

from alise_gateway.learn.pace import LearningPace
from fakes.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def learn(pace: LearningPace, answers: int, tenant: str = "team") -> int:
    return sum(pace.take(tenant, "m") for _ in range(answers))


def test_a_slow_stream_is_learned_from_entirely(clock: FakeClock) -> None:
    pace = LearningPace(clock, 10)
    taken = 0
    for _ in range(2_000):
        taken += learn(pace, 1)
        clock.advance(0.1)

    assert taken == 2_000


def test_a_known_pair_is_learned_from_at_the_rate(clock: FakeClock) -> None:
    pace = LearningPace(clock, 100)
    for _ in range(50):
        learn(pace, 200)
        clock.advance(1)
    taken = 0
    for _ in range(100):
        taken += learn(pace, 50)
        clock.advance(0.1)

    # What the bucket held at the beginning comes on top.
    assert 1_000 <= taken <= 1_200


def test_a_burst_has_a_bound_even_for_young_pairs(clock: FakeClock) -> None:
    pace = LearningPace(clock, 100)

    assert learn(pace, 10_000) <= 400


def test_a_busy_pair_does_not_keep_a_new_one_from_being_learned_about(clock: FakeClock) -> None:
    pace = LearningPace(clock, 100)
    for _ in range(50):
        learn(pace, 200, "busy")
        clock.advance(1)
    learn(pace, 10_000, "busy")

    assert learn(pace, 100, "new") == 100


def test_a_rate_below_one_still_learns(clock: FakeClock) -> None:
    pace = LearningPace(clock, 0.1)

    assert learn(pace, 1) == 1
    clock.advance(100)
    assert learn(pace, 1) == 1


def test_many_pairs_take_bounded_memory(clock: FakeClock) -> None:
    pace = LearningPace(clock, 1e5)
    for tenant in range(25_000):
        pace.take(str(tenant), "m")

    assert len(pace._known) <= 10_000
