"""vLLM's running requests, as far as one of them may have to give way.

To compute what all that run still cost is what takes time: 256 requests are half a millisecond. So
a step looks at a part of them, in turn, and what it finds stays in a heap, the worst on top. Costs
change slowly, see ``Work.standing_until``. Imports nothing of vLLM.
"""

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from alise_vllm.ordering.order import RequestOrder
from alise_vllm.ordering.work import Work
from alise_vllm.waiting import EngineRequest

LOOKED_AT = 16
"""Running requests that one step looks at: all of 256 in 16 steps, as many tokens as a request has
generated at least before it stands elsewhere."""
_TRIED = 16
"""Requests that may give way by the rules and are asked in one step whether they can."""
_SLACK = 64
"""Entries that no longer count and may stay beside three times as many as run."""

R = TypeVar("R", bound=EngineRequest)

Entry = tuple[int, int, R]
"""Standing, negated so that the worst is the smallest; mark, by which an entry counts; request."""


class RunningRequests(Generic[R]):
    """See the module.

    Args:
        order: Of the engine's requests.
        runs: Whether a request still runs.
    """

    def __init__(self, order: RequestOrder, runs: Callable[[R], bool]) -> None:
        self._order = order
        self._runs = runs
        self._heap: list[Entry[R]] = []
        self._counting: dict[int, int] = {}
        """By number: the mark of the entry that counts. What has ended is found out at the top."""
        self._marks = 0
        self._next = 0
        self._epoch = order.epoch

    def look(self, running: Sequence[R]) -> None:
        """Look at the next part of those that run.

        Args:
            running: All of them; their places may have changed since the last time.
        """
        if self._epoch != self._order.epoch:
            # By other settings nobody has been looked at.
            self._epoch = self._order.epoch
            self._heap, self._counting, self._next = [], {}, 0
        if not self._order.preempts:
            return
        begin = self._next if self._next < len(running) else 0
        self._next = begin + LOOKED_AT
        for request in running[begin : self._next]:
            self._look_at(request)
        if len(self._heap) > 4 * len(running) + _SLACK:
            self._clear_out()

    def worst(self, can: Callable[[R], bool]) -> R | None:
        """Who gives way first; None where nobody may, or none of the worst can.

        Args:
            can: Whether a request that may give way by the rules can do so in this step.
        """
        passed: list[Entry[R]] = []
        found = None
        while self._heap and found is None and len(passed) < _TRIED:
            entry = heappop(self._heap)
            if self._counts(entry):
                passed.append(entry)
                found = entry[2] if can(entry[2]) else None
        for entry in passed:
            heappush(self._heap, entry)
        return found

    def rank(self, running: Sequence[R]) -> None:
        """Say with vLLM's priority who goes first when memory runs out: the highest number."""
        for request in running:
            work: Work | None = getattr(request, "alise_work", None)
            if work is None:
                continue
            if not work.standing_until:
                work.generated = request.num_output_tokens
                self._order.stand(work)
            request.priority = work.standing

    def _look_at(self, request: R) -> None:
        work: Work | None = getattr(request, "alise_work", None)
        if work is None:
            return
        generated = request.num_output_tokens
        is_stale = generated >= work.standing_until
        if not is_stale and work.number in self._counting:
            return
        work.generated = generated
        if is_stale:
            self._order.stand(work)
        if self._order.may_give_way(work):
            self._marks += 1
            self._counting[work.number] = self._marks
            heappush(self._heap, (-work.standing, self._marks, request))

    def _clear_out(self) -> None:
        """Keep the entries of those that run, one of each.

        Whether they may still give way is asked at the top: here it would be asked of all at once,
        which is a millisecond.
        """
        counting, runs = self._counting, self._runs
        self._heap = [
            entry
            for entry in self._heap
            if counting.get(entry[2].alise_work.number) == entry[1] and runs(entry[2])
        ]
        self._counting = {entry[2].alise_work.number: entry[1] for entry in self._heap}
        heapify(self._heap)

    def _counts(self, entry: Entry[R]) -> bool:
        """Whether an entry that was taken from the heap is true today."""
        _, mark, request = entry
        work = request.alise_work
        if self._counting.get(work.number) != mark:
            return False
        work.generated = request.num_output_tokens
        if self._runs(request) and self._order.may_give_way(work):
            return True
        del self._counting[work.number]
        return False
