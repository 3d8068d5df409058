"""Placement: only usable backends with room, the best score first, equals taking turns."""

from collections import Counter
from collections.abc import Sequence
from math import log1p

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_core.prediction import LEVELS, LengthDistribution
from alise_core.units import BackendName
from alise_gateway.domain.affinity import Affinity
from alise_gateway.domain.backend import Backend, BackendAddress, ProbeState
from alise_gateway.domain.breaker import BreakerLimits, CircuitBreaker
from alise_gateway.domain.cost_model import CostModel, Served
from alise_gateway.domain.work import expected_work
from alise_gateway.placement.affinity import AffinityIndex
from alise_gateway.placement.picker import BestBackend
from alise_gateway.queueing.events import Ticket
from fakes.tickets import Nobody

NOW = 100.0
CONVERSATION = Affinity((1, 2, 3, 4), session=5)


def exactly(tokens: float) -> LengthDistribution:
    return LengthDistribution.of([log1p(tokens)] * len(LEVELS), 0, 1e9, None)


def backend(in_flight: int = 0, limit: int = 4, name: str = "b", **fields: object) -> Backend:
    made = Backend(
        BackendAddress(BackendName(name), "h", 1),
        limit,
        CircuitBreaker(BreakerLimits(1, 5, 60)),
        probe=ProbeState.HEALTHY,
    )
    for field, value in fields.items():
        setattr(made, field, value)
    for number in range(in_flight):
        put(made, -number - 1, 100, 100)
    return made


def named(count: int, **fields: object) -> list[Backend]:
    return [backend(name=f"b{index}", **fields) for index in range(count)]  # type: ignore[arg-type]


def put(it: Backend, number: int, prompt_tokens: float, output_tokens: float) -> None:
    it.in_flight += 1
    it.admission.ledger.add(number, prompt_tokens, exactly(output_tokens), NOW)


def request(
    number: int = 0,
    prompt_tokens: float = 100,
    output_tokens: float = 100,
    affinity: Affinity | None = None,
    tried: Sequence[Backend] = (),
) -> Ticket:
    made = Ticket(
        number,
        "m",
        Nobody(),
        NOW,
        prompt_tokens=prompt_tokens,
        prediction=exactly(output_tokens),
        affinity=affinity or Affinity(),
        tried=list(tried),
    )
    made.work = expected_work(prompt_tokens, made.prediction, CostModel(), 1.0)
    return made


def fast_and_slow() -> tuple[Backend, Backend]:
    """Equal but for what has been learned of their speed."""
    fast, slow = backend(name="fast"), backend(name="slow")
    for made, step in ((fast, 0.01), (slow, 0.04)):
        for _ in range(300):
            made.cost.observe(Served(100, 0, 101, 0.05, 100 * step, 0.05 + 100 * step, 1.0))
    return fast, slow


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


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(_backends, max_size=6), st.integers(0, 63), st.integers(0, 5))
def test_the_pick(pairs: list[tuple[Backend, bool]], tried_mask: int, turns: int) -> None:
    backends = [made for made, _ in pairs]
    for made, broken in pairs:
        if broken:
            made.breaker.failed(NOW)
    tried = [made for index, made in enumerate(backends) if tried_mask >> index & 1]
    picker = BestBackend()
    for _ in range(turns):
        picker.pick(backends, request(), NOW)
    placed = picker.pick(backends, request(tried=tried), NOW)
    usable = [made for made in backends if made.is_usable(NOW) and made not in tried]
    with_room = [made for made in usable if made.in_flight < made.max_in_flight]
    assert placed.usable == bool(usable)
    assert (placed.backend is not None) == bool(with_room)
    if placed.backend is not None:
        assert placed.backend in with_room


def test_nobody_serves_the_model() -> None:
    placed = BestBackend().pick([], request(), NOW)
    assert (placed.backend, placed.usable) == (None, False)


def test_equals_take_turns() -> None:
    busy, *idle = backend(3), backend(), backend(), backend()
    picker = BestBackend()
    backends = [busy, *idle]
    picks = Counter(
        backends.index(placed.backend)
        for _ in range(30)
        if (placed := picker.pick(backends, request(), NOW)).backend is not None
    )
    assert picks == {1: 10, 2: 10, 3: 10}


def test_a_half_open_breaker_lets_one_through() -> None:
    made = backend()
    made.breaker.failed(NOW)
    assert not made.is_usable(NOW + 4)
    assert made.is_usable(NOW + 6)
    assert made.breaker.started()
    assert not made.is_usable(NOW + 6)


# Scores


def test_the_emptier_one_is_better() -> None:
    backends = [backend(2, 8), backend(1, 8), backend(5, 8)]
    assert BestBackend().pick(backends, request(), NOW).backend is backends[1]


def test_the_faster_one_is_better() -> None:
    fast, slow = fast_and_slow()
    for order in ([fast, slow], [slow, fast]):
        assert BestBackend().pick(order, request(), NOW).backend is fast


def test_where_the_beginning_is_cached_is_better() -> None:
    backends = named(3)
    picker = BestBackend()
    picker.sent(request(affinity=Affinity((1, 2, 3, 4))), backends[1], NOW)
    picker.sent(request(affinity=Affinity((1, 2))), backends[2], NOW)
    wanted = request(affinity=Affinity((1, 2, 3, 9)))
    for _ in range(5):
        assert picker.pick(backends, wanted, NOW).backend is backends[1]
    assert picker.pick(backends, request(affinity=Affinity((7,))), NOW).backend is not backends[1]
    picker.forget(backends[1])
    assert picker.pick(backends, wanted, NOW).backend is backends[2]


