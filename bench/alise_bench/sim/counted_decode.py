"""The decoding requests of a counted engine: one number each, and sums over all of them.

Every decoding request gains one token per tick, so nothing of it changes while it decodes: its
context is the tick less its offset, it needs a block every ``block_size`` ticks in its own phase,
and it finishes at a tick known when it starts. What a step costs and needs follows from a sum,
a count per phase and the top of a heap. Pure; the engine owns the tick and the free blocks.
"""

import heapq
from collections.abc import Iterator

from alise_bench.sim.counted_state import CountedRun, Stage


class Decoding:
    """The decoding requests at one tick.

    Attributes:
        tick: Steps planned so far, empty ones included; while a step runs, its own number.
        count: How many decode.
    """

    def __init__(self, block_size: int) -> None:
        self.tick = 0
        self.count = 0
        self._block_size = block_size
        self._offsets = 0
        self._phases: list[dict[CountedRun, None]] = [{} for _ in range(block_size)]
        self._finishes: list[tuple[int, int, CountedRun]] = []

    @property
    def context(self) -> int:
        """KV positions that all of them read in this tick's step."""
        return self.count * self.tick - self._offsets

    @property
    def demand(self) -> int:
        """Blocks that they need for this tick's step, one each."""
        return len(self._phases[self.tick % self._block_size])

    def demanding(self) -> list[CountedRun]:
        """Those who need a block for this tick's step, in batch order.

        A phase is in batch order because newcomers join it last, and who skips a tick does so
        together with everybody behind.
        """
        return list(self._phases[self.tick % self._block_size])

    def needs_block(self, run: CountedRun) -> bool:
        """Whether ``run`` is among :meth:`demanding`."""
        return run in self._phases[self.tick % self._block_size]

    def held(self, run: CountedRun) -> int:
        """Blocks that ``run`` holds with this tick's token."""
        return -(-(self.tick - run.offset) // self._block_size)

    def add(self, run: CountedRun) -> None:
        """Start decoding: at the end of this tick ``run.length`` tokens are computed."""
        run.stage = Stage.DECODE
        run.offset = self.tick - run.length
        generated = run.length + 1 - run.item.prompt_tokens
        self._offsets += run.offset
        self.count += 1
        self._place(run, self.tick + run.item.output_tokens - generated)

    def remove(self, run: CountedRun) -> None:
        """Stop decoding; the caller sets the next stage."""
        del self._phases[self._phase(run)][run]
        self._offsets -= run.offset
        self.count -= 1
        # What the heap still holds of it is recognised by this and dropped.
        run.finish_tick = 0

    def skip(self, run: CountedRun) -> int:
        """Let ``run`` miss this tick's step; returns what :attr:`context` still counts of it."""
        del self._phases[self._phase(run)][run]
        run.offset += 1
        self._offsets += 1
        self._place(run, run.finish_tick + 1)
        return self.tick - run.offset

    def ticks_to_finish(self) -> int:
        """Ticks from this one to the next finish, both counted; somebody must be decoding."""
        heap = self._finishes
        while heap[0][2].finish_tick != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] - self.tick + 1

    def take_finished(self) -> Iterator[CountedRun]:
        """Remove and yield those whose last token came at this tick, in batch order."""
        heap = self._finishes
        while heap and heap[0][0] <= self.tick:
            tick, _, run = heapq.heappop(heap)
            if run.finish_tick == tick:
                self.remove(run)
                yield run

    def ticks_covered(self, free: int, ticks: int) -> int:
        """How many of the ``ticks`` after this one ``free`` blocks are enough for."""
        if self.count * (ticks // self._block_size + 1) <= free:
            return ticks
        # Each block_size ticks take exactly one block per request.
        rounds, free = divmod(free, self.count)
        covered = rounds * self._block_size
        while covered < ticks:
            demand = len(self._phases[(self.tick + 1 + covered) % self._block_size])
            if demand > free:
                break
            free -= demand
            covered += 1
        return min(covered, ticks)

    def advance(self, ticks: int) -> int:
        """Pass ``ticks`` without a finish; returns the blocks that they take."""
        rounds, rest = divmod(ticks, self._block_size)
        taken = rounds * self.count
        for tick in range(self.tick + 1, self.tick + 1 + rest):
            taken += len(self._phases[tick % self._block_size])
        self.tick += ticks
        return taken

    def check(self, runs: list[CountedRun]) -> None:
        """Assert that the sums are those of ``runs``, which are all that decode.

        Raises:
            AssertionError: With the first violation.
        """
        if self.count != len(runs) or self._offsets != sum(run.offset for run in runs):
            raise AssertionError("the sums differ from those of the decoding requests")
        if sum(map(len, self._phases)) != len(runs):
            raise AssertionError("a phase holds a request that does not decode")
        for phase in self._phases:
            if [run.place for run in phase] != sorted(run.place for run in phase):
                raise AssertionError("a phase is out of batch order")
        entries = {(tick, run) for tick, _, run in self._finishes}
        for run in runs:
            if run not in self._phases[self._phase(run)]:
                raise AssertionError(f"{run.item.number}: not in its phase")
            if (run.finish_tick, run) not in entries or run.finish_tick <= self.tick - 1:
                raise AssertionError(f"{run.item.number}: will never finish")

    def _place(self, run: CountedRun, finish_tick: int) -> None:
        run.finish_tick = finish_tick
        self._phases[self._phase(run)][run] = None
        heapq.heappush(self._finishes, (finish_tick, run.place, run))

    def _phase(self, run: CountedRun) -> int:
        """A block is full after a tick, so the next one needs another."""
        return (run.offset + 1) % self._block_size
