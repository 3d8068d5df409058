"""Continuous batching: which sequences compute how many tokens in the next step.

A state machine without clock or I/O: ``add`` and ``abort`` change what there is, ``schedule``
plans one step, ``complete`` books its results. In every step there is one token budget; running
sequences come first, then waiting ones while nothing was preempted; prompts are prefilled in
chunks. When a running sequence needs a block and none is free, the latest (first come first
served) or the least important and latest (priority) running sequence is preempted: its blocks
are released, it returns to the queue, and on resumption it finds what the prefix cache still
holds and recomputes the rest. A waiting sequence that does not fit stops the scan behind it,
and no waiting sequence displaces a running one.

Invariants (``check``): every live sequence is in exactly one place; block references match
exactly what the sequences hold; the running set respects its limits.

Source: vLLM ``v1/core/sched/scheduler.py`` (version 0.32).
"""

from dataclasses import dataclass, field

from alise_bench.sim.kv_cache import BlockPool, chain_hashes
from alise_bench.sim.sequence import FinishReason, Sequence, SequenceRequest, Status
from alise_bench.sim.step_model import Batch, Profile
from alise_bench.sim.waiting import Policy, waiting_queue
from alise_core.units import Seconds


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Limits of one engine, with vLLM's names and meanings."""

    num_blocks: int
    block_size: int
    max_model_len: int
    max_num_batched_tokens: int = 8192
    max_num_seqs: int = 256
    policy: Policy = Policy.FCFS
    prefix_caching: bool = True
    reserve_full_prompt: bool = True
    """Admit only when the whole prompt would fit in free blocks (vLLM's
    ``scheduler_reserve_full_isl``)."""

    @classmethod
    def for_profile(cls, profile: Profile, policy: Policy = Policy.FCFS) -> "SchedulerConfig":
        """The profile's own sizes."""
        return cls(
            num_blocks=profile.num_blocks,
            block_size=profile.block_size,
            max_model_len=profile.max_model_len,
            max_num_batched_tokens=profile.max_num_batched_tokens,
            max_num_seqs=profile.max_num_seqs,
            policy=policy,
        )


@dataclass(slots=True)
class StepPlan:
    """What one step computes.

    Attributes:
        tokens: New tokens per sequence, in schedule order.
        preempted: Sequences that lost their blocks while planning.
        batch: The composition that the step model prices.
    """

    tokens: dict[Sequence, int] = field(default_factory=dict)
    preempted: list[Sequence] = field(default_factory=list)
    batch: Batch = field(default_factory=Batch)


@dataclass(frozen=True, slots=True)
class Emitted:
    """One token that a step produced."""

    sequence: Sequence
    token: int
    previous: Seconds | None
    """When the sequence's token before this one came."""
    finish: FinishReason | None
    preemptions: int
    """Preemptions not yet reported: they become visible with the next output only."""


@dataclass(slots=True)
class CacheCounters:
    """Prefix-cache tokens asked for and found by first admissions; resumptions do not count."""

    queries: int = 0
    hits: int = 0


