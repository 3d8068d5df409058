"""Extents against a set of numbers."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alise_vllm.tier.extents import ExtentPool


class Extents(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pool = ExtentPool(5)
        self.taken: list[list[int]] = []

    @property
    def numbers(self) -> list[int]:
        return [extent for some in self.taken for extent in some]

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(0, self.pool.free))
        some = self.pool.take(count)
        assert len(some) == count
        assert not set(some) & set(self.numbers)
        assert all(extent < self.pool.limit for extent in some)
        self.taken.append(some)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        self.pool.give(self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1))))

    @rule(limit=st.integers(0, 12))
    def resize(self, limit: int) -> None:
        self.pool.resize(limit)

    @precondition(lambda self: self.pool.stray)
    @rule()
    def replace(self) -> None:
        some = next(some for some in self.taken if max(some, default=-1) >= self.pool.limit)
        extent = some.pop(some.index(max(some)))
        lower = self.pool.replace(extent)
        full = sum(one < self.pool.limit for one in self.numbers) == self.pool.limit
        assert (lower is None) == full
        some.append(extent if lower is None else lower)

    @rule()
    def clear(self) -> None:
        self.pool.clear()
        self.taken = []

    @invariant()
    def counts(self) -> None:
        numbers = self.numbers
        assert len(numbers) == len(set(numbers)) == self.pool.used
        assert self.pool.free == max(0, self.pool.limit - len(numbers))
        assert self.pool.stray == sum(extent >= self.pool.limit for extent in numbers)
        assert self.pool.end == max([self.pool.limit, *(extent + 1 for extent in numbers)])


TestExtents = Extents.TestCase


def test_neighbours_stay_neighbours() -> None:
    pool = ExtentPool(8)
    first, second = pool.take(3), pool.take(3)
    pool.give(first)
    assert pool.take(3) == first == [0, 1, 2]
    assert second == [3, 4, 5]
