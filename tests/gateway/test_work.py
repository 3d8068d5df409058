"""What a request is expected to cost: sums over a few lengths, and their worst tenth."""

from math import log1p

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import LEVELS, LengthDistribution
from alise_gateway.domain.cost_model import CostModel, Served
from alise_gateway.domain.work import NO_WORK, expected_work

COST = CostModel()
TOKENS = st.lists(st.floats(0, 50_000), min_size=len(LEVELS), max_size=len(LEVELS))
PROMPTS = st.floats(0, 100_000)


def length(*tokens: float, cap: float | None = None) -> LengthDistribution:
    return LengthDistribution.of([log1p(n) for n in tokens], 1, 100_000, cap)


def certain(tokens: float) -> LengthDistribution:
    return length(*[tokens] * len(LEVELS), cap=tokens)


def test_no_work_is_no_work() -> None:
    assert (NO_WORK.service_seconds, NO_WORK.kv_token_seconds, NO_WORK.atoms) == (0, 0, ((1, 0),))


def test_a_request_without_output_costs_its_prefill() -> None:
    work = expected_work(1_000, None, COST, batch=4)
    prefill = COST.prefill_seconds(1_000)
    assert (work.output_tokens, work.median_tokens) == (0, 0)
    assert work.service_seconds == work.prefill_seconds == prefill
    assert work.kv_token_seconds == pytest.approx(prefill * 1_000)
    assert work.tail_kv_token_seconds == pytest.approx(work.kv_token_seconds)


@pytest.mark.parametrize("tokens", [1, 10, 1_000])
@pytest.mark.parametrize("prompt", [0, 50, 8_000])
def test_a_certain_length_costs_what_the_cost_model_says(tokens: float, prompt: float) -> None:
    work = expected_work(prompt, certain(tokens), COST, batch=4)
    assert work.output_tokens == pytest.approx(tokens)
    assert work.median_tokens == pytest.approx(tokens)
    expected = COST.kv_token_seconds(prompt, tokens, 4)
    assert work.kv_token_seconds == pytest.approx(expected)
    assert work.tail_kv_token_seconds == pytest.approx(expected)
    # The first token comes with the prefill; a step more or less decides no order.
    service = COST.service_seconds(prompt, tokens, 4)
    assert work.service_seconds == pytest.approx(service, abs=1.01 * COST.step_seconds(4))


@given(TOKENS, PROMPTS)
def test_work_is_the_sum_over_the_lengths(tokens: list[float], prompt: float) -> None:
    predicted = length(*tokens)
    work = expected_work(prompt, predicted, COST, batch=2)
    assert work.atoms == predicted.atoms()
    assert work.output_tokens == pytest.approx(predicted.mean())
    assert work.median_tokens == predicted.quantile(0.5)
    assert work.step_seconds == COST.step_seconds(2)
    held = [COST.kv_token_seconds(prompt, n, 2) for _, n in work.atoms]
    mean = sum(weight * cost for (weight, _), cost in zip(work.atoms, held, strict=True))
    assert work.kv_token_seconds == pytest.approx(mean)


@given(TOKENS, PROMPTS)
def test_the_tail_is_the_mean_of_the_worst_tenth(tokens: list[float], prompt: float) -> None:
    work = expected_work(prompt, length(*tokens), COST, batch=2)
    held = [COST.kv_token_seconds(prompt, n, 2) for _, n in work.atoms]
    # The knots of the distribution lie at 0.9 and 0.98: the worst tenth is its last two lengths.
    assert work.tail_kv_token_seconds == pytest.approx(0.8 * held[-2] + 0.2 * held[-1])
    assert work.tail_kv_token_seconds >= work.kv_token_seconds * (1 - 1e-9)


def test_the_tail_of_a_request_that_has_run_is_a_tenth_too() -> None:
    later = length(10, 40, 100, 200, 400, 800, 1_600).given_more_than(100_000)
    work = expected_work(10, later, COST, batch=2)
    assert work.tail_kv_token_seconds >= work.kv_token_seconds > 0


def test_a_busier_backend_makes_the_same_request_longer() -> None:
    calm, busy = (expected_work(100, certain(500), COST, batch) for batch in (1, 64))
    assert busy.service_seconds > calm.service_seconds
    assert busy.kv_token_seconds > calm.kv_token_seconds
    assert busy.output_tokens == calm.output_tokens


def test_a_backend_that_turns_out_slow_makes_it_longer() -> None:
    slow = CostModel()
    for _ in range(200):
        slow.observe(Served(100, 0, 101, 1.0, 20.0, 21.0, 4.0))
    before, after = (expected_work(100, certain(500), cost, 4) for cost in (COST, slow))
    assert after.service_seconds > 3 * before.service_seconds


@pytest.mark.parametrize("prompt", [0.0, 1e9])
def test_absurd_requests_have_finite_work(prompt: float) -> None:
    knots = length(*[1e9] * len(LEVELS))
    work = expected_work(prompt, knots, COST, batch=1e9)
    assert 0 < work.service_seconds < float("inf")
    assert 0 < work.tail_kv_token_seconds < float("inf")
