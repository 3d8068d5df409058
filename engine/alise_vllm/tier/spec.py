"""The tier in vLLM's terms: a manager for its scheduler and a worker for each of its ranks.

Everything is decided by the manager. A copy job carries the places of its chunks, so that workers
need not be told of a change, and are in step with the books without a word more.
"""

import math
import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from alise_core.clock import MonotonicClock
from alise_core.errors import ConfigError
from alise_vllm.tier.levels import ChunkShape
from alise_vllm.tier.places import Places
from alise_vllm.tier.policies import make_policy
from alise_vllm.tier.settings import Bounds, parse_settings
from alise_vllm.tier.store import Chunk, Found, Visit
from alise_vllm.tier.tuning import Tier

try:
    import torch
    from vllm.v1.kv_offload.base import (
        LoadStoreSpec,
        LookupResult,
        Medium,
        OffloadingEvent,
        OffloadingManager,
        OffloadingSpec,
        OffloadingWorker,
        PrepareStoreOutput,
        RequestOffloadingContext,
        TransferResult,
    )
    from vllm.v1.metrics.cache_hit_source import CacheHitSource
except ImportError as error:
    raise ConfigError(
        f"alise_vllm.tier runs inside vLLM and needs its KV offloading of 0.32: {error}"
    ) from error

from alise_vllm.tier.copies import Copies, HostMemory, InlineLane, Lane, StreamLane

if TYPE_CHECKING:
    from vllm.v1.kv_offload.base import (
        CanonicalKVCaches,
        GPULoadStoreSpec,
        OffloadKey,
        ReqContext,
        ScheduleEndContext,
    )
    from vllm.v1.kv_offload.config import OffloadingConfig

SETTINGS = "alise_tier"
"""The tier's section of the settings, in the connector's extra config."""
AT_ONCE = 64
"""Chunks that leave or move between two steps after the capacity has fallen; a few milliseconds."""
_LOOKUPS = {
    Found.MISSING: LookupResult.MISS,
    Found.PENDING: LookupResult.HIT_PENDING,
    Found.READY: LookupResult.HIT,
}
_PACKABLE = ("bfloat16", "float16", "float32")


class TierSpec(OffloadingSpec):
    """What vLLM makes manager and worker with.

    Raises:
        ConfigError: The settings are wrong, or chunks of several blocks are asked for.
    """

    def __init__(self, config: "OffloadingConfig") -> None:
        super().__init__(config)
        self._settings = parse_settings(self.extra_config.get(SETTINGS))
        if self.blocks_per_chunk != 1:
            raise ConfigError(
                f"'blocks_per_chunk' {self.blocks_per_chunk} is not for the host KV tier, "
                "which copies single blocks; leave it out"
            )
        # What was generated is kept too, so that a preempted request need not start over.
        self.offload_prompt_only = bool(self.extra_config.get("offload_prompt_only", False))
        dtype = config.model.dtype if len(config.groups) == 1 else ""
        element_bytes = getattr(torch, dtype).itemsize if dtype in _PACKABLE else 0
        self._shape = ChunkShape(config.worker_kv_bytes_per_block, element_bytes)
        self._dtype = getattr(torch, dtype) if element_bytes else torch.uint8
        self._manager: TierManager | None = None
        self._worker: TierWorker | None = None

    def get_manager(self) -> "TierManager":
        """For the scheduler; always the same."""
        if self._manager is None:
            bounds = Bounds(self._shape, self.config.parallel.world_size, _machine_bytes())
            tokens = math.gcd(*self.tokens_per_block)
            tier = Tier(self._settings, bounds, tokens, make_policy)
            self._manager = TierManager(tier, events=self.kv_events_config.enable_kv_cache_events)
        return self._manager

    def get_worker(self, kv_caches: "CanonicalKVCaches") -> "TierWorker":
        """For a rank; always the same.

        Raises:
            ConfigError: Its KV is not of the size that the scheduler was told.
        """
        if self._worker is None:
            blocks = [each.tensor for each in kv_caches.tensors]
            size = sum(block.shape[1] for block in blocks)
            if size != self._shape.raw_bytes:
                raise ConfigError(
                    f"a KV block has {size} bytes here and {self._shape.raw_bytes} for the "
                    "scheduler; the host KV tier does not know this model's layout: leave it out"
                )
            self._worker = TierWorker(make_copies(blocks, self._shape, self._dtype))
        return self._worker


def make_copies(blocks: list["torch.Tensor"], shape: ChunkShape, dtype: "torch.dtype") -> Copies:
    """Copies for the device that the blocks are on."""
    device = blocks[0].device
    on_gpu = device.type == "cuda"
    memory = HostMemory(shape.extent_bytes, pinned=on_gpu)
    lanes: tuple[Lane, Lane]
    if on_gpu:
        lanes = StreamLane(device), StreamLane(device)
    else:
        lanes = InlineLane(MonotonicClock()), InlineLane(MonotonicClock())
    return Copies(blocks, shape, dtype, memory, lanes)


