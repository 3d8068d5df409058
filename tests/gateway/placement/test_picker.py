"""Placement: only usable backends with room, the emptiest first, taking turns."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_core.units import BackendName
from alise_gateway.domain.backend import Backend, BackendAddress, ProbeState
from alise_gateway.domain.breaker import BreakerLimits, CircuitBreaker
from alise_gateway.placement.picker import LeastOutstanding, free_share, is_usable

NOW = 100.0


def backend(in_flight: int = 0, limit: int = 4, **fields: object) -> Backend:
    made = Backend(
        BackendAddress(BackendName("b"), "h", 1),
        limit,
        CircuitBreaker(BreakerLimits(1, 5, 60)),
        probe=ProbeState.HEALTHY,
        in_flight=in_flight,
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return made


_backends = st.builds(
    lambda in_flight, limit, probe, removed, broken: (
        backend(in_flight, limit, probe=probe, removed=removed),
        broken,
    ),
    st.integers(0, 5),
    st.integers(1, 5),
    st.sampled_from([ProbeState.HEALTHY, ProbeState.HEALTHY, *ProbeState]),
    st.booleans(),
    st.booleans(),
)


@settings(deadline=None)
@given(st.lists(_backends, max_size=6), st.integers(0, 63), st.integers(0, 5))
def test_the_pick(pairs: list[tuple[Backend, bool]], tried_mask: int, turns: int) -> None:
    backends = [made for made, _ in pairs]
    for made, broken in pairs:
        if broken:
            made.breaker.failed(NOW)
    tried = [made for index, made in enumerate(backends) if tried_mask >> index & 1]
    picker = LeastOutstanding()
    for _ in range(turns):
        picker.pick(backends, [], NOW)
    placed = picker.pick(backends, tried, NOW)
    usable = [made for made in backends if is_usable(made, NOW) and made not in tried]
    with_room = [made for made in usable if made.in_flight < made.max_in_flight]
    assert placed.usable == bool(usable)
    assert (placed.backend is not None) == bool(with_room)
    if placed.backend is not None:
        assert placed.backend in with_room
        assert free_share(placed.backend) == max(free_share(made) for made in with_room)


def test_equals_take_turns() -> None:
    busy, *idle = backend(3), backend(), backend(), backend()
    picker = LeastOutstanding()
    backends = [busy, *idle]
    picks = Counter(
        backends.index(placed.backend)
        for _ in range(30)
        if (placed := picker.pick(backends, [], NOW)).backend is not None
    )
    assert picks == {1: 10, 2: 10, 3: 10}


@pytest.mark.parametrize(("in_flight", "limit", "share"), [(0, 4, 1), (1, 4, 0.75), (9, 4, 0)])
def test_free_share(in_flight: int, limit: int, share: float) -> None:
    assert free_share(backend(in_flight, limit)) == share


def test_a_half_open_breaker_lets_one_through() -> None:
    made = backend()
    made.breaker.failed(NOW)
    assert not is_usable(made, NOW + 4)
    assert is_usable(made, NOW + 6)
    assert made.breaker.started()
    assert not is_usable(made, NOW + 6)
