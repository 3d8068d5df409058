from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.ordering.pace import Pace
from alise_vllm.ordering.policies import Guard, Mlfq, Policy, Srpt
from alise_vllm.ordering.preemption import Limits, gives_way, may_give_way, stand
from alise_vllm.ordering.work import Work
from fakes.works import PACE, make

SRPT = Srpt(Guard(30.0, 10.0), 200.0)
LIMITS = Limits(c=0.8, margin=0.25, most=2)


def running(p50: float | None = 1_000, **fields: Any) -> Work:
    return make(p50, **{"generated": 100, **fields})


def choose_victim(
    waiting: Work, running: list[Work], policy: Policy, limits: Limits, pace: Pace
) -> Work | None:
    """The worst of those that run, if it gives way."""
    found = [work for work in running if may_give_way(work, policy, limits)]
    for work in found:
        stand(work, policy, pace)
    worst = max(found, key=lambda work: work.standing, default=None)
    return worst if worst and gives_way(waiting, worst, policy, limits, pace) else None


def test_a_long_request_gives_way_to_a_short_one() -> None:
    long, longer = running(1_000), running(2_000)

    assert choose_victim(make(20), [long, longer], SRPT, LIMITS, PACE) is longer


@pytest.mark.parametrize(
    "fields",
    [
        {"generated": 0},
        {"generated": 1_001, "max_tokens": 1_200},
        {"preemptions": 2},
        {"generated": 127, "gave_way_at": 64},
        {"promoted": True},
        {"p50": None},
    ],
)
def test_who_does_not_give_way(fields: dict[str, Any]) -> None:
    work = running(**fields)

    assert not may_give_way(work, SRPT, LIMITS)
    assert choose_victim(make(20, rank=-1), [work], SRPT, LIMITS, PACE) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"generated": 799},
        {"generated": 3_000},
        {"preemptions": 1},
        {"generated": 128, "gave_way_at": 127},
    ],
)
def test_who_just_still_does(fields: dict[str, Any]) -> None:
    assert may_give_way(running(**fields), SRPT, LIMITS)


def test_an_answer_that_outran_its_prediction_gives_way_like_the_long_one_that_it_is() -> None:
    taken_for_short, long = running(60, generated=200), running(2_000, generated=200)

    assert may_give_way(taken_for_short, SRPT, LIMITS)
    assert choose_victim(make(20), [taken_for_short, long], SRPT, LIMITS, PACE) is long
    assert choose_victim(make(5), [taken_for_short], SRPT, LIMITS, PACE) is taken_for_short


@given(st.integers(1, 4_000), st.integers(1, 4_000), st.integers(1, 4_000), st.floats(0.05, 1.0))
def test_the_short_way_to_the_answer_is_only_that(
    p50: int, generated: int, most: int, c: float
) -> None:
    work = running(p50, generated=min(generated, most), max_tokens=most)
    expected = work.generated + work.remaining_tokens()

    assert may_give_way(work, SRPT, Limits(c, 0.25, 2)) == (work.generated < c * expected)


def test_the_gain_has_to_exceed_the_margin_and_what_is_done_again() -> None:
    # 1,000 of 1,900 tokens are left, near enough, and nothing has to be computed again.
    victim = make(1_900, generated=900, prompt_tokens=0)
    left = SRPT.cost(victim, PACE, resident=True)
    again = SRPT.cost(victim, PACE, resident=False) - left
    assert again == pytest.approx(900 * PACE.prompt_seconds)

    def chosen(share: float) -> bool:
        # A mean is that much above its median.
        mean = make(1_000).remaining_tokens() / 1_000
        asking = make(share * left / PACE.step_seconds / mean, prompt_tokens=0)
        return choose_victim(asking, [victim], SRPT, LIMITS, PACE) is victim

    enough = (1 - again / left) / 1.25
    assert chosen(enough * 0.99)
    assert not chosen(enough * 1.01)


def test_a_better_class_is_reason_enough_and_a_worse_one_never() -> None:
    victim = running(200, rank=1)

    assert choose_victim(make(5_000, rank=0), [victim], SRPT, LIMITS, PACE) is victim
    assert choose_victim(make(None, rank=0), [victim], SRPT, LIMITS, PACE) is victim
    assert choose_victim(make(1, rank=2), [victim], SRPT, LIMITS, PACE) is None


def test_nobody_gives_way_to_a_guess_or_to_age() -> None:
    assert choose_victim(make(None, max_tokens=1), [running()], SRPT, LIMITS, PACE) is None
    assert choose_victim(make(20, promoted=True), [running()], SRPT, LIMITS, PACE) is None


def test_whoever_would_come_right_back_stays() -> None:
    # Cheaper at a glance, but the one that runs is so old that it would be first in the line.
    victim, asking = running(1_000, arrived=0.0), make(400, arrived=2_000.0)

    assert choose_victim(make(400), [victim], SRPT, LIMITS, PACE) is victim
    assert choose_victim(asking, [victim], SRPT, LIMITS, PACE) is None


def test_mlfq_compares_levels_and_needs_no_forecast() -> None:
    served, fresh = running(None, generated=500), running(None, generated=1)
    mlfq = Mlfq()

    assert choose_victim(make(), [served, fresh], mlfq, LIMITS, PACE) is served
    assert choose_victim(make(), [running(None, preemptions=2)], mlfq, LIMITS, PACE) is None


def test_nobody_gives_way_where_it_is_switched_off() -> None:
    assert not may_give_way(running(), SRPT, Limits(0.0, 0.25, 2))
    assert not may_give_way(running(), SRPT, Limits(0.8, 0.25, 0))


def test_where_a_request_stands_goes_by_class_and_then_by_cost() -> None:
    works = [
        running(50, rank=-1),
        running(2_000, rank=-1),
        running(120, rank=0, arrived=1e6),
        running(2_000, rank=0, arrived=1e6),
        running(50, rank=3),
    ]

    for work in works:
        stand(work, SRPT, PACE)
    standings = [work.standing for work in works]

    assert standings == sorted(standings)
    assert len(set(standings)) == len(works)


@given(st.lists(st.integers(1, 3_000), max_size=200))
def test_a_request_gives_way_a_bounded_number_of_times(growth: list[int]) -> None:
    # However often it is asked, once at most between two powers of two.
    work, limits = make(10**7, generated=1), Limits(1.0, 0.0, 1_000)
    for tokens in growth:
        if may_give_way(work, SRPT, limits):
            work.preemptions, work.gave_way_at = work.preemptions + 1, work.generated
        work.generated += tokens

    assert work.preemptions <= work.generated.bit_length()
