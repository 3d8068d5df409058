"""How much a backend is given: by its memory, as corrected by what its engine says."""

from dataclasses import replace
from math import log1p
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.policy import AdmissionPolicy
from alise_core.prediction import LEVELS, LengthDistribution
from alise_gateway.domain.admission import Admission
from alise_gateway.domain.engine_figures import EngineFigures

POLICY = AdmissionPolicy(
    quantile=0.5, high_quantile=0.75, preemption_ratio=0.25, run_ahead=2, stale_seconds=10.0
)
MOST = 64
NOW = 100.0


def exactly(tokens: float) -> LengthDistribution:
    return LengthDistribution.of([log1p(tokens)] * len(LEVELS), 0, 1e9, None)


def about(tokens: float) -> LengthDistribution:
    factors = (0.1, 0.3, 0.6, 1.0, 1.6, 3.0, 6.0)
    return LengthDistribution.of([log1p(tokens * factor) for factor in factors], 0, 1e9, None)


def admission(capacity: int | None = 1_000, policy: AdmissionPolicy = POLICY) -> Admission:
    made = Admission(policy)
    made.capacity_tokens = capacity
    return made


def send(it: Admission, count: int, prompt_tokens: float = 50, output_tokens: float = 50) -> None:
    before = len(it.ledger)
    for number in range(before, before + count):
        it.ledger.add(number, prompt_tokens, exactly(output_tokens), NOW)


def room(it: Admission, prompt: float = 50, output: float = 50, most: int = MOST) -> float | None:
    return it.headroom(prompt, exactly(output), most, NOW)


def tell(it: Admission, seconds: float = 0.0, **figures: Any) -> None:
    """The engine says this, so many seconds after ``NOW``."""
    it.observe(replace(EngineFigures(NOW + seconds), **figures), NOW + seconds, MOST)


# Memory


@pytest.mark.parametrize("capacity", [None, 0, -5, 10, 10**9])
@pytest.mark.parametrize("tokens", [0.0, 1.0, 1e12])
def test_the_first_request_always_goes_in(capacity: int | None, tokens: float) -> None:
    it = admission(capacity)
    it.learned_limit = 1.0
    assert it.headroom(tokens, exactly(tokens), 1, NOW) is not None
    assert it.headroom(tokens, None, 1, NOW) is not None


def test_an_idle_backend_is_worth_what_stays_free() -> None:
    assert room(admission(None)) == 1.0
    assert room(admission(1_000)) == pytest.approx(0.9)
    assert room(admission(100_000)) == pytest.approx(0.999)
    assert room(admission(80)) == 0.0


@pytest.mark.parametrize(("in_flight", "free"), [(1, 0.8), (5, 0.4), (8, 0.1), (9, 0.0)])
def test_requests_fill_the_capacity(in_flight: int, free: float) -> None:
    it = admission(1_001)
    send(it, in_flight)
    assert room(it) == pytest.approx(free, abs=0.002)


def test_what_does_not_fit_waits_and_what_is_smaller_does_not() -> None:
    it = admission(1_000)
    send(it, 9)
    assert room(it, 60, 50) is None
    assert room(it, 50, 10) is not None
    assert room(it, 50, 500) is not None, "it has grown when the others have gone"


def test_what_ends_before_the_worst_moment_costs_nothing() -> None:
    """Its memory is free again when the long one has grown; there is none to spare, though."""
    it = admission(1_000)
    it.ledger.add(1, 100, exactly(890), NOW)
    assert room(it, 100, 50) == 0.0
    assert room(it, 100, 300) is not None


def test_what_is_far_ahead_keeps_nobody_out() -> None:
    """Beyond the next hundred tokens of each, predictions are too vague to hold back for."""
    it = admission(1_000)
    it.ledger.add(1, 100, exactly(890), NOW)
    assert room(it, 100, 850) == 0.0
    assert room(it, 690, 850) == 0.0
    assert room(it, 710, 850) is None, "200 + 710 + 100 tokens are too many within that time"


def test_without_a_capacity_the_requests_are_counted() -> None:
    it = admission(None)
    send(it, 3, 1e9)
    assert room(it, most=4) == 0.25
    assert room(it, most=3) is None


