"""Copies between the device's KV blocks and host memory, as torch operations.

One path for all devices: gather the blocks, pack them where they are, copy the packed bytes. What
differs is the lane that a copy runs on: at once on a CPU, on streams of their own on a GPU, where
host memory is pinned and the engine goes on meanwhile. Buffers on the device need not be kept until
a copy has ended: torch hands their memory out again on the same stream, behind the copy.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch

from alise_core.clock import Clock
from alise_vllm.tier.codec import pack, unpack
from alise_vllm.tier.levels import ChunkShape, Level
from alise_vllm.tier.places import Places

SLAB_BYTES = 64 << 20
"""Host memory is asked for, pinned and given back in pieces of this size."""
BATCH_BYTES = 32 << 20
"""Of KV that is packed at once; on the device that takes a few times as much for a moment."""


class Mark(Protocol):
    """A point on a lane."""

    def reached(self) -> bool:
        """Whether everything before it is done."""
        ...

    def wait(self) -> None:
        """Return when everything before it is done."""
        ...

    def seconds_since(self, earlier: "Mark") -> float:
        """Time between two points that were reached."""
        ...


class Lane(Protocol):
    """Where copies of one direction run, one after the other."""

    def enter(self) -> AbstractContextManager[object]:
        """What torch is told within runs on this lane, after all that the engine told it before."""
        ...

    def mark(self) -> Mark:
        """The point after all that was told until now."""
        ...


@dataclass(frozen=True, slots=True)
class _Now:
    """A point on a lane that does things at once."""

    at: float

    def reached(self) -> bool:
        return True

    def wait(self) -> None:
        return

    def seconds_since(self, earlier: Mark) -> float:
        return self.at - earlier.at if isinstance(earlier, _Now) else 0.0


class InlineLane:
    """Copies are made when they are told: on a CPU."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def enter(self) -> AbstractContextManager[object]:
        """Nothing to change."""
        return nullcontext()

    def mark(self) -> Mark:
        """Reached already."""
        return _Now(self._clock.now())


class _Event:
    """A point on a CUDA stream."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._event = torch.cuda.Event(enable_timing=True)
        self._event.record(stream)

    def reached(self) -> bool:
        return bool(self._event.query())

    def wait(self) -> None:
        self._event.synchronize()

    def seconds_since(self, earlier: Mark) -> float:
        if not isinstance(earlier, _Event):
            return 0.0
        return float(earlier._event.elapsed_time(self._event)) / 1_000


class StreamLane:
    """Copies run on a stream of their own: on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def enter(self) -> AbstractContextManager[object]:
        """The stream, after what the engine's stream has been told."""
        self._stream.wait_stream(torch.cuda.current_stream())
        context: AbstractContextManager[object] = torch.cuda.stream(self._stream)
        return context

    def mark(self) -> Mark:
        """An event."""
        return _Event(self._stream)


