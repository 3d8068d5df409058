"""Properties of the simulated engine's scheduler, and the vLLM behaviours it stands for."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alise_bench.sim.scheduler import Scheduler, SchedulerConfig, StepPlan
from alise_bench.sim.sequence import FinishReason, Sequence, SequenceRequest, Status
from alise_bench.sim.waiting import Policy
from alise_core.units import Seconds

SMALL = SchedulerConfig(
    num_blocks=11, block_size=4, max_model_len=40, max_num_batched_tokens=16, max_num_seqs=4
)


def request(
    name: str, prompt: int, output: int, priority: int = 0, first_token: int = 0
) -> SequenceRequest:
    tokens = tuple(range(first_token, first_token + prompt))
    return SequenceRequest(name, tokens, output, FinishReason.LENGTH, priority)


def step(scheduler: Scheduler, now: float) -> list[str]:
    """Names that produced a token in one step."""
    plan = scheduler.schedule(Seconds(now))
    emitted = scheduler.complete(plan, Seconds(now + 0.5))
    scheduler.check()
    return [item.sequence.request.request_id for item in emitted]


def run_dry(scheduler: Scheduler, now: float = 0.0, limit: int = 10_000) -> list[str]:
    """Names in order of finishing."""
    finished: list[str] = []
    for index in range(limit):
        if not scheduler.sequences:
            return finished
        plan = scheduler.schedule(Seconds(now + index))
        scheduler.check()
        emitted = scheduler.complete(plan, Seconds(now + index + 0.5))
        finished += [item.sequence.request.request_id for item in emitted if item.finish]
        scheduler.check()
    raise AssertionError("the scheduler does not make progress")


arrivals = st.lists(
    st.tuples(
        st.integers(1, 20),  # prompt
        st.integers(1, 20),  # output
        st.integers(-2, 2),  # priority
        st.integers(0, 3),  # which family of prompts: shared prefixes
    ),
    min_size=1,
    max_size=12,
)


@given(arrivals, st.sampled_from(Policy), st.booleans(), st.booleans())
@settings(max_examples=80, deadline=None)
def test_everything_finishes_with_exactly_its_tokens(
    items: list[tuple[int, int, int, int]], policy: Policy, prefix: bool, reserve: bool
) -> None:
    config = replace(SMALL, policy=policy, prefix_caching=prefix, reserve_full_prompt=reserve)
    scheduler = Scheduler(config)
    sequences: list[Sequence] = []
    for number, (prompt, output, priority, family) in enumerate(items):
        made = request(str(number), prompt, output, priority, family * 100)
        sequences.append(scheduler.add(made, Seconds(float(number))))
    finished = run_dry(scheduler, now=100.0)
    assert sorted(finished) == sorted(str(number) for number in range(len(items)))
    for sequence, (prompt, output, _, _) in zip(sequences, items, strict=True):
        assert sequence.generated == output
        assert len(sequence.tokens) == prompt + output
        assert sequence.status is Status.FINISHED
        # No position is computed twice over, and the last token needs no KV of its own.
        assert sequence.computed == prompt + output - 1
    assert scheduler.pool.free == scheduler.pool.usable


class SchedulerMachine(RuleBasedStateMachine):
    """Arrivals, steps, completions and aborts in any order, aborts in mid-step included."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(replace(SMALL, policy=Policy.PRIORITY))
        self.now = 0.0
        self.plan: StepPlan | None = None
        self.added: dict[str, Sequence] = {}
        self.tokens: dict[str, int] = {}
        self.aborted: set[str] = set()

    @rule(prompt=st.integers(1, 24), output=st.integers(1, 16), priority=st.integers(-1, 1))
    def add(self, prompt: int, output: int, priority: int) -> None:
        name = str(len(self.added))
        made = request(name, prompt, output, priority, 100 * (len(self.added) % 2))
        self.added[name] = self.scheduler.add(made, Seconds(self.now))

    @precondition(lambda self: self.plan is None)
    @rule()
    def schedule(self) -> None:
        self.plan = self.scheduler.schedule(Seconds(self.now))
        assert sum(self.plan.tokens.values()) <= SMALL.max_num_batched_tokens
        assert all(count > 0 for count in self.plan.tokens.values())
        assert not set(self.plan.preempted) & set(self.plan.tokens)
        if self.plan.preempted:
            assert not any(item.first_scheduled == self.now for item in self.plan.tokens), (
                "nobody is admitted in a step that preempted"
            )

    @precondition(lambda self: self.plan is not None)
    @rule()
    def complete(self) -> None:
        assert self.plan is not None
        self.now += 1.0
        for item in self.scheduler.complete(self.plan, Seconds(self.now)):
            name = item.sequence.request.request_id
            assert name not in self.aborted
            self.tokens[name] = self.tokens.get(name, 0) + 1
        self.plan = None

    @precondition(lambda self: self.scheduler.sequences)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.scheduler.sequences)))
        assert self.scheduler.abort(name) is self.added[name]
        assert self.scheduler.abort(name) is None
        self.aborted.add(name)

    @invariant()
    def consistent(self) -> None:
        if self.plan is None:
            self.scheduler.check()
        for name, sequence in self.added.items():
            assert self.tokens.get(name, 0) == sequence.generated
            live = name in self.scheduler.sequences
            assert live is not (
                name in self.aborted or sequence.generated == sequence.request.output_tokens
            )


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


