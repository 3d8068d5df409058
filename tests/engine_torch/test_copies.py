"""Copies on CPU tensors: at once, and on lanes that take their time as a GPU's do."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alise_vllm.tier.codec import pack, unpack
from alise_vllm.tier.copies import Copied, Copies, HostMemory, InlineLane, Mark
from alise_vllm.tier.eviction import Lru
from alise_vllm.tier.levels import EXTENTS, ChunkShape, Level
from alise_vllm.tier.places import Places
from alise_vllm.tier.store import HostStore, Visit
from fakes.clock import FakeClock
from fakes.tier import visitor

LAYERS, BLOCKS, PAGE = 3, 12, 2_048
SHAPE = ChunkShape(LAYERS * PAGE, 2)
DTYPE = torch.bfloat16


@dataclass
class LateMark:
    """A point that is reached when the test says so."""

    lane: "LateLane"
    at: int

    def reached(self) -> bool:
        return self.lane.done >= self.at

    def wait(self) -> None:
        self.lane.done = max(self.lane.done, self.at)

    def seconds_since(self, earlier: Mark) -> float:
        assert isinstance(earlier, LateMark)
        return float(self.at - earlier.at)


class LateLane:
    def __init__(self) -> None:
        self.told = 0
        self.done = 0

    def enter(self) -> AbstractContextManager[object]:
        return nullcontext()

    def mark(self) -> LateMark:
        self.told += 1
        return LateMark(self, self.told)


def random_blocks() -> list[torch.Tensor]:
    """As vLLM hands them over: bytes, of a layout in which layers alternate."""
    values = torch.randn(BLOCKS, LAYERS, PAGE // 2).to(DTYPE)
    raw = values.view(torch.int8)
    return [raw[:, layer] for layer in range(LAYERS)]


def memory(slab_bytes: int = 5_000) -> HostMemory:
    return HostMemory(SHAPE.extent_bytes, pinned=False, slab_bytes=slab_bytes)


def make(blocks: list[torch.Tensor], lanes: int = 0) -> Copies:
    both = (LateLane(), LateLane()) if lanes else (InlineLane(FakeClock()),) * 2
    return Copies(blocks, SHAPE, DTYPE, memory(), both)


def block(blocks: list[torch.Tensor], number: int) -> torch.Tensor:
    return torch.cat([layer[number] for layer in blocks]).view(torch.uint8)


class Books(RuleBasedStateMachine):
    """Random stores, loads and changes: what comes back is what was there, to the bit."""

    @initialize(seed=st.integers(0, 99))
    def start(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.blocks = random_blocks()
        self.copies = make(self.blocks)
        self.store = HostStore(SHAPE, 6 * EXTENTS, Level.NONE, Lru())
        self.visit: Visit = self.store.visit()
        self.expected: dict[bytes, torch.Tensor] = {}
        self.job = 0

    @rule(sources=st.lists(st.integers(0, BLOCKS - 1), min_size=1, max_size=4, unique=True))
    def put(self, sources: list[int]) -> None:
        keys = [f"{self.job}.{source}".encode() for source in sources]
        put = self.store.put(keys, self.visit, visitor("a"))
        if put is None:
            return
        for key in put.evicted:
            del self.expected[key]
        for key, source in zip(keys, sources, strict=True):
            raw, level = block(self.blocks, source)[None], self.store.level
            self.expected[key] = unpack(pack(raw, level, DTYPE), level, DTYPE)[0]
        places = Places.of(list(put.chunks.values()), self.store.layout())
        self.copies.store(self.job, sources, places)
        self.done()
        self.store.commit(keys)

    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        keys = list(dict(self.store.items()))[: data.draw(st.integers(0, 5))]
        targets = data.draw(st.permutations(range(BLOCKS)))[: len(keys)]
        if not keys:
            return
        others = {n: block(self.blocks, n).clone() for n in range(BLOCKS) if n not in targets}
        places = Places.of(self.store.pin(keys, self.visit, visitor("a")), self.store.layout())
        self.copies.load(self.job, places, targets)
        self.done()
        self.store.unpin(keys)
        for key, target in zip(keys, targets, strict=True):
            assert torch.equal(block(self.blocks, target), self.expected[key])
        assert all(torch.equal(block(self.blocks, n), raw) for n, raw in others.items())

    @rule(level=st.sampled_from(Level))
    def change_level(self, level: Level) -> None:
        self.store.level = level

    @rule(chunks=st.integers(1, 9))
    def resize(self, chunks: int) -> None:
        self.store.resize(chunks * EXTENTS)

    @rule()
    def settle(self) -> None:
        for key in self.store.settle(2):
            del self.expected[key]

    def done(self) -> None:
        assert [each.job for each in self.copies.finished()] == [self.job]
        assert self.copies.finished() == []
        self.job += 1

    @invariant()
    def same_keys(self) -> None:
        if hasattr(self, "store"):
            assert dict(self.store.items()).keys() == self.expected.keys()


TestBooks = Books.TestCase


def places(*extents: range, level: Level = Level.NONE, end: int = 9_999) -> Places:
    return Places((level,) * len(extents), tuple(map(tuple, extents)), 0, (), end)


def test_jobs_on_lanes_are_reported_when_they_are_done_and_once() -> None:
    blocks = random_blocks()
    stores, loads = LateLane(), LateLane()
    copies = Copies(blocks, SHAPE, DTYPE, memory(), (stores, loads))
    copies.store(7, [0], places(range(EXTENTS)))
    copies.store(8, [1], places(range(EXTENTS, 2 * EXTENTS)))
    copies.load(9, places(range(EXTENTS)), [5])
    assert copies.finished() == []

    stores.done = 2
    assert copies.finished() == [Copied(7, SHAPE.raw_bytes, 1.0)]
    copies.wait({8, 9, 77})
    assert [each.job for each in copies.finished()] == [8, 9]
    assert copies.finished() == []
    assert torch.equal(block(blocks, 5), block(blocks, 0))


def test_a_job_mixes_levels() -> None:
    blocks = random_blocks()
    copies = make(blocks)
    mixed = Places(
        (Level.INT4, Level.NONE, Level.INT8),
        (tuple(range(17)), tuple(range(100, 164)), tuple(range(33, 0 + 66))),
        0,
        (),
        9_999,
    )
    before = [block(blocks, number).view(DTYPE).float() for number in range(3)]
    copies.store(0, [0, 1, 2], mixed)
    copies.load(1, mixed, [6, 7, 8])

    (stored, loaded) = copies.finished()
    size = sum(SHAPE.bytes_at(level) for level in Level)
    assert stored.size_bytes == loaded.size_bytes == size
    after = [block(blocks, number).view(DTYPE).float() for number in range(6, 9)]
    assert torch.equal(after[1], before[1])
    off = [float((new - old).norm() / old.norm()) for new, old in zip(after, before, strict=True)]
    assert 0 == off[1] < off[2] < 0.01 < off[0] < 0.15


def test_many_chunks_are_copied_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alise_vllm.tier.copies.BATCH_BYTES", 2 * SHAPE.raw_bytes)
    blocks = random_blocks()
    copies = make(blocks)
    where = places(*(range(start, start + EXTENTS) for start in range(0, 5 * EXTENTS, EXTENTS)))
    copies.store(0, [0, 1, 2, 3, 4], where)
    copies.load(1, where, [11, 10, 9, 8, 7])

    assert {each.size_bytes for each in copies.finished()} == {5 * SHAPE.raw_bytes}
    for number in range(5):
        assert torch.equal(block(blocks, 11 - number), block(blocks, number))


def test_neighbours_are_one_piece_and_slabs_are_made_and_given_back_as_needed() -> None:
    host = HostMemory(SHAPE.extent_bytes, pinned=False, slab_bytes=100 * SHAPE.extent_bytes)
    pieces = list(host.pieces([0, 1, 2, 7, 99, 100], 6 * SHAPE.extent_bytes))
    assert [offset // SHAPE.extent_bytes for offset, _ in pieces] == [0, 3, 4, 5]
    assert host.bytes == 200 * SHAPE.extent_bytes

    host.arrange(places(end=100))
    assert host.bytes == 100 * SHAPE.extent_bytes
    host.arrange(places(end=0))
    assert host.bytes == 0


def test_the_last_extent_may_not_be_full() -> None:
    host = HostMemory(10, pinned=False)
    ((offset, piece),) = host.pieces([4, 5], 13)

    assert (offset, piece.shape[0]) == (0, 13)