class Scheduler:
    """The engine's scheduler; see the module for its rules.

    Raises:
        ValueError: From ``add``: an empty prompt, no output, a duplicate id, or a request that
            can never fit. Refused before any state changes.
    """

    def __init__(self, config: SchedulerConfig) -> None:
        self.config = config
        self.pool = BlockPool(
            config.num_blocks, config.block_size, prefix_caching=config.prefix_caching
        )
        self.running: list[Sequence] = []
        self.waiting = waiting_queue(config.policy)
        self.sequences: dict[str, Sequence] = {}
        self.cache = CacheCounters()
        self.max_num_active: int | None = None
        """Admission cap below ``max_num_seqs`` that may change while running."""
        self._submitted = 0

    @property
    def max_request_tokens(self) -> int:
        """Prompt plus output that one sequence may reach."""
        return min(self.config.max_model_len, self.pool.usable * self.pool.block_size)

    def add(self, request: SequenceRequest, now: Seconds) -> Sequence:
        """Queue a request that arrived at ``now``."""
        if not request.prompt or request.output_tokens < 1:
            raise ValueError(f"{request.request_id}: a request needs a prompt and an output")
        if request.request_id in self.sequences:
            raise ValueError(f"{request.request_id}: already in the engine")
        if len(request.prompt) + request.output_tokens > self.max_request_tokens:
            raise ValueError(
                f"{request.request_id}: {len(request.prompt)} + {request.output_tokens} tokens "
                f"exceed {self.max_request_tokens}"
            )
        self._submitted += 1
        sequence = Sequence(request, now, self._submitted)
        if self.config.prefix_caching:
            chain_hashes(sequence.tokens, self.pool.block_size, sequence.hashes)
        self.sequences[request.request_id] = sequence
        self.waiting.push(sequence)
        return sequence

    def abort(self, request_id: str) -> Sequence | None:
        """Drop a sequence wherever it is; ``None`` when it is already gone."""
        sequence = self.sequences.get(request_id)
        if sequence is None:
            return None
        if sequence.status is Status.RUNNING:
            self.running.remove(sequence)
        else:
            self.waiting.remove(sequence)
        self._finish(sequence)
        return sequence

    def schedule(self, now: Seconds) -> StepPlan:
        """Plan the next step; an empty plan means there is nothing to compute."""
        plan = StepPlan()
        budget = self._schedule_running(plan, self.config.max_num_batched_tokens)
        if not plan.preempted:
            self._admit_waiting(plan, budget, now)
        plan.batch = _compose(plan)
        return plan

    def complete(self, plan: StepPlan, now: Seconds) -> list[Emitted]:
        """Book a planned step that ended at ``now``; sequences aborted meanwhile are skipped."""
        emitted = []
        finished = False
        for sequence, count in plan.tokens.items():
            if sequence.status is not Status.RUNNING:
                continue
            sequence.computed += count
            self._register_full_blocks(sequence)
            if sequence.computed == len(sequence.tokens):
                output = self._emit(sequence, now)
                emitted.append(output)
                finished = finished or output.finish is not None
        if finished:
            self.running = [item for item in self.running if not item.finished]
        return emitted

    def check(self) -> None:
        """Assert the invariants.

        Raises:
            AssertionError: With the first violation.
        """
        self.pool.check()
        waiting = list(self.waiting)
        places = [*self.running, *waiting]
        if len(places) != len(self.sequences) or set(places) != set(self.sequences.values()):
            raise AssertionError("live sequences and queues differ")
        if len(self.running) > self.config.max_num_seqs:
            raise AssertionError(f"{len(self.running)} running")
        if any(sequence.blocks or sequence.status is Status.RUNNING for sequence in waiting):
            raise AssertionError("a waiting sequence holds blocks")
        if self._held_blocks() != self.pool.references():
            raise AssertionError("block references differ from what sequences hold")

    def _held_blocks(self) -> dict[int, int]:
        held: dict[int, int] = {}
        for sequence in self.running:
            if sequence.status is not Status.RUNNING:
                raise AssertionError(f"{sequence.request.request_id} is {sequence.status}")
            if sequence.computed > len(sequence.blocks) * self.pool.block_size:
                raise AssertionError(f"{sequence.request.request_id}: KV without blocks")
            for block in sequence.blocks:
                held[block] = held.get(block, 0) + 1
        return held

    def _schedule_running(self, plan: StepPlan, budget: int) -> int:
        index = 0
        while index < len(self.running) and budget > 0:
            sequence = self.running[index]
            count = min(len(sequence.tokens) - sequence.computed, budget)
            while not self._grow(sequence, count):
                victim = self._choose_victim()
                position = self.running.index(victim)
                index -= position < index
                budget += plan.tokens.pop(victim, 0)
                self._preempt(victim, plan)
                if victim is sequence:
                    return budget
            plan.tokens[sequence] = count
            budget -= count
            index += 1
        return budget

    def _admit_waiting(self, plan: StepPlan, budget: int, now: Seconds) -> None:
        limit = self.config.max_num_seqs
        if self.max_num_active is not None:
            limit = min(limit, self.max_num_active)
        while budget > 0 and len(self.waiting) and len(self.running) < limit:
            sequence = self.waiting.peek()
            count = self._admit(sequence, budget, now)
            if count == 0:
                return
            self.waiting.pop()
            self.running.append(sequence)
            plan.tokens[sequence] = count
            budget -= count

    def _admit(self, sequence: Sequence, budget: int, now: Seconds) -> int:
        """Give a waiting sequence blocks for its first chunk; 0 when it does not fit."""
        # The last token is always computed: its logits are what the next token comes from.
        reusable = (len(sequence.tokens) - 1) // self.pool.block_size
        cached = self.pool.find(sequence.hashes[:reusable])
        start = len(cached) * self.pool.block_size
        count = min(len(sequence.tokens) - start, budget)
        demand = len(sequence.tokens) if self.config.reserve_full_prompt else start + count
        needed = self.pool.blocks_for(demand) - len(cached)
        if needed > self.pool.free_after_touching(cached):
            return 0
        self.pool.touch(cached)
        sequence.blocks = list(cached)
        sequence.computed = start
        sequence.registered = len(cached)
        if not self._grow(sequence, count):
            raise AssertionError("blocks vanished between the check and the allocation")
        if sequence.preemptions == 0:
            self.cache.queries += len(sequence.tokens)
            self.cache.hits += start
            sequence.cached_tokens = start
            sequence.first_scheduled = now
        sequence.status = Status.RUNNING
        return count

    def _grow(self, sequence: Sequence, count: int) -> bool:
        missing = self.pool.blocks_for(sequence.computed + count) - len(sequence.blocks)
        if missing <= 0:
            return True
        blocks = self.pool.allocate(missing)
        if blocks is None:
            return False
        sequence.blocks += blocks
        return True

    def _choose_victim(self) -> Sequence:
        if self.config.policy is Policy.PRIORITY:
            return max(self.running, key=lambda sequence: sequence.order)
        return self.running[-1]

    def _preempt(self, victim: Sequence, plan: StepPlan) -> None:
        self.running.remove(victim)
        self._release(victim)
        victim.computed = 0
        victim.registered = 0
        victim.status = Status.PREEMPTED
        victim.preemptions += 1
        victim.unreported_preemptions += 1
        self.waiting.push_back(victim)
        plan.preempted.append(victim)

    def _register_full_blocks(self, sequence: Sequence) -> None:
        full = sequence.computed // self.pool.block_size
        for index in range(sequence.registered, min(full, len(sequence.hashes))):
            self.pool.register(sequence.blocks[index], sequence.hashes[index])
        sequence.registered = max(sequence.registered, full)

    def _emit(self, sequence: Sequence, now: Seconds) -> Emitted:
        request = sequence.request
        token = request.sample(sequence.generated)
        previous = sequence.last_token
        sequence.tokens.append(token)
        if self.config.prefix_caching and len(sequence.tokens) % self.pool.block_size == 0:
            chain_hashes(sequence.tokens, self.pool.block_size, sequence.hashes)
        sequence.last_token = now
        if sequence.first_token is None:
            sequence.first_token = now
        reported, sequence.unreported_preemptions = sequence.unreported_preemptions, 0
        finish = request.finish if sequence.generated >= request.output_tokens else None
        if finish is not None:
            self._finish(sequence)
        return Emitted(sequence, token, previous, finish, reported)

    def _finish(self, sequence: Sequence) -> None:
        self._release(sequence)
        sequence.status = Status.FINISHED
        del self.sequences[sequence.request.request_id]

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.blocks)
        sequence.blocks = []


def _compose(plan: StepPlan) -> Batch:
    prefill_tokens = decode_sequences = decode_context = 0
    prefill_context = 0.0
    for sequence, count in plan.tokens.items():
        if count == 1:
            decode_sequences += 1
            decode_context += sequence.computed + 1
        else:
            prefill_tokens += count
            # Token k of the chunk attends to everything before it and to itself.
            prefill_context += count * (sequence.computed + (count + 1) / 2)
    return Batch(prefill_tokens, prefill_context, decode_sequences, decode_context)
