from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.ordering.pace import Pace
from alise_vllm.ordering.policies import Guard, Mlfq, Policy, PolicyName, Srpt, ToolAware, policy_of
from alise_vllm.ordering.work import PRIOR_TOKENS
from fakes.works import PACE, make

GUARD = Guard(30.0, 10.0)
SRPT = Srpt(GUARD, 200.0)
TOOLS = ToolAware(GUARD, 200.0)
MLFQ = Mlfq()


def value(policy: Policy, work: object) -> float:
    return policy.value(policy.cost(work, PACE, resident=False), work)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PolicyName)
def test_every_name_has_its_policy(name: PolicyName) -> None:
    policy = policy_of(name, GUARD, 200.0)

    assert policy.cost(make(100, 400), PACE, resident=False) > 0
    assert policy.preempts is (name is not PolicyName.FCFS)


def test_srpt_costs_the_prompt_and_what_is_left_of_the_answer() -> None:
    work = make(100, 130, prompt_tokens=1_000, generated=20)
    left = work.remaining_tokens() * PACE.step_seconds

    assert SRPT.cost(work, PACE, resident=True) == pytest.approx(left)
    assert SRPT.cost(work, PACE, resident=False) == pytest.approx(left + 1_020 * 0.0001)
    assert left < SRPT.cost(make(100, 130), PACE, resident=True)


def test_age_halves_a_cost_and_the_order_does_not_change_while_it_does() -> None:
    old, young = make(400, 400, arrived=0.0), make(180, 180, arrived=300.0)

    # 1.5 halvings, so that 400 tokens count as 141 of those that just came.
    assert value(SRPT, old) < value(SRPT, young)
    assert value(Srpt(GUARD, 0.0), young) < value(Srpt(GUARD, 0.0), old)
    assert value(SRPT, young) - value(SRPT, make(180, 180)) == pytest.approx(300 / 200)


def test_memory_held_over_time_is_what_tool_aware_orders_by() -> None:
    # As long, but ten times as much in memory all the while.
    small, large = make(100, 100, prompt_tokens=100), make(100, 100, prompt_tokens=1_000)
    assert TOOLS.cost(large, PACE, resident=True) > 5 * TOOLS.cost(small, PACE, resident=True)

    left = small.remaining_tokens()
    held = PACE.step_seconds * (left * 100 + left**2 / 2)
    assert TOOLS.cost(small, PACE, resident=True) == pytest.approx(held)


def test_a_call_costs_keeping_or_computing_again_whichever_wastes_less() -> None:
    none = make(100, 100, prompt_tokens=10_000)
    short = make(100, 100, prompt_tokens=10_000, call_seconds=0.2)
    long = make(100, 100, prompt_tokens=10_000, call_seconds=60.0)
    longer = make(100, 100, prompt_tokens=10_000, call_seconds=600.0)
    costs = [TOOLS.cost(work, PACE, resident=True) for work in (none, short, long, longer)]
    whole = 10_000 + none.remaining_tokens()

    assert costs[1] - costs[0] == pytest.approx(whole * 0.2)
    assert costs[2] - costs[0] == pytest.approx(whole * whole * PACE.prompt_seconds)
    assert costs[2] == costs[3]


@pytest.mark.parametrize(
    ("prompt_tokens", "level"), [(1, 0), (100, 0), (101, 1), (200, 1), (201, 2), (1_600, 4)]
)
def test_mlfq_joins_where_the_prompt_fits_a_quantum(prompt_tokens: int, level: int) -> None:
    # 100 tokens of a prompt take the first quantum of 10 ms.
    assert MLFQ.level(make(prompt_tokens=prompt_tokens), PACE) == level


def test_mlfq_goes_down_a_level_with_every_quantum_that_is_used_up() -> None:
    pace = Pace(step_seconds=0.01, prompt_seconds=0.0)
    levels = [MLFQ.level(make(generated=tokens), pace) for tokens in range(16)]

    assert levels == [0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4]
    assert MLFQ.cost(make(generated=15), pace, resident=True) == pytest.approx(0.16)


def test_mlfq_starts_again_at_the_top_after_starving() -> None:
    work = make(prompt_tokens=1_600, generated=40)
    assert MLFQ.level(work, PACE) > 4

    MLFQ.promote(work, PACE)
    assert MLFQ.level(work, PACE) == 0
    assert not work.promoted

    work.generated += 1
    assert MLFQ.level(work, PACE) == 1


def test_patience_is_measured_by_what_a_request_needs() -> None:
    assert SRPT.patience_seconds(make(10, 10), PACE) == 30.0
    assert SRPT.patience_seconds(make(1_000, 1_000), PACE) > 100.0
    assert SRPT.patience_seconds(make(), PACE) == 30.0
    assert MLFQ.patience_seconds(make(), PACE) == 3.0


@given(st.integers(0, 100_000), st.integers(1, 100_000), st.integers(0, 100_000))
def test_without_a_forecast_the_client_s_limit_bounds_the_guess(
    prompt: int, most: int, generated: int
) -> None:
    left = make(prompt_tokens=prompt, max_tokens=most, generated=generated).remaining_tokens()

    assert 8 <= left <= max(8, most / 2)
    if not generated:
        assert left <= PRIOR_TOKENS / 2


@given(st.sampled_from(list(PolicyName)), st.integers(0, 10**6), st.integers(0, 10**6))
def test_every_cost_has_a_logarithm(name: PolicyName, prompt: int, generated: int) -> None:
    policy = policy_of(name, GUARD, 200.0)
    work = make(1, 1, prompt_tokens=prompt, generated=generated, max_tokens=10**6)

    for resident in (True, False):
        assert log2(policy.cost(work, Pace(10.0, 10.0), resident=resident)) < 200
        assert policy.cost(work, Pace(1e-5, 0.0), resident=resident) > 0
