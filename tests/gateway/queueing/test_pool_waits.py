"""How long a newcomer would wait in a pool."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.policy import (
    OrderingName,
    OrderingPolicy,
)
from alise_core.service_class import ServiceClass
from fakes.pool_world import BATCH, DEFAULT, NEVER, PRIORITY, World, policy_of
from fakes.tickets import Asked, tenant, ticket, work


def wait_seconds(world: World, item: ServiceClass = DEFAULT, name: str = "me") -> float:
    return world.pool.wait_seconds(world.ask(item, name=name), 4.0)


def test_a_newcomer_waits_for_better_classes_and_for_who_ranks_before_it() -> None:
    world = World()
    assert wait_seconds(world) == 0
    one = work(10).service_seconds
    world.wait(PRIORITY)
    world.wait(BATCH)
    assert wait_seconds(world) == pytest.approx(one / 4)
    world.wait(DEFAULT, name="me")
    assert wait_seconds(world) == pytest.approx(2 * one / 4)
    # Of the other tenant's three, fairness lets as many go before as of its own, and its own turn.
    for _ in range(3):
        world.wait(DEFAULT, name="other")
    assert wait_seconds(world) == pytest.approx((2 + 2) * one / 4)


def test_a_newcomer_that_ranks_first_waits_for_nobody_of_its_own() -> None:
    ordering = OrderingPolicy(name=OrderingName.SJF, guard_seconds=NEVER)
    world = World(policy_of(ordering=ordering))
    for _ in range(5):
        world.wait(DEFAULT, tokens=100, name="me")
    assert wait_seconds(world) == 0
    long = ticket(99, 1_000, enqueued=world.now, asked=Asked(tenant("me")))
    assert world.pool.wait_seconds(long, 4.0) == pytest.approx(5 * work(100).service_seconds / 4)


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.sampled_from(ServiceClass), st.sampled_from(["me", "b", "c"])), max_size=15
    )
)
def test_the_wait_rises_with_what_waits_and_falls_with_the_places(
    requests: list[tuple[ServiceClass, str]],
) -> None:
    world = World()
    before = dict.fromkeys(ServiceClass, 0.0)
    for item, name in requests:
        world.wait(item, name=name)
        for asked in ServiceClass:
            now = wait_seconds(world, asked)
            assert now >= before[asked] - 1e-9
            if asked.rank < item.rank:
                assert now == pytest.approx(before[asked])
            assert now <= world.pool.service_ahead(asked) / 4 + 1e-9
            before[asked] = now
    asked_for = world.ask(BATCH)
    waits = [world.pool.wait_seconds(asked_for, parallel) for parallel in (0, 1, 2, 8)]
    assert waits == sorted(waits, reverse=True)
