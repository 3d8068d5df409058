"""Eviction as classes of vLLM's ``CachePolicy``, and vLLM's own as policies of the tier.

The classes also work in vLLM's stock offloading to host memory (CUDA and XPU): ``eviction_policy``
"EwtPolicy" and ``cache_policy_module_path`` "alise_vllm.tier.policies" in its extra config.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from alise_core.errors import ConfigError
from alise_vllm.tier.eviction import Arc, Evicted, Held, Key, Lru, Policy, Visitor
from alise_vllm.tier.ewt import Ewt, Waits

try:
    from vllm.v1.kv_offload.cpu.policies.arc import ARCCachePolicy
    from vllm.v1.kv_offload.cpu.policies.base import CachePolicy
    from vllm.v1.kv_offload.cpu.policies.lru import LRUCachePolicy
except ImportError as error:
    raise ConfigError(
        f"alise_vllm.tier runs inside vLLM and needs its KV offloading of 0.32: {error}"
    ) from error

ROOM = 1 << 20
"""Capacity that vLLM's own policies are told, in chunks. Its ARC bounds by it what it remembers
of chunks that left; how many there is room for depends on their level."""


class LruPolicy(Lru, CachePolicy):
    """``lru``."""


class ArcPolicy(Arc, CachePolicy):
    """``arc``."""


class EwtPolicy(Ewt, CachePolicy):
    """``ewt``."""


class VllmPolicy:
    """One of vLLM's own."""

    def __init__(self, inner: CachePolicy) -> None:
        self.inner = inner

    def insert(self, key: Key, chunk: Held) -> None:
        """A chunk got room."""
        self.inner.insert(key, chunk)

    def remove(self, key: Key) -> None:
        """A chunk could not be written."""
        self.inner.remove(key)

    def on_use(self, keys: Sequence[Key], req_context: Visitor) -> None:
        """Not known to vLLM, whose policies learn it when the request ends."""

    def on_store_miss(self, keys: Iterable[Key], req_context: Visitor) -> None:
        """A request brings these."""
        self.inner.on_store_miss(keys, req_context)

    def on_request_finished(
        self,
        key_groups: Sequence[Sequence[Key]],
        insertion_only_keys: set[Key],
        reused_keys: set[Key],
        req_context: Visitor,
    ) -> None:
        """A request has ended."""
        self.inner.on_request_finished(key_groups, insertion_only_keys, reused_keys, req_context)

    def evict(self, n: int, protected: set[Key]) -> Evicted | None:
        """Let ``n`` chunks go."""
        evicted: Evicted | None = self.inner.evict(n, protected)
        return evicted

    def clear(self) -> None:
        """Forget everything."""
        self.inner.clear()

    def mark_evictable(self, key: Key) -> None:
        """Its last copy has ended."""
        self.inner.mark_evictable(key)

    def mark_non_evictable(self, key: Key) -> None:
        """Its first copy begins."""
        self.inner.mark_non_evictable(key)


def make_policy(name: str, waits: Waits) -> Policy:
    """An empty policy.

    Args:
        name: One of ``EVICTIONS``.
        waits: Where ``ewt`` learns how long requests wait.
    """
    if name == "ewt":
        return EwtPolicy(waits=waits)
    if name == "arc":
        return ArcPolicy()
    if name == "vllm:lru":
        return VllmPolicy(LRUCachePolicy(ROOM))
    if name == "vllm:arc":
        return VllmPolicy(ARCCachePolicy(ROOM))
    return LruPolicy()


if TYPE_CHECKING:
    _: type[Policy] = LruPolicy