def test_a_long_prompt_is_prefilled_in_chunks_within_the_token_budget() -> None:
    scheduler = Scheduler(SMALL)
    scheduler.add(request("a", 30, 2), Seconds(0))
    counts: list[int] = []
    for now in range(4):
        plan = scheduler.schedule(Seconds(now))
        counts += plan.tokens.values()
        scheduler.complete(plan, Seconds(now + 0.5))
    assert counts == [16, 14, 1]


def test_running_decodes_come_before_waiting_prefills() -> None:
    scheduler = Scheduler(SMALL)
    scheduler.add(request("a", 4, 9), Seconds(0))
    assert step(scheduler, 0) == ["a"]
    scheduler.add(request("b", 30, 2, first_token=50), Seconds(1))
    plan = scheduler.schedule(Seconds(1))
    assert [item.request.request_id for item in plan.tokens] == ["a", "b"]
    assert list(plan.tokens.values()) == [1, 15]
    assert plan.batch.decode_sequences == 1
    assert plan.batch.prefill_tokens == 15


def test_priority_orders_the_waiting_and_ties_go_by_arrival() -> None:
    scheduler = Scheduler(replace(SMALL, policy=Policy.PRIORITY, max_num_seqs=1))
    for name, priority in (("late", 5), ("first", 1), ("second", 1), ("urgent", -3)):
        scheduler.add(request(name, 2, 1, priority), Seconds(0))
    assert run_dry(scheduler) == ["urgent", "first", "second", "late"]


def test_fcfs_ignores_priority() -> None:
    scheduler = Scheduler(replace(SMALL, max_num_seqs=1))
    for name, priority in (("a", 5), ("b", -5)):
        scheduler.add(request(name, 2, 1, priority), Seconds(0))
    assert run_dry(scheduler) == ["a", "b"]


def test_a_better_waiting_request_does_not_displace_a_running_one() -> None:
    scheduler = Scheduler(replace(SMALL, policy=Policy.PRIORITY, max_num_seqs=1))
    running = scheduler.add(request("running", 4, 6, priority=9), Seconds(0))
    step(scheduler, 0)
    scheduler.add(request("urgent", 4, 1, priority=-9, first_token=50), Seconds(1))
    assert run_dry(scheduler, 1) == ["running", "urgent"]
    assert running.preemptions == 0


@pytest.mark.parametrize(
    ("policy", "victim"), [(Policy.FCFS, "late"), (Policy.PRIORITY, "unimportant")]
)
def test_full_memory_preempts_the_policys_victim(policy: Policy, victim: str) -> None:
    scheduler = Scheduler(replace(SMALL, policy=policy, num_blocks=9))
    names = ["unimportant", "late"]
    sequences = {
        "unimportant": scheduler.add(request("unimportant", 14, 10, 7), Seconds(0)),
        "late": scheduler.add(request("late", 14, 10, 0, first_token=50), Seconds(1)),
    }
    assert sorted(run_dry(scheduler, 2)) == sorted(names)
    assert sequences[victim].preemptions == 1
    assert all(sequences[name].preemptions == 0 for name in names if name != victim)


