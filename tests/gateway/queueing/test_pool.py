"""One pool: classes go strictly before each other, but for what lower ones earn."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.policy import (
    ClassLimits,
    OrderingName,
    OrderingPolicy,
    SchedulingPolicy,
)
from alise_core.service_class import ServiceClass
from alise_gateway.domain.work import NO_WORK
from alise_gateway.queueing.events import Ticket
from fakes.pool_world import (
    BATCH,
    DEFAULT,
    FLEX,
    NEVER,
    NO_TRICKLE,
    PRIORITY,
    SCALE,
    World,
    policy_of,
)
from fakes.tickets import anybody, work


def classes(tickets: list[Ticket]) -> list[ServiceClass]:
    return [each.service_class for each in tickets]


def test_a_pool_in_which_nobody_waits() -> None:
    pool = World().pool
    assert (pool.waiting, pool.best_class(), pool.oldest(), pool.everybody()) == (0, None, None, [])
    assert (pool.shed(PRIORITY), pool.expired(NEVER)) == (None, [])
    assert not list(pool.in_turn(0.0, anybody))
    assert all(pool.service_ahead(item) == pool.waiting_in(item) == 0 for item in ServiceClass)


def test_a_class_is_served_before_the_next_however_long_its_requests() -> None:
    world = World(policy_of(ordering=OrderingPolicy(name=OrderingName.SJF, guard_seconds=NEVER)))
    for item in reversed(ServiceClass):
        world.wait(item, tokens=10_000 if item is PRIORITY else 1)
    assert classes(world.turn()) == list(ServiceClass)
    assert world.pool.best_class() is PRIORITY
    assert classes([world.serve() for _ in ServiceClass]) == list(ServiceClass)
    assert world.pool.waiting == 0


def test_everybody_is_in_turn_once() -> None:
    world = World(policy_of({FLEX: 0.5, BATCH: 0.5}))
    for item in ServiceClass:
        for index in range(5):
            world.wait(item, name=f"t{index % 2}")
    for _ in range(20):
        turn = world.turn()
        assert len(turn) == len(set(turn)) == world.pool.waiting
        world.serve()


def test_within_a_class_tenants_take_turns_and_each_has_its_order() -> None:
    ordering = OrderingPolicy(name=OrderingName.SJF, guard_seconds=NEVER)
    world = World(policy_of(ordering=ordering))
    for name, tokens in (("a", 30), ("a", 20), ("a", 10), ("b", 20), ("b", 10)):
        world.wait(DEFAULT, tokens, name)
    served = [world.serve() for _ in range(5)]
    assert [t.tenant.id for t in served[:4]] == ["a", "b", "a", "b"]
    assert [t.work.output_tokens for t in served] == [10, 10, 20, 20, 30]


def test_one_that_comes_back_or_is_overdue_is_first_of_its_tenant() -> None:
    ordering = OrderingPolicy(name=OrderingName.SJF, guard_seconds=10.0, guard_factor=2.0)
    world = World(policy_of(ordering=ordering))
    long = world.wait(tokens=1_000)
    world.now += 2 * long.work.service_seconds - 0.001
    short = world.wait(tokens=10)
    assert world.first() is short
    world.now += 0.001
    assert world.first() is long
    back = world.serve()
    world.wait(tokens=1)
    world.pool.settle(back, (0, 0), world.now)
    world.pool.restore(back, world.now)
    assert world.first() is back
    assert back.waiting


def test_what_is_learned_of_a_waiting_request_moves_it() -> None:
    ordering = OrderingPolicy(name=OrderingName.SJF, guard_seconds=10.0, guard_factor=2.0)
    world = World(policy_of(ordering=ordering))
    first, second = world.wait(tokens=100), world.wait(tokens=200)
    world.pool.rerank(second, work(50), 4)
    assert world.turn() == [second, first]
    assert second.work == work(50)
    assert second.guard_at == world.now + 10.0
    world.pool.rerank(second, work(5_000), 4)
    assert second.guard_at == world.now + 2 * work(5_000).service_seconds
    expected = first.work.service_seconds + work(5_000).service_seconds
    assert world.pool.service_ahead(DEFAULT) == pytest.approx(expected)


# What lower classes earn


@dataclass(frozen=True)
class Dispatched:
    """One dispatch of a long run.

    Attributes:
        ticket: Who.
        best: The best class in which somebody waited before it.
    """

    ticket: Ticket
    best: ServiceClass


def random_run(
    trickle: Mapping[ServiceClass, float], dispatches: int, seed: int = 1
) -> Iterator[Dispatched]:
    """Random arrivals of all classes, in bursts; the queue runs empty now and then.

    Lengths vary by three orders of magnitude.
    """
    random, world = Random(seed), World(policy_of(trickle))  # noqa: S311  reproducible
    waiting: Counter[ServiceClass] = Counter()
    busy = 0.0
    for _ in range(dispatches):
        while not waiting.total() or random.random() < busy:
            item = random.choice([PRIORITY, SCALE, DEFAULT, DEFAULT, FLEX, BATCH])
            world.wait(item, 10 ** random.uniform(0, 3), f"t{random.randrange(3)}")
            waiting[item] += 1
            busy = 0.0 if waiting.total() > 200 else random.random() * 0.8
        world.now += 0.01
        best = next(item for item in ServiceClass if waiting[item])
        served = world.serve()
        waiting[served.service_class] -= 1
        yield Dispatched(served, best)


def inversions(trickle: Mapping[ServiceClass, float], dispatches: int) -> int:
    """Dispatches of a class that neither was the best nor has a trickle."""
    return sum(
        item.ticket.service_class is not item.best
        and not trickle.get(item.ticket.service_class, 0.0)
        for item in random_run(trickle, dispatches)
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("trickle", [NO_TRICKLE, {FLEX: 0.05, BATCH: 0.02}])
def test_no_class_goes_before_a_better_one(trickle: Mapping[ServiceClass, float]) -> None:
    assert inversions(trickle, 50_000) == 0


@pytest.mark.slow
def test_what_goes_before_a_better_class_was_earned() -> None:
    """Never more than the share of what better classes were given, and one request."""
    trickle = {FLEX: 0.05, BATCH: 0.1}
    given_to = dict.fromkeys(ServiceClass, 0.0)
    early = dict.fromkeys(ServiceClass, 0.0)
    for item in random_run(trickle, 20_000):
        own = item.ticket.service_class
        if own is not item.best:
            early[own] += item.ticket.charged
            above = sum(given_to[better] for better in ServiceClass if better.rank < own.rank)
            assert early[own] <= trickle[own] * above
        given_to[own] += item.ticket.charged
    assert early[FLEX] > 0
    assert early[BATCH] > 0


def shares(trickle: float, turns: int, lower_tokens: float = 100) -> dict[ServiceClass, float]:
    """Tokens by class where both always have somebody waiting, as parts of the first's."""
    world = World(policy_of({BATCH: trickle}))
    given_to = dict.fromkeys(ServiceClass, 0.0)
    for _ in range(3):
        world.wait(DEFAULT, 100)
        world.wait(BATCH, lower_tokens)
    for _ in range(turns):
        served = world.serve()
        given_to[served.service_class] += served.charged
        world.wait(served.service_class, served.work.output_tokens)
    return {item: tokens / given_to[DEFAULT] for item, tokens in given_to.items()}