@pytest.mark.parametrize("capacity", [0, -7])
def test_a_capacity_that_cannot_be_lets_one_in_at_a_time(capacity: int) -> None:
    it = admission(capacity)
    assert room(it) == 0.0
    send(it, 1)
    assert room(it) is None


def test_fewer_than_are_in_flight_may_be_configured() -> None:
    it = admission(None)
    send(it, 4)
    assert room(it, most=2) is None


# Correction by the memory in use


def test_what_the_engine_uses_corrects_what_is_expected() -> None:
    it = admission(1_000)
    send(it, 9)
    held = it.ledger.held(NOW)
    corrections = []
    for second in range(40):
        tell(it, second * 1e-6, usage_ratio=0.5 * held / 1_000, waiting=0)
        corrections.append(it.correction)
    assert corrections == sorted(corrections, reverse=True)
    assert it.correction == pytest.approx(0.5, rel=0.01)
    assert room(it) == pytest.approx(0.5, abs=0.01), "twice as much fits"


def test_the_correction_goes_both_ways_within_bounds() -> None:
    low, high = admission(), admission()
    for it in (low, high):
        send(it, 4)
    for second in range(100):
        tell(low, second * 1e-6, usage_ratio=0.0, waiting=0)
        tell(high, second * 1e-6, usage_ratio=1e9, waiting=0)
    assert low.correction == pytest.approx(0.25, rel=0.01)
    assert high.correction == pytest.approx(2.0, rel=0.01)
    assert room(low) is not None
    assert room(high) == pytest.approx(0.0, abs=0.01)
    send(high, 1)
    assert room(high) is None


@pytest.mark.parametrize(
    "figures",
    [
        {"usage_ratio": 0.1, "waiting": 1},
        {"usage_ratio": 0.1, "waiting": None},
        {"usage_ratio": None, "waiting": 0},
        {"usage_ratio": 0.1, "waiting": 0, "running": 8},
    ],
)
def test_what_corrects_nothing(figures: dict[str, Any]) -> None:
    """What waits in the engine or is on its way there is expected to hold memory and holds none."""
    it = admission()
    send(it, 9)
    tell(it, **figures)
    assert it.correction == 1.0


def test_a_nearly_idle_engine_corrects_nothing() -> None:
    it = admission(100_000)
    send(it, 9)
    tell(it, usage_ratio=0.9, waiting=0)
    assert it.correction == 1.0


def test_the_capacity_is_the_last_that_was_told() -> None:
    it = admission(None)
    tell(it, capacity_tokens=500)
    tell(it, capacity_tokens=None)
    assert it.capacity_tokens == 500
    tell(it, capacity_tokens=700)
    assert it.capacity_tokens == 700


# Preemptions


def test_preemptions_reserve_more_until_it_is_calm() -> None:
    it = admission()
    tell(it, preemptions=10.0, finished=100.0)
    assert it.ledger.quantile == 0.5, "a first look tells no change"
    tell(it, 20, preemptions=20.0, finished=110.0)
    assert it.ledger.quantile == 0.6
    tell(it, 21, preemptions=90.0, finished=110.0)
    assert it.ledger.quantile == 0.6, "one burst is one burst"
    for second in range(40, 100, 20):
        tell(it, second, preemptions=90.0 + 10 * second, finished=110.0)
    assert it.ledger.quantile == POLICY.high_quantile
    last = 90.0 + 10 * 80
    tell(it, 130, preemptions=last, finished=900.0)
    assert it.ledger.quantile == POLICY.high_quantile, "not for long enough"
    quantiles = []
    for minute in range(3, 9):
        tell(it, 61 * minute, preemptions=last, finished=500.0)
        quantiles.append(it.ledger.quantile)
    assert quantiles == sorted(quantiles, reverse=True)
    assert quantiles[0] == pytest.approx(0.65)
    assert quantiles[-1] == POLICY.quantile


