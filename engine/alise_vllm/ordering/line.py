"""The requests that wait, in order.

A heap, in which a place is never changed: whoever leaves or moves up is marked and left behind,
and dropped when it comes to the top. Adding, taking and removing one cost a logarithm of how many
wait; the passing of time costs something only for those who starved by then.

Order: class, those who starved, the policy's value, arrival. Requests of which nothing is
predicted are a lane within their class: their values never fall along it, so that they keep the
order of their arrival among themselves, and pass nobody but by what is predicted of others.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf

from alise_vllm.ordering.pace import Pace
from alise_vllm.ordering.policies import Policy
from alise_vllm.ordering.work import Work

_STARVED, _USUAL = 0, 1
_SLACK = 64
"""Marked places that may stay in a heap beside as many as there are requests."""

Place = tuple[int, int, float, int]
"""Class, whether it has not starved, value, number: smaller is earlier."""


@dataclass(slots=True)
class _Lane:
    """Requests of one class of which nothing is predicted: how many wait, the highest value."""

    waiting: int = 0
    last: float = -inf


class WaitingLine:
    """See the module.

    Args:
        policy: Orders the requests of a class.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._heap: list[tuple[Place, int, Work]] = []
        self._deadlines: list[tuple[float, int, Work]] = []
        self._valid: dict[int, int] = {}
        """By number: the mark that its entries carry while they count."""
        self._marks = 0
        self._lanes: dict[int, _Lane] = {}
        self.by_rank: Counter[int] = Counter()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._valid)

    def __contains__(self, work: Work) -> bool:
        """Whether it waits."""
        return work.number in self._valid

    def add(self, work: Work, now: float, pace: Pace) -> None:
        """It waits from now on, or still where it was only set aside.

        Raises:
            ValueError: It is in the line already.
        """
        if work.number in self._valid:
            raise ValueError(f"request {work.number} waits already")
        if work.waiting_since is None:
            work.waiting_since = now
        self._insert(work, pace)
        self.by_rank[work.rank] += 1
        since = work.waiting_since
        if self._in_lane(work):
            self._lanes.setdefault(work.rank, _Lane()).waiting += 1
            since = work.arrived
        patience = self._policy.patience_seconds(work, pace)
        if patience < inf and not work.promoted:
            heappush(self._deadlines, (since + patience, self._valid[work.number], work))

    def first(self) -> Work:
        """Who is next; IndexError where nobody waits."""
        self._drop_marked()
        return self._heap[0][2]

    def best(self, most: int) -> list[Work]:
        """The next few, in order; fewer where fewer wait."""
        taken: list[tuple[Place, int, Work]] = []
        while len(taken) < most and self._valid:
            self._drop_marked()
            taken.append(heappop(self._heap))
            if len(taken) == len(self._valid):
                break
        for entry in taken:
            heappush(self._heap, entry)
        return [work for _, _, work in taken]

    def take(self) -> Work:
        """Who is next, and no longer waits; IndexError where nobody does."""
        work = self.first()
        heappop(self._heap)
        self._forget(work)
        return work

    def remove(self, work: Work) -> bool:
        """It no longer waits; False where it did not."""
        if work.number not in self._valid:
            return False
        self._forget(work)
        return True

    def place(self, work: Work, pace: Pace) -> Place:
        """Where it stands, or would if it waited."""
        starved = _STARVED if work.promoted else _USUAL
        value = 0.0 if work.promoted else self._value(work, pace)
        return (work.rank, starved, value, work.number)

    def promote_starved(self, now: float, pace: Pace) -> int:
        """Move up whoever has starved by now; how many."""
        moved = 0
        while self._deadlines and self._deadlines[0][0] <= now:
            _, mark, work = heappop(self._deadlines)
            if self._counts(mark, work):
                self._policy.promote(work, pace)
                self._insert(work, pace)
                moved += 1
        return moved

    def reorder(self, policy: Policy, works: Iterable[Work], pace: Pace) -> None:
        """Order by another policy from now on.

        Args:
            policy: Which.
            works: All that exist, waiting or not: the old policy's marks on them do not count.
            pace: How fast the engine is.
        """
        self._policy = policy
        waiting = self._valid
        self._heap, self._deadlines, self._valid, self._lanes = [], [], {}, {}
        self.by_rank.clear()
        for work in sorted(works, key=lambda each: each.number):
            work.promoted, work.lane_value = False, None
            if work.number in waiting:
                self.add(work, work.arrived, pace)

    def in_order(self) -> list[Work]:
        """All that wait, in order; sorts."""
        return [work for _, mark, work in sorted(self._heap) if self._counts(mark, work)]

    def check(self) -> None:
        """Assert what has to hold; for tests."""
        counted = [work for _, mark, work in self._heap if self._counts(mark, work)]
        assert sorted(work.number for work in counted) == sorted(self._valid)  # noqa: S101
        assert self.by_rank.total() == len(self._valid)  # noqa: S101
        assert len(self._heap) <= 2 * len(self._valid) + _SLACK  # noqa: S101

    def _insert(self, work: Work, pace: Pace) -> None:
        self._marks += 1
        self._valid[work.number] = self._marks
        heappush(self._heap, (self.place(work, pace), self._marks, work))
        self._compact()

    def _value(self, work: Work, pace: Pace) -> float:
        if work.lane_value is not None:
            return work.lane_value
        policy = self._policy
        value = policy.value(policy.cost(work, pace, resident=False), work)
        if not self._in_lane(work):
            return value
        lane = self._lanes.setdefault(work.rank, _Lane())
        lane.last = work.lane_value = max(value, lane.last)
        return lane.last

    def _in_lane(self, work: Work) -> bool:
        return work.forecast is None and self._policy.needs_forecast

    def _forget(self, work: Work) -> None:
        del self._valid[work.number]
        self.by_rank[work.rank] -= 1
        if not self.by_rank[work.rank]:
            # Whoever reaches the engine chooses the numbers: what is empty is not kept.
            del self.by_rank[work.rank]
        if self._in_lane(work):
            lane = self._lanes[work.rank]
            lane.waiting -= 1
            if not lane.waiting:
                del self._lanes[work.rank]
        self._compact()

    def _drop_marked(self) -> None:
        while self._heap and not self._counts(self._heap[0][1], self._heap[0][2]):
            heappop(self._heap)

    def _counts(self, mark: int, work: Work) -> bool:
        return self._valid.get(work.number) == mark

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._valid) + _SLACK:
            self._heap = [entry for entry in self._heap if self._counts(entry[1], entry[2])]
            heapify(self._heap)
        if len(self._deadlines) > 2 * len(self._valid) + _SLACK:
            self._deadlines = [item for item in self._deadlines if self._counts(item[1], item[2])]
            heapify(self._deadlines)
