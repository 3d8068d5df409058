"""Which chunk leaves host memory when there is no room; pure.

The methods are those of vLLM's ``CachePolicy`` (0.32, ``v1/kv_offload/cpu/policies/base.py``) and
``on_use``, so that its own policies and ours stand in for each other. A policy does not count
references: a chunk whose ``ref_cnt`` is not 0 is being copied and stays.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

Key = bytes
"""Names a chunk: the hash of its tokens and of all before them."""


class Held(Protocol):
    """A chunk, as far as a policy looks at it."""

    ref_cnt: int
    """Copies that read it now; -1 until it is written."""


class Visitor(Protocol):
    """The request on whose behalf something happens."""

    @property
    def req_id(self) -> str:
        """Its name in the engine."""
        ...


Evicted = list[tuple[Key, Held]]


class Policy(Protocol):
    """Keeps the chunks in some order and says which go."""

    def insert(self, key: Key, chunk: Held) -> None:
        """A chunk got room."""
        ...

    def remove(self, key: Key) -> None:
        """A chunk could not be written."""
        ...

    def on_use(self, keys: Sequence[Key], req_context: Visitor) -> None:
        """A living request found these and depends on them."""
        ...

    def on_store_miss(self, keys: Iterable[Key], req_context: Visitor) -> None:
        """A request brings these; they are inserted next, or there is no room."""
        ...

    def on_request_finished(
        self,
        key_groups: Sequence[Sequence[Key]],
        insertion_only_keys: set[Key],
        reused_keys: set[Key],
        req_context: Visitor,
    ) -> None:
        """A request has ended; what it used, head of the prompt first.

        Args:
            key_groups: All it looked at, by group of layers.
            insertion_only_keys: What it brought and nobody had before.
            reused_keys: What it found.
            req_context: The request.
        """
        ...

    def evict(self, n: int, protected: set[Key]) -> Evicted | None:
        """Let ``n`` chunks go; None, and nothing changes, when there are not so many."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def mark_evictable(self, key: Key) -> None:
        """Its last copy has ended."""
        ...

    def mark_non_evictable(self, key: Key) -> None:
        """Its first copy begins."""
        ...


class CountsLooker:
    """What a policy has that looks at a chunk's count of references when it evicts."""

    def mark_evictable(self, key: Key) -> None:
        """Nothing to note."""

    def mark_non_evictable(self, key: Key) -> None:
        """Nothing to note."""


class Lru(CountsLooker):
    """The least recently used goes first.

    Of one request the tail goes before the head: without its head a prompt's tail is of no use.
    """

    def __init__(self, cache_capacity: int = 0) -> None:
        self._chunks: OrderedDict[Key, Held] = OrderedDict()

    def get(self, key: Key) -> Held | None:
        """The chunk, or None."""
        return self._chunks.get(key)

    def insert(self, key: Key, chunk: Held) -> None:
        """Enter as the most recently used."""
        self._chunks[key] = chunk

    def remove(self, key: Key) -> None:
        """Forget a chunk."""
        del self._chunks[key]

    def touch(self, keys: Iterable[Key], req_context: Visitor) -> None:
        """Make them the most recently used, the first of them last."""
        for key in reversed(list(keys)):
            if key in self._chunks:
                self._chunks.move_to_end(key)

    def on_use(self, keys: Sequence[Key], req_context: Visitor) -> None:
        """Counts when the request ends, once."""

    def on_store_miss(self, keys: Iterable[Key], req_context: Visitor) -> None:
        """Nothing to learn."""

    def on_request_finished(
        self,
        key_groups: Sequence[Sequence[Key]],
        insertion_only_keys: set[Key],
        reused_keys: set[Key],
        req_context: Visitor,
    ) -> None:
        """All it looked at is used now."""
        for keys in key_groups:
            self.touch(keys, req_context)

    def evict(self, n: int, protected: set[Key]) -> Evicted | None:
        """The ``n`` least recently used that may go."""
        found = self.oldest(n, protected)
        if len(found) < n:
            return None
        for key, _ in found:
            del self._chunks[key]
        return found

    def oldest(self, most: int, protected: set[Key]) -> Evicted:
        """Up to ``most`` of the least recently used that may go; they stay."""
        return list(islice(_free(self._chunks, protected), most))

    def clear(self) -> None:
        """Forget everything."""
        self._chunks.clear()