def test_a_higher_quantile_lets_fewer_in() -> None:
    fitting = []
    for quantile in (0.5, 0.75):
        it = admission(1_000)
        it.ledger.quantile = quantile
        while it.headroom(50, about(30), MOST, NOW) is not None:
            it.ledger.add(len(it.ledger), 50, about(30), NOW)
        fitting.append(len(it.ledger))
    assert fitting == [12, 10]


def test_few_preemptions_are_usual() -> None:
    it = admission()
    tell(it, preemptions=0.0, finished=0.0)
    tell(it, 1, preemptions=25.0, finished=100.0)
    assert it.ledger.quantile == POLICY.quantile


def test_counters_that_went_back_are_those_of_a_new_engine() -> None:
    it = admission()
    tell(it, preemptions=1e6, finished=1e6)
    tell(it, 1, preemptions=0.0, finished=0.0)
    assert it.ledger.quantile == POLICY.quantile
    tell(it, 2, preemptions=10.0, finished=1.0)
    assert it.ledger.quantile == 0.6, "and those are counted as ever"


@pytest.mark.parametrize("missing", ["before", "after"])
def test_missing_counters_say_nothing(missing: str) -> None:
    it = admission()
    tell(it, preemptions=None if missing == "before" else 0.0)
    tell(it, 1, preemptions=None if missing == "after" else 1e6)
    assert it.ledger.quantile == POLICY.quantile


# The engine's own queue


def crowd(it: Admission, running: int = 4, waiting: int = 9, until: float = 3.0) -> None:
    """From when those that were just sent have arrived."""
    tell(it, 0.1, running=running, waiting=waiting)
    tell(it, 0.1 + until, running=running, waiting=waiting)


def test_an_engine_that_queues_is_given_fewer() -> None:
    it = admission(None)
    send(it, 13)
    crowd(it)
    assert it.learned_limit == 6.0, "what it runs, and the run-ahead"
    assert it.limit(MOST, NOW) == 6
    assert it.limit(3, NOW) == 3
    assert room(it) is None


def test_the_least_that_is_learned_is_one() -> None:
    it = admission(None, replace(POLICY, run_ahead=0))
    send(it, 9)
    crowd(it, running=0)
    assert it.limit(MOST, NOW) == 1
    assert room(it) is None


def test_an_engine_that_orders_its_queue_may_have_more_in_it() -> None:
    it = admission(None, replace(POLICY, ordering_run_ahead=9))
    it.orders_itself = True
    send(it, 20)
    tell(it, 0, running=4, waiting=9)
    tell(it, 5, running=4, waiting=9)
    assert it.learned_limit is None
    tell(it, 6, running=4, waiting=10)
    tell(it, 9, running=4, waiting=10)
    assert it.learned_limit == 13.0


def test_arrivals_pass_through_the_engines_queue() -> None:
    it = admission(None)
    crowd(it, until=1.9)
    assert it.learned_limit is None
    tell(it, 2.05, running=4, waiting=2)
    tell(it, 4, running=4, waiting=9)
    assert it.learned_limit is None, "the time counts from when it began again"


def test_a_limit_that_all_run_within_is_raised() -> None:
    it = admission(None)
    crowd(it)
    send(it, 4)
    tell(it, 5, running=4, waiting=0)
    assert it.learned_limit == 6.0, "too few in flight to tell"
    send(it, 1)
    tell(it, 6, running=5, waiting=0)
    tell(it, 7, running=5, waiting=2)
    assert it.learned_limit == 7.0, "once, since it is not reached any more"


def test_a_large_limit_is_raised_faster() -> None:
    """A burst of small requests is over before a limit of hundreds has been raised by ones."""
    it = admission(None)
    send(it, 200)
    crowd(it, running=198)
    assert it.learned_limit == 200
    tell(it, 4, running=200, waiting=0)
    assert it.learned_limit == pytest.approx(210)


def test_who_came_during_a_step_waits_for_the_next_one() -> None:
    """At hundreds of requests a second some are always between two steps."""
    it = admission(None)
    step_seconds = 0.02
    it.ledger.set_pace(step_seconds, NOW)
    for second in range(4):
        now = NOW + second
        for number in range(9):
            it.ledger.add(100 * second + number, 10, None, now)
        figures = EngineFigures(at=now, running=4, waiting=9)
        it.observe(figures, now + step_seconds, MOST)
    assert it.learned_limit is None
    it.observe(replace(figures, at=NOW + 5), NOW + 5, MOST)
    it.observe(replace(figures, at=NOW + 8), NOW + 8, MOST)
    assert it.learned_limit == 6, "nobody came since, and they are still there"


