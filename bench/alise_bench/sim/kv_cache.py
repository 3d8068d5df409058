"""Paged KV memory: blocks with reference counts and an LRU prefix cache.

In: block requests and the chained hashes of full blocks. Out: block ids. A block is *used*
while a request references it. Released blocks keep their content hash and stay findable until
they are handed out again, oldest release first; such cached blocks count as free, as in vLLM.
Refuses to hand out more blocks than are free (returns ``None``; the scheduler decides who
yields). One block of the configured total is the engine's null block and never handed out.

Source: vLLM ``v1/core/block_pool.py`` and ``v1/core/kv_cache_manager.py`` (version 0.32).
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

BlockHash = int
ROOT_HASH: BlockHash = 0
"""Parent of a request's first block."""


def chain_hashes(
    tokens: Sequence[int], block_size: int, known: list[BlockHash] | None = None
) -> list[BlockHash]:
    """Hashes of the full blocks of ``tokens``; each covers everything before it.

    ``known`` is extended in place when given, so growing sequences hash each block once.
    Hashes of integer tuples do not depend on the interpreter's hash seed.
    """
    hashes = [] if known is None else known
    for start in range(len(hashes) * block_size, len(tokens) - block_size + 1, block_size):
        parent = hashes[-1] if hashes else ROOT_HASH
        hashes.append(hash((parent, *tokens[start : start + block_size])))
    return hashes


class BlockPool:
    """All blocks of one engine.

    Args:
        num_blocks: Total as ``vllm:cache_config_info`` reports it, null block included; >= 2.
        block_size: Tokens per block; >= 1.
        prefix_caching: Whether released blocks stay findable by hash.

    Raises:
        ValueError: A size is too small to hold anything.
    """

    def __init__(self, num_blocks: int, block_size: int, *, prefix_caching: bool = True) -> None:
        if num_blocks < 2 or block_size < 1:  # noqa: PLR2004  the null block plus one
            raise ValueError(f"a pool of {num_blocks} blocks of {block_size} tokens holds nothing")
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.prefix_caching = prefix_caching
        self._references = [0] * num_blocks
        self._hash_of: list[BlockHash | None] = [None] * num_blocks
        self._cached: dict[BlockHash, int] = {}
        # Least recently released first; block 0 is the null block.
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(1, num_blocks))

    @property
    def usable(self) -> int:
        """Blocks that requests can hold together."""
        return self.num_blocks - 1

    @property
    def free(self) -> int:
        """Blocks no request references, cached or not."""
        return len(self._free)

    @property
    def usage_ratio(self) -> float:
        """Share of usable blocks referenced by requests, in [0, 1]."""
        return 1.0 - len(self._free) / self.usable

    def blocks_for(self, tokens: int) -> int:
        """Blocks needed to hold ``tokens`` tokens."""
        return -(-tokens // self.block_size)

    def allocate(self, count: int) -> list[int] | None:
        """Take ``count`` blocks, forgetting what they cached; ``None`` when too few are free."""
        if count > len(self._free):
            return None
        taken = []
        for _ in range(count):
            block, _ = self._free.popitem(last=False)
            self._forget(block)
            self._references[block] = 1
            taken.append(block)
        return taken

    def find(self, hashes: Iterable[BlockHash]) -> list[int]:
        """Blocks holding the longest cached prefix of ``hashes``; does not reference them."""
        found: list[int] = []
        if not self.prefix_caching:
            return found
        for block_hash in hashes:
            block = self._cached.get(block_hash)
            if block is None:
                break
            found.append(block)
        return found

    def free_after_touching(self, blocks: Sequence[int]) -> int:
        """Free blocks that would remain if ``blocks`` were referenced."""
        return len(self._free) - sum(1 for block in blocks if self._references[block] == 0)

    def touch(self, blocks: Sequence[int]) -> None:
        """Reference cached blocks found by :meth:`find`."""
        for block in blocks:
            if self._references[block] == 0:
                del self._free[block]
            self._references[block] += 1

    def register(self, block: int, block_hash: BlockHash) -> None:
        """Make a full, referenced block findable; a second copy of a prefix stays anonymous."""
        if self.prefix_caching and self._hash_of[block] is None and block_hash not in self._cached:
            self._hash_of[block] = block_hash
            self._cached[block_hash] = block

    def release(self, blocks: Sequence[int]) -> None:
        """Drop one reference of each block, the tail first so that prefixes live longest."""
        for block in reversed(blocks):
            self._references[block] -= 1
            if self._references[block] == 0:
                self._free[block] = None

    def forget_all(self) -> bool:
        """Empty the prefix cache; refused (``False``) while any block is referenced."""
        if len(self._free) != self.usable:
            return False
        for block in list(self._cached.values()):
            self._forget(block)
        return True

    def references(self) -> dict[int, int]:
        """Reference count of each used block."""
        return {block: count for block, count in enumerate(self._references) if count}

    def check(self) -> None:
        """Assert that free and used partition the pool and the cache index is consistent."""
        for block in range(1, self.num_blocks):
            free = block in self._free
            if free == bool(self._references[block]) or self._references[block] < 0:
                raise AssertionError(f"block {block}: free={free}, {self._references[block]} refs")
        for block_hash, block in self._cached.items():
            if self._hash_of[block] != block_hash:
                raise AssertionError(f"block {block} is cached under a hash it does not hold")
        if sum(item is not None for item in self._hash_of) != len(self._cached):
            raise AssertionError("a block holds a hash that is not indexed")

    def _forget(self, block: int) -> None:
        block_hash = self._hash_of[block]
        if block_hash is not None:
            del self._cached[block_hash]
            self._hash_of[block] = None
