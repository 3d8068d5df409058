"""The books against a worker that knows only what jobs tell it."""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alise_vllm.tier.eviction import Arc, Lru, Policy
from alise_vllm.tier.ewt import Ewt, Waits
from alise_vllm.tier.levels import EXTENTS, Level
from alise_vllm.tier.store import Found, HostStore
from fakes.tier import SHAPE, SLAB, World, visitor

POLICIES: list[Callable[[], Policy]] = [
    Lru,
    Arc,
    Ewt,
    lambda: Ewt(waits=Waits(expected=lambda name: float(len(name)))),
]
NAMES = st.sampled_from(["a", "b", "cc", "ddd"])
KEYS = st.lists(st.integers(0, 15).map(lambda number: bytes([number])), max_size=5, unique=True)
LIMITS = st.integers(1, 8).map(lambda chunks: chunks * EXTENTS)


class Engine(RuleBasedStateMachine):
    @initialize(policy=st.sampled_from(POLICIES), limit=LIMITS)
    def start(self, policy: Callable[[], Policy], limit: int) -> None:
        self.world = World(policy, limit)

    @rule(name=NAMES, keys=KEYS)
    def put(self, name: str, keys: list[bytes]) -> None:
        self.world.put(name, keys)

    @rule(name=NAMES, keys=KEYS)
    def load(self, name: str, keys: list[bytes]) -> None:
        self.world.load(name, keys)

    @rule(flush=st.booleans(), fail=st.booleans())
    def step(self, flush: bool, fail: bool) -> None:
        self.world.step(flush, fail)

    @rule(name=NAMES)
    def end(self, name: str) -> None:
        self.world.end(name)

    @rule(level=st.sampled_from(Level))
    def change_level(self, level: Level) -> None:
        self.world.store.level = level

    @rule(policy=st.sampled_from(POLICIES))
    def change_policy(self, policy: Callable[[], Policy]) -> None:
        self.world.store.change_policy(policy())

    @rule(limit=LIMITS)
    def resize(self, limit: int) -> None:
        # Between steps: there is no load that was not submitted.
        self.world.step(flush=False)
        self.world.store.resize(limit)

    @rule()
    def reset(self) -> None:
        self.world.step(flush=False)
        self.world.reset()

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.finish()


TestEngine = Engine.TestCase


def keys(count: int, start: int = 0) -> list[bytes]:
    return [number.to_bytes(2, "big") for number in range(start, start + count)]


def full(level: Level) -> World:
    world = World(Lru, 100 * EXTENTS)
    world.store.level = level
    world.put("a", keys(100 * EXTENTS // SHAPE.extents_at(level)))
    world.step(flush=True)
    world.end("a")
    return world


@pytest.mark.parametrize("before", Level)
@pytest.mark.parametrize("after", Level)
def test_a_level_changes_both_ways_under_a_full_store(before: Level, after: Level) -> None:
    world = full(before)
    held = len(world.store)
    world.store.level = after
    coming = keys(10, start=1_000)
    world.put("b", coming)
    world.step(flush=True)

    # What left is what did not fit, not more; the rest can still be read.
    freed = 10 * SHAPE.extents_at(after) - (100 * EXTENTS - held * SHAPE.extents_at(before))
    gone = -(-freed // SHAPE.extents_at(before))
    assert len(world.store) == held - gone + 10
    world.load("c", [key for key, _ in world.store.items()])
    world.step(flush=False)


def test_int8_and_int4_hold_more() -> None:
    none, int8, int4 = (len(full(level).store) for level in Level)

    assert int8 >= 1.9 * none
    assert int4 >= 3.7 * none


def test_a_lower_capacity_keeps_what_was_used_last_and_gives_memory_back() -> None:
    world = full(Level.INT8)
    world.store.resize(40 * EXTENTS)
    while world.store.unsettled:
        world.step(flush=False)
    # In reverse: of one request the head leaves last.
    kept = {key for key, _ in world.store.items()}
    assert kept == set(keys(40 * EXTENTS // SHAPE.extents_at(Level.INT8)))

    world.load("b", sorted(kept))
    world.step(flush=False)
    assert max(world.worker.memory) < 40 * EXTENTS + SLAB


def test_what_is_read_now_stays_although_the_capacity_falls() -> None:
    world = full(Level.NONE)
    held = keys(100)[50:60]
    world.load("b", held)
    world.store.resize(5 * EXTENTS)
    for _ in range(100):
        world.store.settle(8)
    assert {key for key, _ in world.store.items()} == set(held)

    world.step(flush=False)
    world.finish()
    assert len(world.store) == 5


def test_a_request_that_comes_back_is_told_from_one_that_finds() -> None:
    world = World(Lru, 10 * EXTENTS)
    world.put("a", keys(4))
    world.step(flush=True)
    world.load("a", keys(3))
    world.load("b", keys(2))
    world.step(flush=False)

    assert (world.store.counts.loaded, world.store.counts.restored) == (5, 3)


def test_what_does_not_fit_is_refused_and_nothing_leaves() -> None:
    store = HostStore(SHAPE, 2 * EXTENTS, Level.NONE, Lru())
    request = store.visit()
    store.put(keys(2), request, visitor("a"))
    store.commit(keys(2))

    assert store.put(keys(3, start=10), request, visitor("a")) is None
    assert store.counts.refused == 3
    assert store.look(keys(1)[0]) is Found.READY


def test_a_key_that_is_told_twice_gets_room_once() -> None:
    store = HostStore(SHAPE, EXTENTS, Level.NONE, Lru())

    put = store.put(keys(1) * 2, store.visit(), visitor("a"))

    assert put is not None
    assert list(put.chunks) == keys(1)


def moved() -> World:
    """Two chunks were moved to the places of two that left, and no worker was told yet."""
    world = World(Lru, 4 * EXTENTS)
    for name, two in (("a", keys(2)), ("b", keys(2, start=2))):
        world.put(name, two)
        world.step(flush=True)
        world.end(name)
    world.store.resize(2 * EXTENTS)
    world.store.settle(9)
    assert not world.store.unsettled
    return world


def test_a_move_that_two_jobs_tell_is_made_once() -> None:
    world = moved()
    first, second = keys(2, start=8)
    world.put("c", [first])
    world.put("d", [second])
    world.step(flush=True)

    world.load("e", [first, second])
    world.step(flush=False)


def test_a_job_that_overtakes_makes_the_moves_that_the_other_tells() -> None:
    world = moved()
    (stays, _), (comes,) = keys(2, start=2), keys(1, start=8)
    world.load("c", [stays])
    world.put("d", [comes])
    world.step(flush=True)

    world.load("e", [stays, comes])
    world.step(flush=False)