def test_where_the_conversation_was_is_better() -> None:
    backends = named(3)
    picker = BestBackend()
    picker.sent(request(affinity=Affinity((), 5)), backends[2], NOW)
    for _ in range(5):
        picked = picker.pick(backends, request(affinity=Affinity((), 5)), NOW + 1)
        assert picked.backend is backends[2]


def test_a_conversation_stays_for_as_long_as_its_ticket_says() -> None:
    backends = named(3)
    picker = BestBackend()
    sent = request(affinity=Affinity((), 5))
    sent.affinity_ttl_seconds = 3.0
    picker.sent(sent, backends[2], NOW)
    again = request(affinity=Affinity((), 5))
    picks = {
        str(placed.backend.name)
        for _ in range(3)
        if (placed := picker.pick(backends, again, NOW + 4)).backend is not None
    }
    assert picks == {"b0", "b1", "b2"}


def test_affinity_does_not_outweigh_a_full_backend() -> None:
    full, empty = backend(15, 16, name="full"), backend(0, 16, name="empty")
    picker = BestBackend()
    picker.sent(request(affinity=CONVERSATION), full, NOW)
    assert picker.pick([full, empty], request(affinity=CONVERSATION), NOW).backend is empty


def test_in_a_mixed_pool_more_memory_gets_more() -> None:
    """The same engine with its KV cache in 8 bits holds twice as much."""
    small, large = backend(limit=256, name="bf16"), backend(limit=256, name="fp8")
    small.admission.capacity_tokens, large.admission.capacity_tokens = 20_000, 40_000
    picker = BestBackend()
    counts: Counter[str] = Counter()
    for number in range(400):
        placed = picker.pick([small, large], request(number), NOW)
        if placed.backend is None:
            assert placed.usable
            break
        put(placed.backend, number, 100, 100)
        counts[placed.backend.name] += 1
        if number == 119:
            assert counts["fp8"] > 1.3 * counts["bf16"], "from the beginning"
    assert counts == {"bf16": 100, "fp8": 200}


def test_an_idle_backend_too_small_for_a_request_is_the_last_choice() -> None:
    small, large = backend(limit=256, name="small"), backend(limit=256, name="large")
    small.admission.capacity_tokens, large.admission.capacity_tokens = 1_000, 40_000
    for number in range(50):
        put(large, number, 100, 100)
    picker = BestBackend()
    assert picker.pick([small, large], request(99, 5_000), NOW).backend is large
    assert picker.pick([small], request(99, 5_000), NOW).backend is small


# Large pools


def test_a_large_pool_spreads_over_all() -> None:
    backends = named(200, limit=64)
    picker = BestBackend()
    for number in range(2_000):
        placed = picker.pick(backends, request(number), NOW)
        assert placed.backend is not None
        put(placed.backend, number, 100, 100)
    loads = [made.in_flight for made in backends]
    assert min(loads) >= 5
    assert max(loads) <= 15


def test_a_large_pool_is_looked_through_where_two_have_no_room() -> None:
    backends = [backend(4) for _ in range(60)]
    free = backends[37] = backend()
    picker = BestBackend()
    for number in range(100):
        assert picker.pick(backends, request(number), NOW).backend is free
        assert picker.pick(backends, request(number, tried=[free]), NOW).backend is None
    free.probe = ProbeState.DRAINING
    placed = picker.pick(backends, request(7), NOW)
    assert (placed.backend, placed.usable) == (None, True)


def test_a_large_pool_with_one_usable_backend() -> None:
    backends = [backend(probe=ProbeState.UNHEALTHY) for _ in range(60)]
    backends[11] = backend()
    for number in range(100):
        assert BestBackend().pick(backends, request(number), NOW).backend is backends[11]


@pytest.mark.parametrize("affinity", [Affinity((1, 2, 3, 4)), Affinity((), 5), CONVERSATION])
def test_a_large_pool_knows_where_the_conversation_was(affinity: Affinity) -> None:
    backends = named(100)
    picker = BestBackend(AffinityIndex())
    picker.sent(request(affinity=affinity), backends[42], NOW)
    for number in range(100):
        placed = picker.pick(backends, request(number, affinity=affinity), NOW)
        assert placed.backend is backends[42]
    picker.forget(backends[42])
    picks = {picker.pick(backends, request(n, affinity=affinity), NOW).backend for n in range(200)}
    assert len(picks) > 50


@given(st.integers(33, 90), st.integers(0, 10**9))
def test_any_large_pool_any_number(count: int, number: int) -> None:
    backends = [backend() for _ in range(count)]
    assert BestBackend().pick(backends, request(number), NOW).backend in backends


def test_a_backend_that_was_slow_once_is_tried_again() -> None:
    """What was learned under a load that is over must not keep requests away for ever."""
    slow, fast = backend(name="slow"), backend(name="fast")
    for _ in range(40):
        teach(slow, 2.0)
        teach(fast, 0.02)
    picker = BestBackend()
    slow.sent_at = fast.sent_at = NOW
    assert {str(found(picker, [slow, fast], NOW + 1).name) for _ in range(4)} == {"fast"}
    fast.sent_at = NOW + 19
    assert "slow" in {str(found(picker, [slow, fast], NOW + 20).name) for _ in range(2)}


def teach(it: Backend, step_seconds: float) -> None:
    it.cost.observe(Served(100, 0, 50, step_seconds, 49 * step_seconds, 50 * step_seconds, 1.0))


def found(picker: BestBackend, candidates: list[Backend], now: float) -> Backend:
    placed = picker.pick(candidates, request(), now)
    assert placed.backend is not None
    return placed.backend
