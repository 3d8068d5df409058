"""Which chunks of KV are in host memory, where, and which of them are being copied; pure.

The engine's scheduler asks and decides here; the worker copies to where it is told and keeps no
books. A chunk keeps the level that it was packed at, so a change of level concerns what comes.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from alise_vllm.tier.eviction import Key, Policy, Visitor
from alise_vllm.tier.extents import ExtentPool
from alise_vllm.tier.levels import EXTENTS, ChunkShape, Level


class Found(Enum):
    """What is known of a key."""

    MISSING = auto()
    PENDING = auto()
    """It is being written."""
    READY = auto()


@dataclass(slots=True, eq=False)
class Chunk:
    """A chunk in host memory.

    Attributes:
        level: How it is packed.
        extents: Where its bytes lie, in order.
        told: Moves that the job which writes it was told of, and all before them.
        ref_cnt: Copies that read it now; -1 until it is written. The name is vLLM's, whose
            policies read it.
    """

    level: Level
    extents: list[int]
    told: int
    ref_cnt: int = -1

    @property
    def is_ready(self) -> bool:
        """Whether it can be read; for vLLM's policies."""
        return self.ref_cnt >= 0


@dataclass(slots=True, eq=False)
class Visit:
    """What one request did here; policies learn it when the request ends."""

    generation: int
    keys: dict[Key, None] = field(default_factory=dict)
    brought: set[Key] = field(default_factory=set)
    found: set[Key] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Put:
    """What to write where.

    Attributes:
        chunks: By key, in the order asked for; what is here already is not among them.
        evicted: What made room.
    """

    chunks: dict[Key, Chunk]
    evicted: list[Key]


@dataclass(slots=True)
class Counts:
    """Since the start, in chunks.

    Attributes:
        stored: Written.
        loaded: Read back.
        restored: Of those, by the very request that brought them: it was preempted.
        evicted: Left to make room.
        refused: Not written, because what could leave was not enough.
    """

    stored: int = 0
    loaded: int = 0
    restored: int = 0
    evicted: int = 0
    refused: int = 0


@dataclass(slots=True)
class Layout:
    """What a worker has to have done to its memory before a copy.

    vLLM submits some jobs of a step in another order than they were made in, so every job tells
    all moves that may be new to the worker, and the worker makes each once, in order.

    Attributes:
        first: How many moves there were before these.
        moves: From, to, one extent each.
        end: No extent from here on is in use.
    """

    first: int
    moves: list[tuple[int, int]]
    end: int


