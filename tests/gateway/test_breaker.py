import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alise_gateway.domain.breaker import BreakerLimits, BreakerState, CircuitBreaker

LIMITS = BreakerLimits(failures=3, open_seconds=5, max_open_seconds=20)


def opened(at: float = 100.0) -> CircuitBreaker:
    breaker = CircuitBreaker(LIMITS)
    for _ in range(LIMITS.failures):
        was_trial = breaker.started()
        breaker.failed(at, was_trial=was_trial)
    assert breaker.state(at) is BreakerState.OPEN
    return breaker


def test_opens_at_the_limit_and_says_so_once() -> None:
    breaker = CircuitBreaker(LIMITS)
    assert [breaker.failed(1.0) for _ in range(3)] == [False, False, True]
    assert not breaker.allows(1.0)


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = CircuitBreaker(LIMITS)
    for _ in range(5):
        assert not breaker.failed(1.0)
        assert not breaker.failed(1.0)
        breaker.succeeded()
    assert breaker.state(1.0) is BreakerState.CLOSED


def test_stays_shut_for_exactly_the_open_time() -> None:
    breaker = opened(at=100.0)
    assert not breaker.allows(104.999)
    assert breaker.allows(105.0)
    assert breaker.state(105.0) is BreakerState.HALF_OPEN


def test_half_open_lets_one_trial_through_at_a_time() -> None:
    breaker = opened(at=100.0)
    assert breaker.started()
    assert not breaker.allows(106.0)
    breaker.abandoned(was_trial=True)
    assert breaker.allows(106.0)


def test_open_time_doubles_up_to_the_limit_and_starts_again_after_recovery() -> None:
    breaker, now = opened(at=0.0), 0.0
    for seconds in (5, 10, 20, 20):
        now += seconds
        assert not breaker.allows(now - 0.001)
        assert breaker.allows(now)
        assert breaker.failed(now, was_trial=breaker.started())
    breaker.succeeded(was_trial=True)
    for _ in range(LIMITS.failures):
        breaker.failed(now)
    assert breaker.allows(now + 5)


@pytest.mark.parametrize("ending", ["failed", "succeeded", "abandoned"])
def test_requests_from_before_it_opened_do_not_decide_the_trial(ending: str) -> None:
    breaker = CircuitBreaker(LIMITS)
    stale = breaker.started()
    for _ in range(LIMITS.failures):
        breaker.failed(0.0, was_trial=breaker.started())
    trial = breaker.started()
    assert (stale, trial) == (False, True)
    if ending == "failed":
        assert not breaker.failed(6.0, was_trial=stale)
    else:
        getattr(breaker, ending)(was_trial=stale)
    assert breaker.state(6.0) is BreakerState.HALF_OPEN
    assert not breaker.allows(6.0)
    breaker.succeeded(was_trial=trial)
    assert breaker.state(6.0) is BreakerState.CLOSED


def test_a_request_that_slipped_through_while_open_does_not_block_the_trial_for_ever() -> None:
    breaker = opened(at=0.0)
    slipped = breaker.started()
    assert not breaker.failed(1.0, was_trial=slipped)
    assert breaker.allows(5.0)


class BreakerMachine(RuleBasedStateMachine):
    """A caller that obeys ``allows``, with requests that end in any order at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker(LIMITS)
        self.now = 0.0
        self.running: list[bool] = []
        self.opened_at: float | None = None

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.allows(self.now))
    @rule()
    def request_starts(self) -> None:
        was_trial = self.breaker.started()
        assert was_trial == (self.breaker.state(self.now) is BreakerState.HALF_OPEN)
        self.running.append(was_trial)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), ending=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def request_ends(self, data: st.DataObject, ending: str) -> None:
        index = data.draw(st.integers(0, len(self.running) - 1))
        was_trial = self.running.pop(index)
        before = self.breaker.state(self.now)
        if ending == "failed":
            self.fails(before, was_trial)
            return
        getattr(self.breaker, ending)(was_trial=was_trial)
        if ending == "succeeded" and was_trial:
            assert self.breaker.state(self.now) is BreakerState.CLOSED
        else:
            assert self.breaker.state(self.now) is before

    def fails(self, before: BreakerState, was_trial: bool) -> None:
        opens = self.breaker.failed(self.now, was_trial=was_trial)
        after = self.breaker.state(self.now)
        if opens:
            assert before is not BreakerState.OPEN
            assert after is BreakerState.OPEN
        else:
            assert after is before
        if was_trial:
            assert after is BreakerState.OPEN

    @invariant()
    def at_most_one_trial_runs(self) -> None:
        assert sum(self.running) <= 1

    @invariant()
    def a_running_trial_reserves_the_backend(self) -> None:
        if any(self.running):
            assert not self.breaker.allows(self.now)

    @invariant()
    def no_backend_is_lost_for_ever(self) -> None:
        if not any(self.running):
            assert self.breaker.allows(self.now + LIMITS.max_open_seconds)

    @invariant()
    def allows_agrees_with_the_state(self) -> None:
        state = self.breaker.state(self.now)
        if state is BreakerState.CLOSED:
            assert self.breaker.allows(self.now)
        if state is BreakerState.OPEN:
            assert not self.breaker.allows(self.now)


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
