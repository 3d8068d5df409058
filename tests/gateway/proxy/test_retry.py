"""The retry budget: an outage is not doubled."""

from hypothesis import given, settings
from hypothesis import strategies as st

from alise_gateway.domain.failure import FailureKind
from alise_gateway.proxy.retry import RetryBudget, is_repeatable
from alise_gateway.settings import UpstreamSettings

_steps = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.floats(0, 5)), max_size=30)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 5), _steps)
def test_retries_stay_within_the_budget(
    ratio: float, floor: float, steps: list[tuple[int, int, float]]
) -> None:
    settings = UpstreamSettings(retry_budget_ratio=ratio, retry_budget_floor_per_second=floor)
    budget = RetryBudget(settings, 0.0)
    capacity = max(10.0, 10 * floor)
    now, requests, retries = 0.0, 0, 0
    for arrivals, wishes, seconds in steps:
        now += seconds
        for _ in range(arrivals):
            budget.note_request()
        requests += arrivals
        retries += sum(budget.take(now) for _ in range(wishes))
        assert retries <= capacity + ratio * requests + floor * now + 1e-6


def test_the_floor_lets_a_quiet_gateway_retry() -> None:
    budget = RetryBudget(UpstreamSettings(retry_budget_floor_per_second=2), 0.0)
    while budget.take(0.0):
        pass
    assert not budget.take(0.4)
    assert budget.take(0.6)
    assert not budget.take(0.6)


def test_a_share_of_requests() -> None:
    settings = UpstreamSettings(retry_budget_ratio=0.5, retry_budget_floor_per_second=0)
    budget = RetryBudget(settings, 0.0)
    assert sum(budget.take(0.0) for _ in range(50)) == 10
    for _ in range(6):
        budget.note_request()
    assert [budget.take(1e9) for _ in range(4)] == [True, True, True, False]
    budget.give_back()
    assert budget.take(1e9)
    for _ in range(1_000):
        budget.note_request()
    budget.give_back()
    assert sum(budget.take(2e9) for _ in range(50)) == 10


def test_a_timeout_is_not_repeated() -> None:
    assert not is_repeatable(FailureKind.TIMEOUT)
    assert not is_repeatable(FailureKind.LOST_MIDSTREAM)
    assert not is_repeatable(None)
    assert is_repeatable(FailureKind.CONNECT)