class HostMemory:
    """The extents that chunks lie in, as bytes; slabs of them come into being when written.

    Args:
        extent_bytes: Size of an extent.
        pinned: Whether a GPU reads and writes it directly.
        slab_bytes: Size of a slab, about.
    """

    def __init__(self, extent_bytes: int, *, pinned: bool, slab_bytes: int = SLAB_BYTES) -> None:
        self._extent_bytes = extent_bytes
        self.pinned = pinned
        self._per_slab = max(1, slab_bytes // extent_bytes)
        self._slabs: dict[int, torch.Tensor] = {}
        self._moves_made = 0

    @property
    def bytes(self) -> int:
        """Memory that is held."""
        return len(self._slabs) * self._per_slab * self._extent_bytes

    def arrange(self, places: Places) -> None:
        """Move what has to move and give back what is no longer needed."""
        for source, target in places.new_moves(self._moves_made):
            self._extent(target).copy_(self._extent(source))
        self._moves_made = max(self._moves_made, places.first + len(places.moves))
        for slab in [slab for slab in self._slabs if slab * self._per_slab >= places.end]:
            del self._slabs[slab]

    def pieces(self, extents: Sequence[int], size: int) -> Iterator[tuple[int, torch.Tensor]]:
        """A chunk's bytes in as few pieces as possible: offset in the chunk, and the piece.

        Args:
            extents: Of the chunk.
            size: Of the chunk, in bytes; the last extent may not be full.
        """
        start = 0
        while start < len(extents):
            stop = start + 1
            slab = extents[start] // self._per_slab
            while (
                stop < len(extents)
                and extents[stop] == extents[stop - 1] + 1
                and extents[stop] // self._per_slab == slab
            ):
                stop += 1
            offset = start * self._extent_bytes
            length = min(stop * self._extent_bytes, size) - offset
            first = extents[start] % self._per_slab * self._extent_bytes
            yield offset, self._slab(slab)[first : first + length]
            start = stop

    def _extent(self, extent: int) -> torch.Tensor:
        first = extent % self._per_slab * self._extent_bytes
        return self._slab(extent // self._per_slab)[first : first + self._extent_bytes]

    def _slab(self, number: int) -> torch.Tensor:
        slab = self._slabs.get(number)
        if slab is None:
            size = self._per_slab * self._extent_bytes
            slab = torch.empty(size, dtype=torch.uint8, pin_memory=self.pinned)
            self._slabs[number] = slab
        return slab


@dataclass(frozen=True, slots=True)
class Copied:
    """A job that is done.

    Attributes:
        job: Its number.
        size_bytes: Copied to or from host memory.
        seconds: That it took.
    """

    job: int
    size_bytes: int
    seconds: float


@dataclass(slots=True)
class _Job:
    number: int
    size_bytes: int
    start: Mark
    end: Mark


class Copies:
    """Copies whole chunks, which are one device block each.

    Args:
        blocks: The KV of each layer, int8 or uint8, shape (blocks, bytes); any stride.
        shape: Of a chunk: one block of all layers.
        dtype: Of the values.
        memory: Where chunks lie.
        lanes: For stores and for loads.
    """

    def __init__(
        self,
        blocks: Sequence[torch.Tensor],
        shape: ChunkShape,
        dtype: torch.dtype,
        memory: HostMemory,
        lanes: tuple[Lane, Lane],
    ) -> None:
        self._blocks = blocks
        self._shape = shape
        self._dtype = dtype
        self._memory = memory
        self._store_lane, self._load_lane = lanes
        self._running: dict[int, _Job] = {}

    def store(self, job: int, blocks: Sequence[int], places: Places) -> None:
        """Begin to copy blocks to their places; ``finished`` tells when it is done."""
        self._memory.arrange(places)
        with self._store_lane.enter():
            start = self._store_lane.mark()
            size = 0
            for level, members in self._batches(places):
                raw = self._gather([blocks[member] for member in members])
                packed = pack(raw, level, self._dtype)
                size += packed.numel()
                for row, member in enumerate(members):
                    self._write(packed[row], places.extents[member])
            end = self._store_lane.mark()
        self._running[job] = _Job(job, size, start, end)

    def load(self, job: int, places: Places, blocks: Sequence[int]) -> None:
        """Begin to copy what lies at places into blocks; ``finished`` tells when it is done."""
        self._memory.arrange(places)
        with self._load_lane.enter():
            start = self._load_lane.mark()
            size = 0
            for level, members in self._batches(places):
                packed = self._read([places.extents[member] for member in members], level)
                raw = unpack(packed, level, self._dtype)
                size += packed.numel()
                self._scatter(raw, [blocks[member] for member in members])
            end = self._load_lane.mark()
        self._running[job] = _Job(job, size, start, end)

    def finished(self) -> list[Copied]:
        """Jobs that are done and were not reported before."""
        done = [job for job in self._running.values() if job.end.reached()]
        for job in done:
            del self._running[job.number]
        return [
            Copied(job.number, job.size_bytes, job.end.seconds_since(job.start)) for job in done
        ]

    def wait(self, jobs: set[int]) -> None:
        """Return when these jobs are done; ``finished`` still reports them."""
        for number in jobs & self._running.keys():
            self._running[number].end.wait()

    def _batches(self, places: Places) -> Iterator[tuple[Level, list[int]]]:
        """Positions of one level, few enough for the memory that packing takes."""
        most = max(1, BATCH_BYTES // self._shape.raw_bytes)
        for level, members in places.by_level():
            for start in range(0, len(members), most):
                yield level, members[start : start + most]

    def _gather(self, blocks: list[int]) -> torch.Tensor:
        index = self._index(blocks)
        rows = [layer.index_select(0, index).view(torch.uint8) for layer in self._blocks]
        return torch.cat(rows, 1)

    def _scatter(self, raw: torch.Tensor, blocks: list[int]) -> None:
        index, start = self._index(blocks), 0
        for layer in self._blocks:
            stop = start + layer.shape[1]
            layer.index_copy_(0, index, raw[:, start:stop].contiguous().view(layer.dtype))
            start = stop

    def _index(self, blocks: list[int]) -> torch.Tensor:
        # From pageable memory the copy would wait for all that the lane was told before.
        index = torch.tensor(blocks, dtype=torch.int64, pin_memory=self._memory.pinned)
        return index.to(self._blocks[0].device, non_blocking=True)

    def _write(self, packed: torch.Tensor, extents: Sequence[int]) -> None:
        for offset, piece in self._memory.pieces(extents, packed.shape[0]):
            piece.copy_(packed[offset : offset + piece.shape[0]], non_blocking=True)

    def _read(self, chunks: list[Sequence[int]], level: Level) -> torch.Tensor:
        size = self._shape.bytes_at(level)
        device = self._blocks[0].device
        packed = torch.empty((len(chunks), size), dtype=torch.uint8, device=device)
        for row, extents in enumerate(chunks):
            for offset, piece in self._memory.pieces(extents, size):
                packed[row, offset : offset + piece.shape[0]].copy_(piece, non_blocking=True)
        return packed
