"""How much one of several gateways gives a backend, by figures that are of all of them."""

from dataclasses import replace
from itertools import count
from math import log1p
from typing import Any

import pytest

from alise_core.policy import AdmissionPolicy
from alise_core.prediction import LEVELS, LengthDistribution
from alise_core.shares import WHOLE, Share
from alise_gateway.domain.admission import Admission
from alise_gateway.domain.engine_figures import EngineFigures

POLICY = AdmissionPolicy(
    quantile=0.5, high_quantile=0.75, preemption_ratio=0.25, run_ahead=2, stale_seconds=10.0
)
MOST = 60
NOW = 100.0
THIRD = Share(0, 3)
NUMBERS = count()


def exactly(tokens: float) -> LengthDistribution:
    return LengthDistribution.of([log1p(tokens)] * len(LEVELS), 0, 1e9, None)


def admission(share: Share = THIRD, capacity: int | None = None) -> Admission:
    made = Admission(POLICY)
    made.capacity_tokens = capacity
    made.set_share(share, MOST, NOW)
    return made


def tell(it: Admission, seconds: float = 0.0, **figures: Any) -> None:
    """The engine says this, so many seconds after ``NOW``."""
    now = NOW + seconds
    it.observe(replace(EngineFigures(now), **figures), now, MOST)


def fill(it: Admission, most: int = 1_000, seconds: float = 0.0, tokens: float = 50) -> int:
    """Send as many requests as it lets through, up to so many; how many that were."""
    now = NOW + seconds
    for sent in range(most):
        if it.headroom(tokens, exactly(tokens), MOST, now) is None:
            return sent
        it.ledger.add(next(NUMBERS), tokens, exactly(tokens), now)
    return most


def test_without_figures_it_has_its_equal_share() -> None:
    assert [fill(admission(Share(index, 3), None)) for index in range(3)] == [20, 20, 20]
    assert fill(admission(capacity=3_000)) == 10, "of 100 tokens each, in a third of the memory"


def test_old_figures_leave_the_equal_share() -> None:
    it = admission()
    tell(it, running=58, waiting=0)
    assert fill(it, seconds=1) == 1, "the others have it all"
    assert fill(it, seconds=11) == 19


def test_alone_again_it_has_everything() -> None:
    it = admission()
    fill(it)
    it.set_share(WHOLE, MOST, NOW)
    assert fill(it) == 40


def test_room_that_nobody_uses_is_lent() -> None:
    it = admission()
    for second in range(60):
        tell(it, second, running=len(it.ledger), waiting=0)
        fill(it, seconds=second + 0.5, tokens=1)
    assert len(it.ledger) == 57, "but for a reserve"


def test_who_is_new_finds_what_the_others_left() -> None:
    it = admission()
    tell(it, running=30, waiting=0)
    tell(it, 1, running=30, waiting=0)
    assert fill(it, seconds=1.5) == 10, "a third of what is free"


def test_a_full_backend_gets_one_and_then_what_is_left_of_the_reserve() -> None:
    it = admission()
    tell(it, running=57, waiting=0)
    assert fill(it, seconds=0.5) == 1


def test_a_share_of_nothing_sends_nothing() -> None:
    it = Admission(POLICY)
    it.set_share(Share(0, 3), 2, NOW)
    it.observe(EngineFigures(NOW, running=0, waiting=0), NOW, 2)
    assert it.headroom(1, exactly(1), 2, NOW) is None


def test_what_others_hold_in_memory_is_not_there() -> None:
    it = admission(capacity=6_000)
    tell(it, running=20, waiting=0, usage_ratio=0.9)
    tell(it, 1, running=20, waiting=0, usage_ratio=0.9)
    assert fill(it, seconds=1.5) <= 2
    free = admission(capacity=6_000)
    tell(free, running=20, waiting=0, usage_ratio=0.1)
    tell(free, 1, running=20, waiting=0, usage_ratio=0.1)
    assert fill(free, seconds=1.5) > 10


def test_one_request_goes_however_large_it_is() -> None:
    """Else nobody would ever send what exceeds an equal share."""
    it = admission(capacity=3_000)
    assert it.headroom(2_000, exactly(500), MOST, NOW) == 0.0
    assert fill(it, 1) == 1
    assert it.headroom(2_000, exactly(500), MOST, NOW) is None


def test_fewer_peers_find_the_room_of_who_left_at_once() -> None:
    it = admission()
    tell(it, running=0, waiting=0)
    fill(it)
    before = len(it.ledger)
    it.set_share(Share(0, 2), MOST, NOW)
    tell(it, 1, running=before, waiting=0)
    tell(it, 2, running=before, waiting=0)
    assert fill(it, seconds=2.5) > 0


def test_the_score_is_of_the_whole_backend() -> None:
    """A gateway with little there must not take it for an idle one."""
    it = admission(capacity=100_000)
    tell(it, running=45, waiting=0, usage_ratio=0.2)
    found = it.headroom(10, exactly(10), MOST, NOW)
    assert found == pytest.approx(0.25, abs=0.01)
    assert it.room.others == 45


@pytest.mark.parametrize("others", [0, 30, 300])
def test_use_by_others_corrects_nothing(others: int) -> None:
    it = admission(capacity=3_000)
    sent = fill(it, 10)
    held = it.ledger.held(NOW) * (sent + others) / sent
    tell(it, running=sent + others, waiting=0, usage_ratio=min(1.0, 2 * held / 3_000))
    assert (it.correction > 1) == (others == 0)


def test_a_queue_of_all_is_no_limit_of_one() -> None:
    """The engine runs 40 of all gateways' requests: so many may be there, of all of them."""
    it = admission()
    fill(it, 10)
    for second in range(4):
        tell(it, second, running=40, waiting=15)
    assert it.learned_limit == 42
    assert it.limit(MOST, NOW + 3) <= 14


def test_a_learned_limit_grows_while_all_have_nearly_as_much() -> None:
    it = admission()
    it.learned_limit = 40.0
    fill(it, 5)
    tell(it, 5, running=37, waiting=0)
    assert it.learned_limit == 42.0
    tell(it, 6, running=20, waiting=0)
    assert it.learned_limit == 42.0


def test_arrivals_of_all_are_no_queue() -> None:
    """At 100 answers a second several requests of others are always on their way."""
    it = admission()
    fill(it, 1)
    it.ledger.set_pace(0.05, NOW)
    for second in range(6):
        tell(it, second, running=50, waiting=10, finished=100.0 * second)
    assert it.learned_limit is None


def test_figures_without_memory_leave_its_equal_share() -> None:
    it = admission(capacity=3_000)
    tell(it, running=0, waiting=0)
    assert fill(it, seconds=0.5) == 10


@pytest.mark.parametrize(
    "figures", [{}, {"running": 5}, {"waiting": 5}, {"running": 10**9, "waiting": 10**9}]
)
def test_figures_that_say_too_little_or_too_much_fail_nothing(figures: dict[str, Any]) -> None:
    it = admission(capacity=3_000)
    tell(it, usage_ratio=1e9, **figures)
    assert 1 <= fill(it, seconds=0.5) <= 20