class TierPlaces(LoadStoreSpec):
    """``Places`` for vLLM to carry."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def __repr__(self) -> str:
        return f"{len(self.places.levels)} chunks"


class TierWorker(OffloadingWorker):
    """Copies to and from one rank's KV."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies

    def submit_store(
        self, job_id: int, src_spec: "GPULoadStoreSpec", dst_spec: "LoadStoreSpec"
    ) -> bool:
        """Begin to store."""
        self._copies.store(job_id, src_spec.block_ids.tolist(), dst_spec.places)
        return True

    def submit_load(
        self, job_id: int, src_spec: "LoadStoreSpec", dst_spec: "GPULoadStoreSpec"
    ) -> bool:
        """Begin to load."""
        self._copies.load(job_id, src_spec.places, dst_spec.block_ids.tolist())
        return True

    def get_finished(self) -> list["TransferResult"]:
        """What is done."""
        return [
            TransferResult(each.job, True, each.size_bytes, each.seconds)
            for each in self._copies.finished()
        ]

    def wait(self, job_ids: set[int]) -> None:
        """Return when these are done."""
        self._copies.wait(job_ids)


class TierManager(OffloadingManager):
    """The tier's books, for vLLM's scheduler."""

    def __init__(self, tier: Tier, *, events: bool) -> None:
        self.tier = tier
        self._store = tier.store
        self._events: list[OffloadingEvent] | None = [] if events else None

    def lookup(self, key: "OffloadKey", req_context: "ReqContext") -> "LookupResult":
        """Whether a chunk is here."""
        return _LOOKUPS[self._store.look(key)]

    def get_load_source(self, key: "OffloadKey", req_context: "ReqContext") -> "CacheHitSource":
        """Host memory."""
        return CacheHitSource.HOST

    def prepare_load(self, keys: Collection["OffloadKey"], req_context: "ReqContext") -> TierPlaces:
        """Hold chunks until ``complete_load``."""
        chunks = self._store.pin(keys, self._visit(req_context), req_context)
        return self._places(chunks)

    def complete_load(self, keys: Collection["OffloadKey"], req_context: "ReqContext") -> None:
        """They are loaded."""
        self._store.unpin(keys)

    def prepare_store(
        self, keys: Collection["OffloadKey"], req_context: "ReqContext"
    ) -> "PrepareStoreOutput | None":
        """Find room for chunks; None when there is none."""
        put = self._store.put(list(keys), self._visit(req_context), req_context)
        if put is None:
            return None
        self._tell(put.evicted, removed=True)
        places = self._places(list(put.chunks.values()))
        return PrepareStoreOutput(list(put.chunks), places, put.evicted)

    def complete_store(
        self, keys: Collection["OffloadKey"], req_context: "ReqContext", success: bool = True
    ) -> None:
        """They are stored, or could not be."""
        if success:
            self._tell(self._store.commit(keys), removed=False)
        else:
            self._store.abandon(keys)

    def on_new_request(self, req_context: "ReqContext") -> "RequestOffloadingContext":
        """A request comes; what is new of it is stored."""
        req_context.set_state(self._store.visit())
        return RequestOffloadingContext()

    def on_request_finished(self, req_context: "ReqContext") -> None:
        """A request has ended."""
        self._store.leave(self._visit(req_context), req_context)

    def on_schedule_end(self, context: "ScheduleEndContext") -> None:
        """A step is planned: go on with a lower capacity."""
        if self._store.unsettled:
            self._tell(self._store.settle(AT_ONCE), removed=True)

    def has_pending_work(self) -> bool:
        """Whether steps are needed even without requests."""
        return self._store.unsettled

    def take_events(self) -> Iterable["OffloadingEvent"]:
        """What came and went since the last time."""
        if self._events:
            told, self._events = self._events, []
            yield from told

    def reset_cache(self) -> None:
        """Forget everything."""
        self._store.clear()

    def _visit(self, req_context: "ReqContext") -> Visit:
        visit: Visit | None = req_context.get_state(Visit)
        if visit is None or not self._store.is_current(visit):
            visit = self._store.visit()
            req_context.set_state(visit)
        return visit

    def _places(self, chunks: list[Chunk]) -> TierPlaces:
        return TierPlaces(Places.of(chunks, self._store.layout()))

    def _tell(self, keys: list["OffloadKey"], *, removed: bool) -> None:
        if keys and self._events is not None:
            self._events.append(OffloadingEvent(keys, Medium.CPU, removed))


def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