class HostStore:
    """The chunks of one engine.

    Args:
        shape: Of a chunk, in one worker.
        limit: Extents there are, in one worker.
        level: How chunks that come are packed.
        policy: Empty; says what leaves.
    """

    def __init__(self, shape: ChunkShape, limit: int, level: Level, policy: Policy) -> None:
        self.shape = shape
        self.level = level
        self.counts = Counts()
        self.by_level = dict.fromkeys(Level, 0)
        self._policy = policy
        self._pool = ExtentPool(limit)
        # The least recently used first: the order in which a new policy gets to know them.
        self._chunks: OrderedDict[Key, Chunk] = OrderedDict()
        self._idle_extents = 0
        self._generation = 0
        self._moves_before = 0
        self._moves: list[tuple[int, int]] = []
        self._to_move: deque[Key] = deque()

    # What there is

    def __len__(self) -> int:
        """Chunks, unwritten ones among them."""
        return len(self._chunks)

    def items(self) -> Iterable[tuple[Key, Chunk]]:
        """All chunks, the least recently used first."""
        return self._chunks.items()

    @property
    def limit(self) -> int:
        """Extents there are."""
        return self._pool.limit

    @property
    def used(self) -> int:
        """Extents in use."""
        return self._pool.used

    def look(self, key: Key) -> Found:
        """Whether a chunk is here."""
        chunk = self._chunks.get(key)
        if chunk is None:
            return Found.MISSING
        return Found.READY if chunk.is_ready else Found.PENDING

    def visit(self) -> Visit:
        """For a request that comes."""
        return Visit(self._generation)

    def is_current(self, visit: Visit) -> bool:
        """Whether a visit is of now and not from before everything was forgotten."""
        return visit.generation == self._generation

    # Copies

    def pin(self, keys: Collection[Key], visit: Visit, visitor: Visitor) -> list[Chunk]:
        """Hold chunks that are about to be read; they are ready."""
        for key in keys:
            chunk = self._chunks[key]
            if chunk.ref_cnt == 0:
                self._idle_extents -= len(chunk.extents)
                self._policy.mark_non_evictable(key)
            chunk.ref_cnt += 1
        self.counts.restored += sum(key in visit.brought for key in keys)
        self._note(keys, visit)
        visit.found.update(key for key in keys if key not in visit.brought)
        self._policy.on_use(list(keys), visitor)
        return [self._chunks[key] for key in keys]

    def unpin(self, keys: Iterable[Key]) -> None:
        """Let go of chunks that were read."""
        for key in keys:
            chunk = self._chunks[key]
            chunk.ref_cnt -= 1
            self.counts.loaded += 1
            if chunk.ref_cnt == 0:
                self._rest(key, chunk)

    def put(self, keys: Sequence[Key], visit: Visit, visitor: Visitor) -> Put | None:
        """Find room for chunks that are about to be written.

        Returns: None when there is not so much room; nothing has changed then.
        """
        ready = [key for key in keys if self.look(key) is Found.READY]
        new = [key for key in dict.fromkeys(keys) if key not in self._chunks]
        self._note([key for key in keys if self.look(key) is not Found.PENDING], visit)
        visit.found.update(key for key in ready if key not in visit.brought)
        self._policy.on_use(ready, visitor)
        if not new:
            return Put({}, [])
        self._policy.on_store_miss(new, visitor)
        each = self.shape.extents_at(self.level)
        evicted = self._make_room(each * len(new), set(keys))
        if evicted is None:
            self.counts.refused += len(new)
            return None
        told = self._moves_before + len(self._moves)
        chunks = {key: Chunk(self.level, self._pool.take(each), told) for key in new}
        for key, chunk in chunks.items():
            self._chunks[key] = chunk
            self._policy.insert(key, chunk)
        self.by_level[self.level] += len(new)
        visit.brought.update(new)
        return Put(chunks, evicted)

    def commit(self, keys: Iterable[Key]) -> list[Key]:
        """Chunks are written and can be read; those that were until now not."""
        done = []
        for key in keys:
            chunk = self._chunks.get(key)
            if chunk is not None and not chunk.is_ready:
                chunk.ref_cnt = 0
                self._rest(key, chunk)
                self._forget_moves(chunk.told)
                done.append(key)
        self.counts.stored += len(done)
        return done

    def abandon(self, keys: Iterable[Key]) -> None:
        """Chunks could not be written."""
        for key in keys:
            chunk = self._chunks.get(key)
            if chunk is not None and not chunk.is_ready:
                self._policy.remove(key)
                self._drop(key)

    def leave(self, visit: Visit, visitor: Visitor) -> None:
        """A request has ended."""
        keys = list(visit.keys) if self.is_current(visit) else []
        for key in reversed(keys):
            if key in self._chunks:
                self._chunks.move_to_end(key)
        self._policy.on_request_finished(
            (tuple(keys),), visit.brought - visit.found, visit.found, visitor
        )

    def clear(self) -> None:
        """Forget everything, what is being copied too; its copies are not reported any more."""
        self._generation += 1
        self._chunks.clear()
        self.by_level = dict.fromkeys(Level, 0)
        self._policy.clear()
        self._pool.clear()
        self._idle_extents = 0
        self._forget_moves(self._moves_before + len(self._moves))
        self._to_move.clear()

    def layout(self) -> Layout:
        """What the worker has to have done to its memory before a job that is made now."""
        return Layout(self._moves_before, list(self._moves), self._pool.end)

    # Changes while it runs

    def change_policy(self, policy: Policy) -> None:
        """Hand all chunks to another policy, which is empty."""
        for key, chunk in self._chunks.items():
            policy.insert(key, chunk)
        self._policy = policy

    def resize(self, limit: int) -> None:
        """Change how many extents there are.

        What lies beyond a lower limit leaves or moves as ``settle`` is called.
        """
        self._pool.resize(limit)
        self._to_move = deque(self._chunks) if self._pool.stray else deque()

    @property
    def unsettled(self) -> bool:
        """Whether ``settle`` has something to do."""
        return self._pool.stray > 0

    def settle(self, most: int) -> list[Key]:
        """Bring a few chunks below the limit, so that a change of it does not hold up the engine.

        Args:
            most: Chunks to let go, and to look at for moving. What is being copied has to wait.

        Returns: What had to leave.
        """
        gone: list[Key] = []
        while self._pool.used > self._pool.limit and len(gone) < most:
            lacking = -(-(self._pool.used - self._pool.limit) // EXTENTS)
            some = self._evict(min(lacking, most - len(gone)), set()) or self._evict(1, set())
            if not some:
                break
            gone += some
        for _ in range(min(most, len(self._to_move)) if self.unsettled else 0):
            key = self._to_move.popleft()
            chunk = self._chunks.get(key)
            if chunk is not None and not self._pull_below(chunk):
                self._to_move.append(key)
        return gone

    # Inside

    def _note(self, keys: Iterable[Key], visit: Visit) -> None:
        visit.keys.update(dict.fromkeys(keys))

    def _rest(self, key: Key, chunk: Chunk) -> None:
        self._idle_extents += len(chunk.extents)
        self._policy.mark_evictable(key)

    def _forget_moves(self, done: int) -> None:
        """So many moves since the start have been made by all workers."""
        new = done - self._moves_before
        if new > 0:
            del self._moves[:new]
            self._moves_before = done

    def _make_room(self, extents: int, protected: set[Key]) -> list[Key] | None:
        """Evict until so many extents are free; None, and nothing changes, when that cannot be."""
        if extents <= self._pool.free:
            return []
        kept = sum(
            len(chunk.extents)
            for key in protected
            if (chunk := self._chunks.get(key)) is not None and chunk.ref_cnt == 0
        )
        if self._pool.used + extents - (self._idle_extents - kept) > self._pool.limit:
            return None
        evicted: list[Key] = []
        while (lacking := self._pool.used + extents - self._pool.limit) > 0:
            # No chunk frees more than one that is not packed, so these are never too many.
            some = self._evict(-(-lacking // EXTENTS), protected)
            if not some:
                return None
            evicted += some
        return evicted

    def _evict(self, count: int, protected: set[Key]) -> list[Key]:
        gone = [key for key, _ in self._policy.evict(count, protected) or ()]
        for key in gone:
            self._idle_extents -= len(self._drop(key).extents)
        self.counts.evicted += len(gone)
        return gone

    def _drop(self, key: Key) -> Chunk:
        chunk = self._chunks.pop(key)
        self._pool.give(chunk.extents)
        self.by_level[chunk.level] -= 1
        return chunk

    def _pull_below(self, chunk: Chunk) -> bool:
        """Move a chunk; False when that has to wait."""
        limit = self._pool.limit
        if max(chunk.extents) < limit:
            return True
        if chunk.ref_cnt != 0:
            return False
        for place, extent in enumerate(chunk.extents):
            if extent >= limit:
                lower = self._pool.replace(extent)
                if lower is None:
                    return False
                chunk.extents[place] = lower
                self._moves.append((extent, lower))
        return True