def test_a_preemption_is_reported_with_the_victims_next_output_only() -> None:
    scheduler = Scheduler(replace(SMALL, num_blocks=9))
    scheduler.add(request("first", 14, 10), Seconds(0))
    victim = scheduler.add(request("victim", 14, 10, first_token=50), Seconds(1))
    reports = []
    for now in range(40):
        plan = scheduler.schedule(Seconds(now))
        if victim.status is Status.PREEMPTED:
            assert victim.unreported_preemptions == 1
        emitted = scheduler.complete(plan, Seconds(now + 0.5))
        reports += [
            (item.sequence.request.request_id, item.preemptions)
            for item in emitted
            if item.preemptions
        ]
    assert reports == [("victim", 1)]


def test_a_resumed_sequence_finds_its_blocks_in_the_prefix_cache() -> None:
    scheduler = Scheduler(replace(SMALL, num_blocks=9))
    scheduler.add(request("first", 14, 10), Seconds(0))
    victim = scheduler.add(request("victim", 14, 10, first_token=50), Seconds(1))
    computed_on_resume = None
    for now in range(40):
        was = victim.status
        plan = scheduler.schedule(Seconds(now))
        if was is Status.PREEMPTED and victim.status is Status.RUNNING:
            computed_on_resume = victim.computed
        scheduler.complete(plan, Seconds(now + 0.5))
    assert victim.finished
    assert computed_on_resume is not None
    assert computed_on_resume > 0
    assert scheduler.cache.queries == 28, "a resumption is no prefix cache query"


def test_a_waiting_request_that_does_not_fit_stops_the_scan() -> None:
    scheduler = Scheduler(replace(SMALL, num_blocks=9))
    scheduler.add(request("holds", 14, 4), Seconds(0))
    step(scheduler, 0)
    scheduler.add(request("too big now", 30, 1, first_token=50), Seconds(1))
    scheduler.add(request("would fit", 2, 1, first_token=90), Seconds(2))
    assert step(scheduler, 1) == ["holds"]
    assert run_dry(scheduler, 2) == ["holds", "too big now", "would fit"]


def test_a_repeated_prompt_reuses_its_full_blocks_but_computes_the_last_token() -> None:
    scheduler = Scheduler(SMALL)
    scheduler.add(request("a", 12, 1), Seconds(0))
    run_dry(scheduler)
    again = scheduler.add(request("b", 12, 1), Seconds(1))
    plan = scheduler.schedule(Seconds(1))
    assert plan.tokens == {again: 4}
    assert again.cached_tokens == 8
    assert (scheduler.cache.queries, scheduler.cache.hits) == (24, 8)


def test_an_active_cap_below_the_limit_holds_admission() -> None:
    scheduler = Scheduler(SMALL)
    scheduler.max_num_active = 1
    for name in "ab":
        scheduler.add(request(name, 2, 2), Seconds(0))
    scheduler.schedule(Seconds(0))
    assert [item.request.request_id for item in scheduler.running] == ["a"]


@pytest.mark.parametrize(
    "bad", [request("x", 0, 1), request("x", 1, 0), request("x", 30, 30)], ids=str
)
def test_what_can_never_run_is_refused_at_once(bad: SequenceRequest) -> None:
    scheduler = Scheduler(SMALL)
    with pytest.raises(ValueError, match="x"):
        scheduler.add(bad, Seconds(0))
    assert not scheduler.sequences


def test_an_id_is_served_once_at_a_time() -> None:
    scheduler = Scheduler(SMALL)
    scheduler.add(request("a", 1, 1), Seconds(0))
    with pytest.raises(ValueError, match="already"):
        scheduler.add(request("a", 1, 1), Seconds(0))