class Arc(CountsLooker):
    """Adaptive replacement: chunks seen once and chunks seen again, in proportion to what pays.

    Source: Megiddo and Modha, "ARC: A self-tuning, low overhead replacement cache", FAST 2003. Of
    each list the keys that were evicted last are remembered; when one of them is brought again,
    its list was too short. A request counts once, at its end. The size of the cache, which the
    paper takes for fixed, is the number of chunks held: chunks of several sizes share the room.
    """

    def __init__(self, cache_capacity: int = 0) -> None:
        self._once: OrderedDict[Key, Held] = OrderedDict()
        self._again: OrderedDict[Key, Held] = OrderedDict()
        self._gone_once: OrderedDict[Key, None] = OrderedDict()
        self._gone_again: OrderedDict[Key, None] = OrderedDict()
        self._share = 0.0

    @property
    def share(self) -> float:
        """How many chunks seen once are aimed at."""
        return self._share

    def get(self, key: Key) -> Held | None:
        """The chunk, or None."""
        return self._once[key] if key in self._once else self._again.get(key)

    def insert(self, key: Key, chunk: Held) -> None:
        """Enter as seen once, or as seen again when it was evicted not long ago."""
        known = key in self._gone_once or key in self._gone_again
        self._gone_once.pop(key, None)
        self._gone_again.pop(key, None)
        (self._again if known else self._once)[key] = chunk

    def remove(self, key: Key) -> None:
        """Forget a chunk."""
        if self._once.pop(key, None) is None:
            del self._again[key]

    def touch(self, keys: Iterable[Key], req_context: Visitor) -> None:
        """They are seen again, if they are written."""
        for key in reversed(list(keys)):
            chunk = self.get(key)
            if chunk is not None:
                self._use(key, again=chunk.ref_cnt >= 0)

    def on_use(self, keys: Sequence[Key], req_context: Visitor) -> None:
        """Counts when the request ends, once."""

    def on_store_miss(self, keys: Iterable[Key], req_context: Visitor) -> None:
        """What was evicted too early shifts the shares."""
        for key in keys:
            if key in self._gone_once:
                self._share += max(1.0, len(self._gone_again) / len(self._gone_once))
            elif key in self._gone_again:
                self._share -= max(1.0, len(self._gone_once) / len(self._gone_again))
        self._share = min(max(self._share, 0.0), len(self._once) + len(self._again))

    def on_request_finished(
        self,
        key_groups: Sequence[Sequence[Key]],
        insertion_only_keys: set[Key],
        reused_keys: set[Key],
        req_context: Visitor,
    ) -> None:
        """What it found is seen again; what it brought stays seen once."""
        for keys in key_groups:
            for key in reversed(keys):
                if key in reused_keys or key in insertion_only_keys:
                    self._use(key, again=key in reused_keys)

    def evict(self, n: int, protected: set[Key]) -> Evicted | None:
        """The least recently used of the list that is longer than its share."""
        held = len(self._once) + len(self._again)
        once, again = _free(self._once, protected), _free(self._again, protected)
        left = len(self._once)
        found: Evicted = []
        while len(found) < n:
            of_once = next(once, None) if left > self._share else None
            one = of_once or next(again, None) or next(once, None)
            if one is None:
                return None
            left -= one[0] in self._once
            found.append(one)
        for key, _ in found:
            ghosts = self._gone_again if self._once.pop(key, None) is None else self._gone_once
            self._again.pop(key, None)
            ghosts[key] = None
        self._forget_ghosts(held)
        return found

    def clear(self) -> None:
        """Forget everything, what was learned too."""
        for chunks in (self._once, self._again, self._gone_once, self._gone_again):
            chunks.clear()
        self._share = 0.0

    def _use(self, key: Key, *, again: bool) -> None:
        if key in self._again:
            self._again.move_to_end(key)
        elif key in self._once and again:
            self._again[key] = self._once.pop(key)
        elif key in self._once:
            self._once.move_to_end(key)

    def _forget_ghosts(self, held: int) -> None:
        for ghosts in (self._gone_once, self._gone_again):
            while len(ghosts) > held:
                ghosts.popitem(last=False)


def _free(chunks: "OrderedDict[Key, Held]", protected: set[Key]) -> Iterator[tuple[Key, Held]]:
    """Those that may go, the least recently used first."""
    return (
        (key, chunk) for key, chunk in chunks.items() if chunk.ref_cnt == 0 and key not in protected
    )