@pytest.mark.parametrize("trickle", [0.01, 0.05, 0.25])
@pytest.mark.parametrize("lower_tokens", [7, 100, 900])
def test_a_trickle_is_a_share_of_what_better_classes_are_given(
    trickle: float, lower_tokens: float
) -> None:
    got = shares(trickle, 3_000, lower_tokens)
    assert got[BATCH] == pytest.approx(trickle, rel=0.05, abs=0.004)


def test_without_a_trickle_a_lower_class_waits() -> None:
    assert shares(0.0, 500)[BATCH] == 0


def test_a_class_that_was_empty_has_earned_nothing() -> None:
    world = World(policy_of({BATCH: 0.5}))
    for _ in range(100):
        world.wait(DEFAULT)
    for _ in range(50):
        world.serve()
    for _ in range(5):
        world.wait(BATCH)
    served = classes([world.serve() for _ in range(6)])
    assert served.count(BATCH) == 2
    assert served[0] is DEFAULT


def test_what_a_class_had_earned_is_gone_when_nobody_waits_in_it() -> None:
    world = World(policy_of({BATCH: 0.5}))
    leaves = world.wait(BATCH, tokens=100)
    for _ in range(50):
        world.wait(DEFAULT)
    for _ in range(15):
        world.serve()
    world.pool.remove(leaves, world.now)
    world.wait(BATCH, tokens=10)
    assert classes([world.serve() for _ in range(3)]) == [DEFAULT, DEFAULT, BATCH]


