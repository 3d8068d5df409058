"""The engine's waiting queue under the two policies of vLLM.

Pure. First come first served is a deque to whose front preempted sequences return; priority
is a heap by (priority, arrival), smaller first, where a preempted sequence takes the place its
key gives it.

Source: vLLM ``v1/core/sched/request_queue.py`` (version 0.32).
"""

import heapq
from collections import deque
from collections.abc import Iterator
from enum import StrEnum
from typing import Protocol

from alise_bench.sim.sequence import Sequence


class Policy(StrEnum):
    """vLLM's ``--scheduling-policy``."""

    FCFS = "fcfs"
    PRIORITY = "priority"


class WaitingQueue(Protocol):
    """Sequences waiting to run, in policy order."""

    def push(self, sequence: Sequence) -> None:
        """Add an arrival."""

    def push_back(self, sequence: Sequence) -> None:
        """Return a preempted sequence."""

    def peek(self) -> Sequence:
        """Next to run; the queue must not be empty."""
        ...

    def pop(self) -> Sequence:
        """Remove and return the next to run."""
        ...

    def remove(self, sequence: Sequence) -> None:
        """Take one out of the middle; linear."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sequence]: ...


class FcfsQueue:
    """Arrival order; the preempted come first again."""

    def __init__(self) -> None:
        self._items: deque[Sequence] = deque()

    def push(self, sequence: Sequence) -> None:
        """Add an arrival at the end."""
        self._items.append(sequence)

    def push_back(self, sequence: Sequence) -> None:
        """Return a preempted sequence to the front."""
        self._items.appendleft(sequence)

    def peek(self) -> Sequence:
        """Next to run."""
        return self._items[0]

    def pop(self) -> Sequence:
        """Remove and return the next to run."""
        return self._items.popleft()

    def remove(self, sequence: Sequence) -> None:
        """Take one out of the middle."""
        self._items.remove(sequence)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._items)


class PriorityQueue:
    """By (priority, arrival), smaller first; iteration order is unspecified."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, float, int], Sequence]] = []

    def push(self, sequence: Sequence) -> None:
        """Add an arrival."""
        heapq.heappush(self._heap, (sequence.order, sequence))

    push_back = push

    def peek(self) -> Sequence:
        """Next to run."""
        return self._heap[0][1]

    def pop(self) -> Sequence:
        """Remove and return the next to run."""
        return heapq.heappop(self._heap)[1]

    def remove(self, sequence: Sequence) -> None:
        """Take one out of the middle."""
        self._heap.remove((sequence.order, sequence))
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Sequence]:
        return (sequence for _, sequence in self._heap)


def waiting_queue(policy: Policy) -> WaitingQueue:
    """An empty queue for ``policy``."""
    return PriorityQueue() if policy is Policy.PRIORITY else FcfsQueue()
