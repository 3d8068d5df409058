"""A fast engine for large simulations: the scheduler's decisions, without its per-token work.

Takes the decisions of ``scheduler`` and the times of ``virtual`` with prefix caching off, from
token counts alone. Decoding requests cost nothing per step (``counted_decode``); only requests
that prefill, start, finish or yield are touched. Steps in which nothing but decoding happens are
taken together up to the next event, and cut where a submission or an abort falls among them.

The caller owns the clock and may hold thousands of engines in one heap of their ends:

- ``begin(now)`` whenever an engine is not in a step; it returns when ``end`` is due.
- ``end(now)`` at exactly that time; it returns what happened, with times.
- ``submit``, ``abort`` and ``cap`` at any time up to the end due. They may bring ``next_end``
  forward: read it again and forget the earlier one.

What happens at one time is handled in this order: ends, then submissions and aborts, then begins.

Why the counts suffice: every running request takes at least one token of the budget and
admission needs one to spare, so the batch never outgrows the budget and every decoding request
is served in every step. A chunk smaller than its prompt uses the budget up, so at most one
request is in the middle of its prefill, and it is the last of the batch. The exception is a
request that yields to nobody but itself under the priority policy: vLLM then plans nothing
behind it, and those behind miss that step.
"""

from typing import Protocol

from alise_bench.sim.counted_decode import Decoding
from alise_bench.sim.counted_state import (
    CountedQueue,
    CountedRequest,
    CountedRun,
    EngineLoad,
    Event,
    EventKind,
    Stage,
)
from alise_bench.sim.scheduler import SchedulerConfig
from alise_bench.sim.step_model import Batch, Profile
from alise_bench.sim.waiting import Policy
from alise_core.units import Seconds


class HostTier(Protocol):
    """Where a request that was preempted may find its KV again."""

    def found(self, run: CountedRun, engine: "CountedEngine") -> int:
        """Tokens of ``run`` that need not be computed, less than its length; without effect."""
        ...

    def load(self, run: CountedRun, tokens: int) -> float:
        """So many are loaded and the rest is computed; returns the seconds that loading takes."""
        ...


