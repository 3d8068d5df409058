"""The chunks of the request that will wait longest leave first; pure.

ALISE moves KV out of the way by estimated wait: what is needed last is the first to go.

Three ranks, and within each the tail of a request before its head. Chunks that no living request
uses go first, the least recently used before the others: nobody waits for them. Then those of
requests whose wait nobody knows, again the least recently used first, so that without any
predictions the order is that of ``lru`` with the living spared. Then the others, by wait. A chunk
that several requests use is as near as the first of them.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from alise_vllm.tier.eviction import CountsLooker, Evicted, Held, Key, Lru, Visitor

WaitOf = Callable[[str], float | None]
"""How long a request will wait until it runs, by its id; None is not known."""


@dataclass
class Waits:
    """Where waits come from, and what was told that is none.

    Attributes:
        expected: Seconds until a request runs, from whoever schedules; None is nobody.
        remaining: Output tokens that a request will still generate, taken where ``expected`` is
            missing: the order is what matters.
        ignored: Answers that were no finite number of at least 0.
    """

    expected: WaitOf | None = None
    remaining: WaitOf | None = None
    ignored: int = 0

    def of(self, request_id: str) -> float | None:
        """The wait of a request; None is not known."""
        source = self.expected or self.remaining
        found = None if source is None else source(request_id)
        if found is None:
            return None
        if isinstance(found, int | float) and math.isfinite(found) and found >= 0:
            return found
        self.ignored += 1
        return None


class Ewt(CountsLooker):
    """Longest expected wait first."""

    def __init__(self, cache_capacity: int = 0, waits: Waits | None = None) -> None:
        self._waits = waits or Waits()
        self._unused = Lru()
        self._used: dict[Key, Held] = {}
        self._users: dict[Key, set[str]] = {}
        # By living request, the least recently active first; head of its prompt first.
        self._keys_of: OrderedDict[str, dict[Key, None]] = OrderedDict()
        self._coming: dict[Key, str] = {}

    def get(self, key: Key) -> Held | None:
        """The chunk, or None."""
        return self._used.get(key) or self._unused.get(key)

    def insert(self, key: Key, chunk: Held) -> None:
        """Enter as the tail of the request that announced it."""
        self._unused.insert(key, chunk)
        if key in self._coming:
            self._take(key, self._coming.pop(key))

    def remove(self, key: Key) -> None:
        """Forget a chunk."""
        for user in self._users.pop(key, ()):
            del self._keys_of[user][key]
        if self._used.pop(key, None) is None:
            self._unused.remove(key)

    def touch(self, keys: Iterable[Key], req_context: Visitor) -> None:
        """The request uses them from now on."""
        self.on_use(list(keys), req_context)

    def on_use(self, keys: Sequence[Key], req_context: Visitor) -> None:
        """The request uses them from now on."""
        self._keys_of.setdefault(req_context.req_id, {})
        self._keys_of.move_to_end(req_context.req_id)
        for key in keys:
            self._take(key, req_context.req_id)

    def on_store_miss(self, keys: Iterable[Key], req_context: Visitor) -> None:
        """Remember who brings them."""
        self.on_use((), req_context)
        self._coming = dict.fromkeys(keys, req_context.req_id)

    def on_request_finished(
        self,
        key_groups: Sequence[Sequence[Key]],
        insertion_only_keys: set[Key],
        reused_keys: set[Key],
        req_context: Visitor,
    ) -> None:
        """What it alone used is nobody's need any more, and the most recently used of that."""
        self._coming = {}
        for key in reversed(self._keys_of.pop(req_context.req_id, {})):
            users = self._users[key]
            users.remove(req_context.req_id)
            if not users:
                del self._users[key]
                self._unused.insert(key, self._used.pop(key))
        self._unused.on_request_finished(key_groups, insertion_only_keys, reused_keys, req_context)

    def evict(self, n: int, protected: set[Key]) -> Evicted | None:
        """The ``n`` that are needed last."""
        found = self._unused.oldest(n, protected)
        found += self._used_by_wait(n - len(found), protected)
        if len(found) < n:
            return None
        for key, _ in found:
            self.remove(key)
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._unused.clear()
        for each in (self._used, self._users, self._keys_of, self._coming):
            each.clear()

    def _take(self, key: Key, user: str) -> None:
        chunk = self.get(key)
        if chunk is None:
            return
        if key not in self._used:
            self._unused.remove(key)
            self._used[key] = chunk
        self._users.setdefault(key, set()).add(user)
        self._keys_of[user][key] = None

    def _used_by_wait(self, count: int, protected: set[Key]) -> Evicted:
        """Up to ``count`` chunks of the living; waits are asked for when they are needed."""
        found: Evicted = []
        passed: set[str] = set()
        for user in self._by_wait() if count else ():
            passed.add(user)
            for key in reversed(self._keys_of[user]):
                chunk = self._used[key]
                # Who comes later in this order needs it earlier.
                if chunk.ref_cnt == 0 and key not in protected and self._users[key] <= passed:
                    found.append((key, chunk))
                    if len(found) == count:
                        return found
        return found

    def _by_wait(self) -> list[str]:
        """The living: those of unknown wait, the least recently active first, then by wait."""
        waits = {user: self._waits.of(user) for user in self._keys_of}
        return sorted(waits, key=lambda user: -math.inf if (w := waits[user]) is None else -w)
