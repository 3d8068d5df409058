"""An engine around the host KV tier's books: requests, steps, and a worker that copies labels.

The worker's memory holds, extent by extent, which chunk was written there and which piece of it,
so that a chunk that is loaded from a place where something else lies is found out. Jobs run in the
order in which vLLM submits them: loads in their own step, stores at the start of the next, but for
those that have to be flushed, which run before the loads of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

from alise_vllm.tier.eviction import Key, Policy
from alise_vllm.tier.levels import EXTENTS, ChunkShape, Level
from alise_vllm.tier.places import Places
from alise_vllm.tier.store import Found, HostStore, Visit

SLAB = 3 * EXTENTS
"""Extents that a worker gives back together."""
SHAPE = ChunkShape(EXTENTS * 128, 2)
"""The smallest that all levels are for."""


@dataclass
class Request:
    req_id: str
    visit: Visit
    ends: bool = False

    def get_offload_key_position(self, key: Key) -> int | None:
        """As vLLM's policies ask it."""
        return None


@dataclass
class Job:
    request: Request
    keys: list[Key]
    places: Places


@dataclass
class Worker:
    """Knows nothing but what jobs tell it."""

    memory: dict[int, tuple[Key, int]] = field(default_factory=dict)
    moves_made: int = 0

    def arrange(self, places: Places) -> None:
        for source, target in places.new_moves(self.moves_made):
            if source in self.memory:
                self.memory[target] = self.memory[source]
        self.moves_made = max(self.moves_made, places.first + len(places.moves))
        self.memory = {
            at: what for at, what in self.memory.items() if at // SLAB * SLAB < places.end
        }

    def store(self, job: Job) -> None:
        self.arrange(job.places)
        for key, extents in zip(job.keys, job.places.extents, strict=True):
            for piece, extent in enumerate(extents):
                assert extent < job.places.end
                self.memory[extent] = (key, piece)

    def load(self, job: Job) -> None:
        self.arrange(job.places)
        for key, extents in zip(job.keys, job.places.extents, strict=True):
            found = [self.memory.get(extent) for extent in extents]
            assert found == [(key, piece) for piece in range(len(extents))]


class World:
    """Books, requests and a worker; after every change ``check`` must hold."""

    def __init__(self, policy: Callable[[], Policy], limit: int) -> None:
        self.store = HostStore(SHAPE, limit, Level.NONE, policy())
        self.worker = Worker()
        self.requests: dict[str, Request] = {}
        self.loads: list[Job] = []
        self.stores: list[Job] = []
        self.running: list[Job] = []
        self.at_level: dict[Key, Level] = {}

    def arrive(self, name: str) -> Request:
        return self.requests.setdefault(name, Request(name, self.store.visit()))

    def put(self, name: str, keys: list[Key]) -> None:
        request, before = self.arrive(name), dict(self.store.items())
        new = [key for key in keys if key not in before]
        put = self.store.put(keys, request.visit, request)
        if put is None:
            assert {key: chunk.ref_cnt for key, chunk in before.items()} == {
                key: chunk.ref_cnt for key, chunk in self.store.items()
            }
            assert self.store.used + len(new) * SHAPE.extents_at(self.store.level) > (
                self.store.limit
            )
            return
        assert list(put.chunks) == new
        assert not set(put.evicted) & set(keys)
        assert all(before[key].ref_cnt == 0 for key in put.evicted)
        self.at_level |= dict.fromkeys(new, self.store.level)
        if new:
            chunks = list(put.chunks.values())
            self.stores.append(Job(request, new, Places.of(chunks, self.store.layout())))

    def load(self, name: str, keys: list[Key]) -> None:
        request = self.arrive(name)
        ready = [key for key in keys if self.store.look(key) is Found.READY]
        if ready:
            chunks = self.store.pin(ready, request.visit, request)
            self.loads.append(Job(request, ready, Places.of(chunks, self.store.layout())))

    def step(self, flush: bool, fail: bool = False) -> None:
        """What was made since the last step is submitted, what was submitted is done."""
        self.store.settle(2)
        stores, flushed = self.running, []
        if flush:
            flushed, self.stores = self.stores, []
        for job in [*stores, *flushed]:
            self.worker.store(job)
        for job in self.loads:
            self.worker.load(job)
        for job in [*stores, *flushed]:
            if fail:
                self.store.abandon(job.keys)
            else:
                assert self.store.commit(job.keys) == job.keys
        for job in self.loads:
            self.store.unpin(job.keys)
        self.running, self.stores, self.loads = self.stores, [], []
        self.check()

    def end(self, name: str) -> None:
        request = self.requests.pop(name, None)
        if request is not None:
            self.store.leave(request.visit, request)

    def reset(self) -> None:
        """vLLM forgets the jobs, too; requests go on."""
        for job in [*self.running, *self.stores]:
            self.worker.store(job)
        self.store.clear()
        self.running, self.stores, self.loads = [], [], []
        for request in self.requests.values():
            request.visit = self.store.visit()

    def check(self) -> None:
        chunks = dict(self.store.items())
        used = [extent for chunk in chunks.values() for extent in chunk.extents]
        assert len(used) == len(set(used)) == self.store.used
        # Nothing is lost for being copied, or counted twice.
        reading = [key for job in self.loads for key in job.keys]
        writing = {key for job in [*self.running, *self.stores] for key in job.keys}
        for key, chunk in chunks.items():
            assert chunk.ref_cnt == (-1 if key in writing else reading.count(key))
            assert chunk.level is self.at_level[key]
            assert len(chunk.extents) == SHAPE.extents_at(chunk.level)
        assert writing | set(reading) <= chunks.keys()
        assert self.store.by_level == {
            level: sum(chunk.level is level for chunk in chunks.values()) for level in Level
        }

    def finish(self) -> None:
        """Everything comes to rest below the limit."""
        for name in list(self.requests):
            self.end(name)
        for _ in range(len(self.store) + 3):
            self.step(flush=False)
        assert self.store.used <= self.store.limit
        assert not self.store.unsettled
        assert all(chunk.ref_cnt == 0 for _, chunk in self.store.items())
        assert all(max(chunk.extents) < self.store.limit for _, chunk in self.store.items())


def visitor(name: str) -> SimpleNamespace:
    return SimpleNamespace(req_id=name)
