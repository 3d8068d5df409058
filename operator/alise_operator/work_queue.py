"""What has to be looked at again, and when: a set of keys, each at most once. Pure.

Level-triggered: an event says only that something about a key may have changed, so a hundred of
them before the key is taken are one look, and what is seen then is the present. A key that changes
while it is being worked on comes back after it; nobody works on the same key twice at once.
Source: client-go ``util/workqueue``, whose guarantees these are.
"""

import heapq
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a key that failed has to wait.

    Attributes:
        first_seconds: After the first failure.
        most_seconds: After many; each failure doubles the wait up to this.
    """

    first_seconds: float = 0.5
    most_seconds: float = 300.0

    def seconds(self, failures: int, jitter: float) -> float:
        """The wait after so many failures in a row.

        Args:
            failures: At least 1.
            jitter: In [0, 1): spreads keys that failed together over the upper half of the wait.
        """
        doublings = min(failures - 1, 32)  # more only overflow
        longest = min(self.most_seconds, self.first_seconds * 2.0**doublings)
        return longest * (0.5 + jitter / 2)


class WorkQueue(Generic[KeyT]):
    """Keys and the times at which they are due. All times are monotonic seconds.

    Args:
        jitter: A number in [0, 1), a new one with each call.
        backoff: For keys that fail.
    """

    def __init__(self, jitter: Callable[[], float], backoff: Backoff | None = None) -> None:
        self._jitter = jitter
        self._backoff = backoff or Backoff()
        self._due: dict[KeyT, float] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._order = 0
        self._working: set[KeyT] = set()
        self._failures: dict[KeyT, int] = {}

    def __len__(self) -> int:
        """Keys that wait, whether due or not; those being worked on are not among them."""
        return len(self._due)

    def depth(self, now: float) -> int:
        """Keys that are due and could be taken if somebody had the time."""
        return sum(due <= now and key not in self._working for key, due in self._due.items())

    def add(self, key: KeyT, due: float) -> None:
        """Look at the key at ``due``, or earlier where an earlier look is planned already."""
        planned = self._due.get(key)
        if planned is not None and planned <= due:
            return
        self._due[key] = due
        if key not in self._working:
            self._push(key, due)

    def take(self, now: float) -> KeyT | None:
        """The key that has been due longest; ``None`` while none is. ``finish`` must follow."""
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._is_current(key, due):
                del self._due[key]
                self._working.add(key)
                return key
        return None

    def finish(self, key: KeyT, now: float, *, failed: bool = False) -> None:
        """The key taken was worked on; a failure plans the next try.

        A change that came meanwhile is looked at when it is due, whatever the backoff says.
        """
        self._working.discard(key)
        if failed:
            self._failures[key] = failures = self._failures.get(key, 0) + 1
            self.add(key, now + self._backoff.seconds(failures, self._jitter()))
        else:
            self._failures.pop(key, None)
        due = self._due.get(key)
        if due is not None:
            self._push(key, due)

    def next_due(self) -> float | None:
        """When the next key can be taken, possibly in the past; ``None`` while none waits."""
        while self._heap and not self._is_current(self._heap[0][2], self._heap[0][0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def discard(self, key: KeyT) -> None:
        """Nobody wants to look at the key any more; its failures are forgotten."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def clear(self) -> None:
        """Forget everything but what is being worked on."""
        self._due.clear()
        self._heap.clear()
        self._failures.clear()

    def _push(self, key: KeyT, due: float) -> None:
        self._order += 1  # keys due at once are taken in the order in which they came
        heapq.heappush(self._heap, (due, self._order, key))

    def _is_current(self, key: KeyT, due: float) -> bool:
        """Whether a place in the heap still stands for what is planned."""
        return key not in self._working and self._due.get(key) == due