def test_a_class_that_is_held_back_saves_up_for_one_request_only() -> None:
    """Its tenant's own limit keeps it from its turn; it must not make up for that in a burst."""
    world = World(policy_of({BATCH: 0.5}))
    for _ in range(200):
        world.wait(DEFAULT)
        world.wait(BATCH)
    for _ in range(100):
        assert world.serve(lambda t: t.service_class is not BATCH).service_class is DEFAULT
    served = classes([world.serve() for _ in range(9)])
    assert served.count(BATCH) <= 4


def test_a_tenant_at_its_limit_does_not_keep_its_class_from_its_trickle() -> None:
    world = World(policy_of({BATCH: 0.5}))
    for _ in range(100):
        world.wait(DEFAULT, name="a")
    world.wait(BATCH, tokens=1, name="capped")
    for _ in range(20):
        world.wait(BATCH, tokens=100, name="b")
    served = [world.serve(lambda t: t.tenant.id != "capped") for _ in range(60)]
    assert sum(t.charged for t in served if t.service_class is BATCH) > 0


def test_an_expensive_request_waits_until_it_is_earned_and_lets_no_other_pass() -> None:
    world = World(policy_of({BATCH: 0.1}))
    world.wait(BATCH, tokens=100)
    world.wait(BATCH, tokens=1)
    for _ in range(200):
        world.wait(DEFAULT, tokens=10)
    served = [world.serve() for _ in range(102)]
    assert classes(served[:100]) == [DEFAULT] * 100
    assert (served[100].service_class, served[100].work.output_tokens) == (BATCH, 100)
    assert served[101].service_class is DEFAULT


def test_a_trickle_is_one_request_and_then_better_classes() -> None:
    """One that does not fit on any backend must not be followed by others of its class."""
    world = World(policy_of({BATCH: 0.5}))
    for _ in range(4):
        world.wait(DEFAULT)
        world.wait(BATCH)
    world.serve()
    world.serve()
    assert classes(world.turn())[:3] == [BATCH, DEFAULT, DEFAULT]


def test_a_tenant_at_its_limit_is_passed_over() -> None:
    world = World()
    for name in ("a", "b"):
        for _ in range(2):
            world.wait(PRIORITY, name=name)
    world.wait(DEFAULT, name="a")
    turn = [t.tenant.id for t in world.pool.in_turn(world.now, lambda t: t.tenant.id != "a")]
    assert turn == ["b", "b"]


