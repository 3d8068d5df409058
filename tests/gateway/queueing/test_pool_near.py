"""Whose turn is near in a pool."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from alise_core.policy import FairnessPolicy, OrderingName, OrderingPolicy
from alise_gateway.domain.request import TenantLimits
from alise_gateway.queueing.events import Ticket
from fakes.pool_world import BATCH, PRIORITY, World, policy_of
from fakes.queue_bench import backend
from fakes.tickets import Asked, tenant, ticket

_BUSY = tenant("busy", limits=TenantLimits(max_in_flight=1))
_FREE = tenant("free", limits=TenantLimits(max_in_flight=1))
_OTHERS = (tenant("a"), tenant("b"))


def _may_dispatch(ticket: Ticket) -> bool:
    """``busy`` has as many in flight as it may have."""
    return ticket.tenant is not _BUSY


@st.composite
def crowds(draw: st.DrawFn) -> World:
    """Any mixture of classes, tenants, lengths, of requests that came back or are overdue."""
    name = draw(st.sampled_from((OrderingName.FCFS, OrderingName.SJF)))
    ordering = OrderingPolicy(name=name, guard_seconds=5.0, guard_factor=0.0)
    fairness = FairnessPolicy(enabled=draw(st.booleans()))
    world = World(replace(policy_of({BATCH: 0.5}, ordering), fairness=fairness))
    asked = st.builds(
        Asked, st.sampled_from((_BUSY, _FREE, *_OTHERS)), st.sampled_from((PRIORITY, BATCH))
    )
    waits = st.tuples(asked, st.integers(1, 50), st.sampled_from((0.0, 0.5, 6.0)))
    for who, tokens, seconds in draw(st.lists(waits, max_size=12)):
        world.now += seconds
        made = ticket(next(world.numbers), tokens, enqueued=world.now, asked=who)
        world.pool.arrived(made.work, 4, world.now)
        if tokens % 5:
            world.pool.add(made, 4, world.now)
        else:
            world.pool.restore(made, world.now)
            made.tried += [backend()] * (tokens % 2)
    for _ in range(draw(st.integers(0, 2))):
        if next(world.pool.in_turn(world.now, _may_dispatch), None) is not None:
            world.serve(_may_dispatch)
    return world


@given(crowds(), st.integers(1, 6))
def test_who_is_near_is_known_without_going_through_everybody(world: World, places: int) -> None:
    near = set()
    taken = 0
    for each in world.pool.in_turn(world.now, _may_dispatch):
        if taken < places:
            near.add(each.number)
        taken += not each.tried
    found = {
        each.number
        for each in world.pool.everybody()
        if world.pool.is_near(each, places, world.now, _may_dispatch)
    }
    assert found == near
    world.pool.check()
