"""Which chunk goes: each policy by what it promises, all by what every policy has to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alise_vllm.tier.eviction import Arc, Lru
from alise_vllm.tier.ewt import Ewt, Waits
from fakes.tier import visitor

A, B = visitor("a"), visitor("b")
POLICIES: list[Callable[[], Any]] = [Lru, Arc, Ewt]


@dataclass
class Chunk:
    ref_cnt: int = 0


def key(number: int) -> bytes:
    return bytes([number])


def filled(policy: Any, keys: str, request: Any = A) -> Any:
    """``keys`` are brought by one request, the head of its prompt first."""
    names = [one.encode() for one in keys]
    policy.on_store_miss(names, request)
    for name in names:
        policy.insert(name, Chunk())
    return policy


def finish(policy: Any, request: Any, brought: str = "", found: str = "") -> None:
    names = [one.encode() for one in brought + found]
    policy.on_request_finished(
        [names], {one.encode() for one in brought}, {one.encode() for one in found}, request
    )


def goes(policy: Any, count: int, protected: str = "") -> str | None:
    evicted = policy.evict(count, {one.encode() for one in protected})
    return None if evicted is None else b"".join(name for name, _ in evicted).decode()


@pytest.mark.parametrize("make", POLICIES)
def test_the_tail_of_a_request_goes_before_its_head(make: Callable[[], Any]) -> None:
    policy = filled(make(), "abc")
    finish(policy, A, "abc")

    assert goes(policy, 2) == "cb"
    assert policy.get(b"a") is not None
    assert policy.get(b"b") is None


@pytest.mark.parametrize("make", POLICIES)
def test_the_request_that_ended_first_goes_first(make: Callable[[], Any]) -> None:
    policy = filled(filled(make(), "ab", A), "cd", B)
    finish(policy, B, "cd")
    finish(policy, A, "ab")

    assert goes(policy, 3) == "dcb"


@pytest.mark.parametrize("make", POLICIES)
def test_what_is_copied_or_protected_stays_and_too_many_are_none(make: Callable[[], Any]) -> None:
    policy = filled(make(), "abcd")
    finish(policy, A, "abcd")
    policy.get(b"d").ref_cnt = 1
    policy.get(b"c").ref_cnt = -1

    assert goes(policy, 2, protected="a") is None
    assert goes(policy, 1, protected="a") == "b"
    policy.get(b"d").ref_cnt = 0
    assert goes(policy, 2) == "da"
    assert goes(policy, 1) is None
    assert goes(policy, 0) == ""


@pytest.mark.parametrize("make", POLICIES)
def test_what_is_removed_or_cleared_is_gone(make: Callable[[], Any]) -> None:
    policy = filled(make(), "abc")
    policy.remove(b"b")
    assert policy.get(b"b") is None
    assert goes(policy, 3) is None

    policy.clear()
    assert policy.get(b"a") is None
    assert goes(policy, 1) is None


KEYS = st.lists(st.integers(0, 9).map(key), max_size=4, unique=True)
REQUESTS = st.sampled_from([A, B, visitor("c")])


class AnyPolicy(RuleBasedStateMachine):
    """Whatever happens, it holds what was inserted and did not leave."""

    @initialize(make=st.sampled_from(POLICIES))
    def start(self, make: Callable[[], Any]) -> None:
        self.policy = make()
        self.held: dict[bytes, Chunk] = {}

    @rule(request=REQUESTS, keys=KEYS)
    def bring(self, request: Any, keys: list[bytes]) -> None:
        new = [one for one in keys if one not in self.held]
        self.policy.on_store_miss(new, request)
        for one in new:
            self.held[one] = Chunk()
            self.policy.insert(one, self.held[one])

    @rule(request=REQUESTS, keys=KEYS)
    def finish(self, request: Any, keys: list[bytes]) -> None:
        self.policy.on_request_finished([keys], set(keys[:1]), set(keys[1:]), request)

    @rule(request=REQUESTS, keys=KEYS)
    def use(self, request: Any, keys: list[bytes]) -> None:
        self.policy.on_use([one for one in keys if one in self.held], request)

    @rule(request=REQUESTS, keys=KEYS)
    def touch(self, request: Any, keys: list[bytes]) -> None:
        self.policy.touch(keys, request)

    @rule(keys=KEYS, references=st.integers(-1, 1))
    def copy(self, keys: list[bytes], references: int) -> None:
        for one in keys:
            if one in self.held:
                self.held[one].ref_cnt = references

    @rule(keys=KEYS)
    def remove(self, keys: list[bytes]) -> None:
        for one in keys:
            if self.held.pop(one, None):
                self.policy.remove(one)

    @rule(count=st.integers(0, 5), protected=KEYS.map(set))
    def evict(self, count: int, protected: set[bytes]) -> None:
        may = {one for one, chunk in self.held.items() if not chunk.ref_cnt} - protected
        evicted = self.policy.evict(count, protected)
        assert (evicted is None) == (len(may) < count)
        for one, chunk in evicted or ():
            assert one in may
            assert self.held.pop(one) is chunk

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "policy"):
            here = {one for one in map(key, range(10)) if self.policy.get(one)}
            assert here == self.held.keys()
            if isinstance(self.policy, Arc):
                assert 0 <= self.policy.share <= 10


TestAnyPolicy = AnyPolicy.TestCase


class OrderOfUse(RuleBasedStateMachine):
    """``Lru`` against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.policy, self.order = Lru(), list[bytes]()

    @rule(one=st.integers(0, 9).map(key))
    def bring(self, one: bytes) -> None:
        if one not in self.order:
            self.policy.insert(one, Chunk())
            self.order.append(one)

    @rule(keys=KEYS)
    def touch(self, keys: list[bytes]) -> None:
        self.policy.touch(keys, A)
        known = [one for one in reversed(keys) if one in self.order]
        self.order = [one for one in self.order if one not in known] + known

    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(0, len(self.order)))
        evicted = self.policy.evict(count, set())
        assert evicted is not None
        assert [one for one, _ in evicted] == self.order[:count]
        del self.order[:count]


