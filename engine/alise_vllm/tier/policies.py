"""Eviction as classes of vLLM's ``CachePolicy``, and vLLM's own as policies of the tier.

The classes also work in vLLM's stock offloading to host memory (CUDA and XPU): ``eviction_policy``
"EwtPolicy" and ``cache_policy_module_path`` "alise_vllm.tier.policies" in its extra config.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alise_core.errors import ConfigError
from alise_vllm.tier.eviction import Arc, Key, Lru, Policy, Visitor
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


class LearnsAtTheEnd:
    """What vLLM's own lack: they learn what a request used when it ends."""

    def on_use(self, keys: Sequence[Key], req_context: Visitor) -> None:
        """Counts when the request ends."""


class VllmLru(LearnsAtTheEnd, LRUCachePolicy):
    """``vllm:lru``."""


class VllmArc(LearnsAtTheEnd, ARCCachePolicy):
    """``vllm:arc``."""


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
        return VllmLru(ROOM)
    if name == "vllm:arc":
        return VllmArc(ROOM)
    return LruPolicy()


if TYPE_CHECKING:
    _: type[Policy] = LruPolicy
