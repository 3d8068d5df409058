import pytest

from alise_gateway.domain.backend import ProbeState
from alise_gateway.domain.breaker import BreakerState
from alise_gateway.measure.labels import BackendState, CappedLabel, backend_state, clean


def test_first_values_keep_their_name_and_later_ones_share_one() -> None:
    labels = CappedLabel(2)
    assert [labels.label(value) for value in ("a", "b", "c", "a", "d")] == [
        "a",
        "b",
        "other",
        "a",
        "other",
    ]


def test_a_value_nobody_vouches_for_takes_no_place() -> None:
    labels = CappedLabel(1)
    assert labels.label("invented", learn=False) == "other"
    assert labels.label("real") == "real"
    assert labels.label("real", learn=False) == "real"


def test_an_empty_value_is_unknown_and_takes_no_place() -> None:
    labels = CappedLabel(1)
    assert labels.label("") == "unknown"
    assert labels.label("a") == "a"


def test_clean_text_is_short_and_encodable() -> None:
    assert clean("x" * 1_000) == "x" * 128
    assert clean("a\udc80b").encode() == b"a?b"
    assert clean("größe") == "größe"


@pytest.mark.parametrize(
    ("probe", "breaker", "state"),
    [
        (ProbeState.HEALTHY, BreakerState.CLOSED, BackendState.READY),
        (ProbeState.HEALTHY, BreakerState.OPEN, BackendState.BREAKER_OPEN),
        (ProbeState.HEALTHY, BreakerState.HALF_OPEN, BackendState.BREAKER_HALF_OPEN),
        (ProbeState.UNHEALTHY, BreakerState.OPEN, BackendState.UNHEALTHY),
        (ProbeState.DRAINING, BreakerState.CLOSED, BackendState.DRAINING),
        (ProbeState.UNKNOWN, BreakerState.CLOSED, BackendState.UNKNOWN),
    ],
)
def test_probing_speaks_before_the_breaker(
    probe: ProbeState, breaker: BreakerState, state: BackendState
) -> None:
    assert backend_state(probe, breaker) is state