TestOrderOfUse = OrderOfUse.TestCase


def test_arc_spares_what_was_found_again() -> None:
    policy = filled(Arc(), "ab")
    finish(policy, A, "ab")
    finish(policy, B, found="ab")
    filled(policy, "cdef", A)
    finish(policy, A, "cdef")

    assert goes(policy, 4) == "fedc"
    assert goes(policy, 2) == "ba"


def test_arc_learns_from_what_it_let_go_too_early() -> None:
    policy = filled(Arc(), "ab")
    finish(policy, A, "ab")
    finish(policy, B, found="ab")
    filled(policy, "cd", A)
    finish(policy, A, "cd")
    assert goes(policy, 2) == "dc"

    filled(policy, "c", B)
    assert policy.share == 1
    filled(policy, "e", B)
    # One that was seen once is not more than its share, so one that was seen again goes.
    assert goes(policy, 1) == "b"

    filled(policy, "b", B)
    assert policy.share == 0


WAITS = {"a": 1.0, "b": 30.0, "c": 5.0}


def test_the_longest_wait_goes_first_and_who_has_ended_before_all() -> None:
    policy = Ewt(waits=Waits(expected=WAITS.get))
    for name in "abc":
        filled(policy, name + name.upper(), visitor(name))
    filled(policy, "xX", visitor("ended"))
    finish(policy, visitor("ended"), "xX")
    filled(policy, "uU", visitor("unknown"))

    assert goes(policy, 10) == "XxUuBbCcAa"


def test_a_chunk_is_as_near_as_the_first_of_those_who_use_it() -> None:
    policy = Ewt(waits=Waits(expected=WAITS.get))
    filled(policy, "s", visitor("b"))
    policy.on_use([b"s"], visitor("a"))
    filled(policy, "c", visitor("c"))
    assert goes(policy, 1) == "c"

    finish(policy, visitor("a"), found="s")
    filled(policy, "c", visitor("c"))
    assert goes(policy, 2) == "sc"


def test_without_waits_the_remaining_length_counts_and_without_both_it_is_lru() -> None:
    longer = Ewt(waits=Waits(remaining=WAITS.get))
    plain = Ewt()
    for policy in (longer, plain):
        for name in "abc":
            filled(policy, name, visitor(name))

    assert goes(longer, 3) == "bca"
    assert goes(plain, 3) == "abc"


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -1.0, "soon"])
def test_a_wait_that_is_none_is_unknown_and_counted(nonsense: Any) -> None:
    waits = Waits(expected=lambda _: nonsense)
    policy = Ewt(waits=waits)
    filled(policy, "a")

    assert goes(policy, 1) == "a"
    assert waits.ignored == 1