@pytest.mark.parametrize("figures", [{"running": None}, {"waiting": None}])
def test_half_of_the_queue_says_nothing(figures: dict[str, Any]) -> None:
    it = admission(None)
    for second in (0, 3, 6):
        tell(it, second, **{"running": 1, "waiting": 9, **figures})
    assert it.learned_limit is None


def test_blind_without_figures_or_with_old_ones() -> None:
    it = admission()
    assert it.is_blind(NOW)
    tell(it)
    assert not it.is_blind(NOW + POLICY.stale_seconds)
    assert it.is_blind(NOW + POLICY.stale_seconds + 0.1)


def test_nobody_obeys_what_was_learned_of_a_queue_that_is_not_seen_any_more() -> None:
    it = admission(10**6)
    send(it, 13)
    crowd(it)
    assert it.headroom(50, None, MOST, NOW + 4) is None
    assert it.headroom(50, None, MOST, NOW + 60) is not None
    assert it.headroom(50, None, 13, NOW + 60) is None


# Whatever it says

numbers = st.sampled_from([None, 0, 0, 1, 5, 64, 10**9, -3])
ratios = st.none() | st.sampled_from([0.0, 1.0, -1.0, 1e12]) | st.floats(0, 1)
anything = st.builds(
    EngineFigures,
    at=st.floats(-1e6, 1e6),
    capacity_tokens=st.sampled_from([None, None, 0, -9, 1, 2_000, 10**12]),
    usage_ratio=ratios,
    running=numbers,
    waiting=numbers,
    preemptions=st.none() | st.floats(0, 1e15),
    finished=st.none() | st.floats(0, 1e15),
)


@pytest.mark.slow
@given(
    st.lists(st.tuples(anything, st.floats(-0.1, 90), st.integers(0, 3)), max_size=25),
    st.sampled_from([None, 0, 3_000]),
    st.integers(1, 12),
)
def test_absurd_figures_neither_fail_nor_block(
    told: list[tuple[EngineFigures, float, int]], capacity: int | None, most: int
) -> None:
    it = admission(capacity)
    now, number = NOW, 0
    for figures, seconds, change in told:
        now += seconds
        if change < 2:
            number += 1
            it.ledger.add(number, 100.0 * number, about(50) if change else None, now)
        elif len(it.ledger):
            it.ledger.remove(number - len(it.ledger) + 1, now)
        it.observe(figures, now, most)
        found = it.headroom(120, about(300), most, now)
        assert found is None or 0 <= found <= 1
        assert found is not None or len(it.ledger) > 0
        assert found is None or not len(it.ledger) or len(it.ledger) < most
        assert 0.25 <= it.correction <= 2.0
        assert POLICY.quantile <= it.ledger.quantile <= POLICY.high_quantile
        assert it.limit(most, now) >= 1
    for left in range(number - len(it.ledger) + 1, number + 1):
        it.ledger.remove(left, now)
    assert it.headroom(1e9, about(1e9), most, now) is not None, "idle: it goes"


@pytest.mark.slow
@given(st.integers(1, 60), st.integers(0, 400), st.integers(0, 400), st.floats(0.25, 2.0))
def test_what_is_let_in_fits(count: int, prompt: int, output: int, correction: float) -> None:
    """For any mix that was let in, what is held in the time ahead stays within the capacity."""
    it = admission(5_000)
    it.correction = correction
    for number in range(count):
        tokens = prompt * (number % 3), output * (number % 5)
        found = it.headroom(tokens[0], exactly(tokens[1]), MOST, NOW)
        if found is not None:
            it.ledger.add(number, tokens[0], exactly(tokens[1]), NOW)
    if len(it.ledger) > 1:
        assert it.ledger.peak_with(0, 0, NOW) * it.correction <= 5_000 * (1 + 1e-9)