class CountedEngine:
    """One engine in virtual time; see the module for how to drive it.

    Args:
        config: Of the scheduler.
        profile: Times and sizes.
        tier: Where preempted requests find their KV; without one they are computed anew.

    Attributes:
        max_active: Requests that may run at once; ``cap`` changes it.
        computed_tokens: Whose KV was computed since the start, again where it had been lost.
        preemptions: Since the start, counted when they happen.
        reported_preemptions: Since the start, counted when the victim next produces a token.
        steps: Steps begun, up to the one in progress at the last call.
        busy_seconds: Time of those steps.

    Raises:
        ValueError: The configuration asks for prefix caching or for a pool that holds nothing.
            From ``submit``: an empty prompt, no output, a duplicate number, or a request that
            can never fit. Refused before any state changes.
    """

    def __init__(
        self, config: SchedulerConfig, profile: Profile, tier: HostTier | None = None
    ) -> None:
        if config.prefix_caching:
            raise ValueError("a counted engine has no prefix cache: set prefix_caching=False")
        if config.num_blocks < 2 or config.block_size < 1:  # noqa: PLR2004  null block plus one
            raise ValueError(f"{config.num_blocks} blocks of {config.block_size} hold nothing")
        self.config = config
        self.profile = profile
        self.preemptions = 0
        self.reported_preemptions = 0
        self.steps = 0
        self.busy_seconds = 0.0
        self.computed_tokens = 0
        self.max_active = config.max_num_seqs
        self._tier = tier
        self._load_seconds = 0.0
        self._usable = config.num_blocks - 1
        self._free = self._usable
        self._live: dict[int, CountedRun] = {}
        self._running: dict[int, CountedRun] = {}
        self._queue = CountedQueue()
        self._decoding = Decoding(config.block_size)
        self._prefilling: CountedRun | None = None
        self._submitted = 0
        self._admitted = 0
        self._events: list[Event] = []
        # The step in progress: its chunks, and how many plain steps follow it before the end.
        self._end: Seconds | None = None
        self._chunks: list[tuple[CountedRun, int]] = []
        self._following = 0
        self._start = 0.0
        self._duration = 0.0
        self._growth = 0.0

    @property
    def next_end(self) -> Seconds | None:
        """When ``end`` is due; ``None`` between steps."""
        return self._end

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return len(self._running)

    @property
    def held_tokens(self) -> int:
        """KV slots that requests hold."""
        return (self._usable - self._free) * self.config.block_size

    @property
    def waiting(self) -> int:
        """Requests outside the batch, the preempted included."""
        return len(self._live) - len(self._running)

    @property
    def max_request_tokens(self) -> int:
        """Prompt plus output that one request may reach."""
        return min(self.config.max_model_len, self._usable * self.config.block_size)

    def observe(self, now: Seconds) -> EngineLoad:
        """What the metrics show at ``now``, which is at most the end due."""
        self._advance(self._steps_before(now))
        return EngineLoad(
            running=self.running,
            waiting=self.waiting,
            free_blocks=self._free,
            usage_ratio=1.0 - self._free / self._usable,
            preemptions=self.preemptions,
            reported_preemptions=self.reported_preemptions,
        )

    def submit(self, item: CountedRequest, now: Seconds) -> None:
        """Queue a request; it takes part from the first step that begins at or after ``now``."""
        if item.prompt_tokens < 1 or item.output_tokens < 1:
            raise ValueError(f"{item.number}: a request needs a prompt and an output")
        if item.number in self._live:
            raise ValueError(f"{item.number}: already in the engine")
        if item.prompt_tokens + item.output_tokens > self.max_request_tokens:
            raise ValueError(
                f"{item.number}: {item.prompt_tokens} + {item.output_tokens} tokens "
                f"exceed {self.max_request_tokens}"
            )
        self._submitted += 1
        order = (item.priority, now, self._submitted)
        run = CountedRun(item, order, item.prompt_tokens)
        self._live[item.number] = run
        by_priority = self.config.policy is Policy.PRIORITY
        self._queue.push(order if by_priority else (0, 0.0, self._submitted), run)
        # Behind somebody who does not fit it changes nothing.
        if self._following and self._queue.peek() is run:
            self._cut(now)

    def cap(self, most: int, now: Seconds) -> None:
        """Let at most so many requests run at once; those that run go on."""
        if most > self.max_active and self._following:
            self._cut(now)
        self.max_active = most

    def abort(self, number: int, now: Seconds) -> bool:
        """Drop a request wherever it is; ``False`` when it is already gone."""
        run = self._live.get(number)
        if run is None:
            return False
        if self._following and (run.stage is not Stage.WAITING or self._queue.peek() is run):
            self._cut(now)
        if run.stage is not Stage.WAITING:
            self._leave_batch(run, self._held(run))
        run.stage = Stage.GONE
        del self._live[number]
        return True

    def begin(self, now: Seconds) -> Seconds | None:
        """Plan a step at ``now``, and the plain ones after it.

        Returns: When ``end`` is due; ``None`` when there is nothing to do.

        Raises:
            RuntimeError: A step is in progress.
        """
        if self._end is not None:
            raise RuntimeError("a step is in progress")
        self._start = now
        while self._live:
            batch = self._plan()
            if batch.decode_sequences or batch.prefill_tokens:
                self._duration = self.profile.step_seconds(batch) + self._load_seconds
                self._load_seconds = 0.0
                self.steps += 1
                self.busy_seconds += self._duration
                self._end = self._ends_after(self._following)
                return self._end
            # The plan did nothing but preempt; the next one resumes the victims.
        return None

    def end(self, now: Seconds) -> list[Event]:
        """Book everything up to the end due.

        Returns: What happened since the last end: preemptions first, then by place in the batch.

        Raises:
            RuntimeError: The end due is not ``now``.
        """
        if self._end is None or now != self._end:
            raise RuntimeError(f"the end due is at {self._end}, not at {now}")
        self._advance(self._following)
        self._end = None
        self.computed_tokens += self._decoding.count + sum(count for _, count in self._chunks)
        events, self._events = self._events, []
        for run in self._decoding.take_finished():
            self._free += self._decoding.held(run)
            del self._running[run.item.number]
            self._finish(run, now, events)
        if self._chunks:
            self._end_chunks(now, events)
        return events

    def check(self) -> None:
        """Assert the invariants.

        Raises:
            AssertionError: With the first violation.
        """
        runs = list(self._running.values())
        if any(self._live.get(run.item.number) is not run for run in runs):
            raise AssertionError("a running request is not in the engine")
        if self._free < 0 or self._free + sum(map(self._held, runs)) != self._usable:
            raise AssertionError("free blocks and held blocks do not add up")
        if len(runs) > min(self.config.max_num_seqs, self.config.max_num_batched_tokens):
            raise AssertionError(f"{len(runs)} running")
        if [run.place for run in runs] != sorted(run.place for run in runs):
            raise AssertionError("the batch is out of order")
        waiting = [run for run in self._live.values() if run.stage is Stage.WAITING]
        if len(waiting) != self.waiting or any(run.blocks for run in waiting):
            raise AssertionError("a waiting request is in the batch or holds blocks")
        self._decoding.check([run for run in runs if run.stage is Stage.DECODE])

    def _plan(self) -> Batch:
        decoding = self._decoding
        decoding.tick += 1
        self._chunks = []
        self._following = 0
        budget = self.config.max_num_batched_tokens - decoding.count
        chunk, blocks = self._next_chunk(budget)
        if decoding.demand + blocks > self._free:
            return self._compose(*self._plan_short_of_blocks())
        self._free -= decoding.demand
        if chunk:
            self._take_chunk(chunk, blocks)
        self._admit_waiting(budget - chunk)
        if not self._chunks:
            self._look_ahead()
        return self._compose(0, 0)

    def _look_ahead(self) -> None:
        """Take the steps together in which the same requests decode and nobody else can start.

        Free blocks only get fewer in them, so who does not fit now does not fit until the end.
        """
        decoding = self._decoding
        self._following = decoding.ticks_covered(self._free, decoding.ticks_to_finish() - 1)
        self._growth = self.profile.kv_read_seconds * decoding.count

    def _ends_after(self, following: int) -> Seconds:
        """When the ``following``-th step after the one in progress ends; linear growth summed."""
        return Seconds(
            self._start + (following + 1) * (self._duration + self._growth * following / 2)
        )

    def _steps_before(self, now: Seconds) -> int:
        """Which of the following steps is in progress at ``now``; one that ends then still is."""
        low, high = 0, self._following
        while low < high:
            middle = (low + high) // 2
            if self._ends_after(middle) < now:
                low = middle + 1
            else:
                high = middle
        return low

    def _advance(self, count: int) -> None:
        """Make the ``count``-th following step the one in progress."""
        if count == 0:
            return
        self._free -= self._decoding.advance(count)
        self.computed_tokens += count * self._decoding.count
        self.steps += count
        self.busy_seconds += count * (self._duration + self._growth * (count + 1) / 2)
        self._start = self._ends_after(count - 1)
        self._duration += self._growth * count
        self._following -= count

    def _cut(self, now: Seconds) -> None:
        """End with the step in progress at ``now``: what follows has to be planned anew."""
        count = self._steps_before(now)
        self._end = self._ends_after(count)
        self._advance(count)
        self._following = 0

    def _next_chunk(self, budget: int) -> tuple[int, int]:
        """Tokens of the request in the middle of its prefill, and the blocks they need."""
        run = self._prefilling
        if run is None:
            return (0, 0)
        chunk = min(run.length - run.computed, budget)
        return chunk, self._blocks_for(run.computed + chunk) - run.blocks

    def _take_chunk(self, chunk: int, blocks: int) -> None:
        run = self._prefilling
        if run is not None:
            run.blocks += blocks
            self._free -= blocks
            self._chunks.append((run, chunk))

    def _admit_waiting(self, budget: int) -> None:
        config = self.config
        while budget > 0 and len(self._running) < min(config.max_num_seqs, self.max_active):
            run = self._queue.peek()
            if run is None:
                return
            found = 0 if self._tier is None else self._tier.found(run, self)
            count = min(run.length - found, budget)
            demand = run.length if config.reserve_full_prompt else found + count
            if self._blocks_for(demand) > self._free:
                return
            self._queue.pop()
            self._admitted += 1
            run.stage = Stage.PREFILL
            run.place = self._admitted
            run.computed = found
            run.blocks = self._blocks_for(found + count)
            self._free -= run.blocks
            if run.preemptions and self._tier is not None:
                self._load_seconds += self._tier.load(run, found)
            self._running[run.item.number] = run
            self._chunks.append((run, count))
            budget -= count

    def _plan_short_of_blocks(self) -> tuple[int, int]:
        """Plan a step in which somebody must yield: in batch order, each takes or preempts.

        Returns: How many decoding requests miss the step, and the context they do not read.
        """
        for run in self._decoding.demanding():
            if run.stage is not Stage.DECODE:
                continue
            while self._free == 0:
                victim = self._choose_victim()
                self._preempt(victim, run.place)
                if victim is run:
                    return self._skip_behind(run.place)
            self._free -= 1
        # The chunk is settled before anybody yields to it.
        chunk, blocks = self._next_chunk(self.config.max_num_batched_tokens - self._decoding.count)
        while blocks > self._free:
            victim = self._choose_victim()
            self._preempt(victim, self._admitted)
            if self._prefilling is None:
                return (0, 0)
        self._take_chunk(chunk, blocks)
        return (0, 0)

    def _skip_behind(self, place: int) -> tuple[int, int]:
        missed = context = 0
        for run in self._running.values():
            if run.place > place and run.stage is Stage.DECODE:
                context += self._decoding.skip(run)
                missed += 1
        return missed, context

    def _choose_victim(self) -> CountedRun:
        if self.config.policy is Policy.PRIORITY:
            return max(self._running.values(), key=lambda run: run.order)
        return next(reversed(self._running.values()))

    def _preempt(self, victim: CountedRun, place: int) -> None:
        """Take the blocks of ``victim`` while planning for the request at ``place``."""
        held = self._held(victim)
        if victim.stage is Stage.DECODE:
            # Those ahead of ``place`` have taken this step's block; the others have not.
            held -= self._decoding.needs_block(victim) and victim.place >= place
            victim.length = self._decoding.tick - victim.offset
        self._leave_batch(victim, held)
        victim.stage = Stage.WAITING
        victim.preemptions += 1
        victim.unreported_preemptions += 1
        self.preemptions += 1
        by_priority = self.config.policy is Policy.PRIORITY
        # First come first served: in front of everybody, the last to yield first.
        key = victim.order if by_priority else (0, 0.0, -self.preemptions)
        self._queue.push(key, victim)
        self._events.append(
            Event(EventKind.PREEMPTED, victim.item.number, Seconds(self._start), victim.preemptions)
        )

    def _compose(self, missed: int, missed_context: int) -> Batch:
        decode_sequences = self._decoding.count - missed
        decode_context = self._decoding.context - missed_context
        prefill_tokens = 0
        prefill_context = 0.0
        for run, count in self._chunks:
            if count == 1:
                decode_sequences += 1
                decode_context += run.computed + 1
            else:
                prefill_tokens += count
                # Token k of the chunk attends to everything before it and to itself.
                prefill_context += count * (run.computed + (count + 1) / 2)
        return Batch(prefill_tokens, prefill_context, decode_sequences, decode_context)

    def _end_chunks(self, now: Seconds, events: list[Event]) -> None:
        self._prefilling = None
        for run, count in self._chunks:
            if run.stage is not Stage.PREFILL:
                continue
            run.computed += count
            if run.computed < run.length:
                self._prefilling = run
            else:
                self._emit(run, now, events)
        self._chunks = []

    def _emit(self, run: CountedRun, now: Seconds, events: list[Event]) -> None:
        item = run.item
        self.reported_preemptions += run.unreported_preemptions
        run.unreported_preemptions = 0
        if run.length == item.prompt_tokens:
            events.append(Event(EventKind.FIRST_TOKEN, item.number, now, run.preemptions))
        if run.length + 1 - item.prompt_tokens < item.output_tokens:
            self._decoding.add(run)
            run.computed = run.blocks = 0
            return
        self._leave_batch(run, run.blocks)
        self._finish(run, now, events)

    def _finish(self, run: CountedRun, now: Seconds, events: list[Event]) -> None:
        run.stage = Stage.GONE
        del self._live[run.item.number]
        events.append(Event(EventKind.FINISH, run.item.number, now, run.preemptions))

    def _leave_batch(self, run: CountedRun, blocks: int) -> None:
        self._free += blocks
        del self._running[run.item.number]
        if run.stage is Stage.DECODE:
            self._decoding.remove(run)
        if run is self._prefilling:
            self._prefilling = None
        run.computed = run.blocks = 0

    def _held(self, run: CountedRun) -> int:
        return self._decoding.held(run) if run.stage is Stage.DECODE else run.blocks

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.config.block_size)