# What waits, and for how long


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.sampled_from(ServiceClass), st.integers(1, 500), st.sampled_from("abc")),
        max_size=25,
    ),
    st.data(),
)
def test_what_is_said_of_the_waiting_adds_up(
    requests: list[tuple[ServiceClass, int, str]], data: st.DataObject
) -> None:
    world = World()
    waiting = []
    for item, tokens, name in requests:
        waiting.append(world.wait(item, tokens, name))
        world.now += 1.0
        if data.draw(st.booleans()):
            leaves = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
            world.pool.remove(leaves, world.now)
            assert not leaves.waiting
    pool = world.pool
    pool.check()
    assert set(pool.everybody()) == set(waiting)
    assert pool.waiting == len(waiting)
    assert pool.best_class() == min(classes(waiting), key=lambda c: c.rank, default=None)
    for item in ServiceClass:
        assert pool.waiting_in(item) == classes(waiting).count(item)
        ahead = [t for t in waiting if t.service_class.rank <= item.rank]
        total = sum(t.work.service_seconds for t in ahead)
        assert pool.service_ahead(item) == pytest.approx(total, abs=1e-9)
    assert pool.oldest() is min(waiting, key=lambda t: t.enqueued, default=None)


def test_each_class_expires_after_its_own_time() -> None:
    policy = policy_of()
    limits = {**policy.classes, BATCH: ClassLimits(ttl_seconds=500.0)}
    world = World(SchedulingPolicy(classes=limits, ordering=policy.ordering))
    batch, default = world.wait(BATCH), world.wait(DEFAULT)
    world.now += 60.0
    assert world.pool.expired(world.now) == []
    world.now += 0.1
    assert world.pool.expired(world.now) == [default]
    world.now += 500.0
    assert set(world.pool.expired(world.now)) == {default, batch}


def test_the_last_of_the_last_class_gives_its_place_to_a_better_one() -> None:
    world = World()
    world.wait(FLEX)
    first, last = world.wait(BATCH), world.wait(BATCH)
    back = world.serve()
    assert back.service_class is FLEX
    assert world.pool.shed(BATCH) is None
    assert world.pool.shed(FLEX) is last
    assert world.pool.shed(PRIORITY) is last
    world.pool.remove(last, world.now)
    assert world.pool.shed(FLEX) is first
    world.pool.remove(first, world.now)
    world.pool.restore(back, world.now)
    assert world.pool.shed(PRIORITY) is None  # it had its turn once


def test_it_is_the_tenant_who_was_given_most_that_gives_a_place() -> None:
    world = World()
    for name in "aab":
        world.wait(BATCH, name=name)
    world.serve()
    victim = world.pool.shed(DEFAULT)
    assert victim is not None
    assert victim.tenant.id == "a"


def test_a_request_without_work_waits_too() -> None:
    for name in OrderingName:
        policy = policy_of(ordering=OrderingPolicy(name=name))
        world = World(policy)
        world.pool.arrived(NO_WORK, 0, world.now)
        nothing = world.ask(DEFAULT)
        nothing.work = NO_WORK
        world.pool.add(nothing, 0, world.now)
        assert world.serve() is nothing


def test_head_starts_are_measured_by_what_is_usual() -> None:
    """The same request is ranked with a larger head start where the wait has been long."""
    ordering = OrderingPolicy(name=OrderingName.BOOST, gamma=None, gamma_share=1.0)
    world = World(policy_of(ordering=ordering))
    short, usual = [], work(200)
    for load in (1, 400):
        for _ in range(load):
            world.pool.arrived(usual, 1, world.now)
            world.wait(tokens=200)
        world.now += 1_000
        world.pool.arrived(usual, 1, world.now)
        short.append(world.now - world.wait(tokens=1).rank)
    assert short[1] > 2 * short[0]


@pytest.mark.parametrize("clock", [[0.0, 50.0], [50.0, 0.0], [0.0, 1e9]])
def test_what_is_usual_survives_any_clock(clock: list[float]) -> None:
    world = World(policy_of(ordering=OrderingPolicy(name=OrderingName.BOOST)))
    for now in clock:
        world.now = now
        world.wait()
    assert len(world.turn()) == 2


def test_the_check_finds_a_wrong_count() -> None:
    world = World()
    world.wait()
    world.pool.check()
    world.pool.waiting = 2
    with pytest.raises(AssertionError, match="add up"):
        world.pool.check()
