import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.discovery.health import Health, ProbeResult, after_probe
from alise_gateway.domain.backend import ProbeState

PASSED, DRAINING, FAILED = ProbeResult.PASSED, ProbeResult.DRAINING, ProbeResult.FAILED


def after(*results: ProbeResult, unhealthy_after: int = 2) -> Health:
    health = Health()
    for result in results:
        health = after_probe(health, result, unhealthy_after)
    return health


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ((), ProbeState.UNKNOWN),
        ((FAILED,), ProbeState.UNKNOWN),
        ((FAILED, FAILED), ProbeState.UNHEALTHY),
        ((PASSED,), ProbeState.HEALTHY),
        ((PASSED, FAILED), ProbeState.HEALTHY),
        ((PASSED, FAILED, PASSED, FAILED), ProbeState.HEALTHY),
        ((PASSED, FAILED, FAILED), ProbeState.UNHEALTHY),
        ((FAILED, FAILED, PASSED), ProbeState.HEALTHY),
        ((PASSED, DRAINING), ProbeState.DRAINING),
        ((DRAINING, FAILED), ProbeState.DRAINING),
        ((DRAINING, FAILED, FAILED), ProbeState.UNHEALTHY),
        ((DRAINING, PASSED), ProbeState.HEALTHY),
    ],
)
def test_states(results: tuple[ProbeResult, ...], state: ProbeState) -> None:
    assert after(*results).state is state


@given(st.lists(st.sampled_from(ProbeResult)), st.integers(1, 4))
def test_unhealthy_is_exactly_that_many_failures_in_a_row(
    results: list[ProbeResult], unhealthy_after: int
) -> None:
    health = after(*results, unhealthy_after=unhealthy_after)
    tail = 0
    for result in reversed(results):
        if result is not FAILED:
            break
        tail += 1
    assert (health.state is ProbeState.UNHEALTHY) == (tail >= unhealthy_after)
    assert health.failures == tail


def test_what_was_learnt_is_doubted_after_any_failure() -> None:
    assert after().is_recovering
    assert after(PASSED, FAILED).is_recovering
    assert after(FAILED, FAILED).is_recovering
    assert not after(FAILED, FAILED, PASSED).is_recovering
    assert not after(DRAINING).is_recovering
