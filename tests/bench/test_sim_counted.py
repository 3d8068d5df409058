import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_bench.sim.counted import CountedEngine
from alise_bench.sim.counted_state import CountedRequest, EngineLoad, Event, EventKind
from alise_bench.sim.scheduler import Scheduler, SchedulerConfig
from alise_bench.sim.sequence import Sequence, SequenceRequest
from alise_bench.sim.step_model import A100, CPU, PROFILES, Profile
from alise_bench.sim.virtual import VirtualEngine
from alise_bench.sim.waiting import Policy
from alise_core.units import Seconds

DYADIC = replace(
    CPU,
    overhead_seconds=1.0,
    prefill_token_seconds=1 / 64,
    attention_pair_seconds=1 / 1024,
    decode_sequence_seconds=1 / 32,
    kv_read_seconds=1 / 256,
)
"""Sums of these are exact, so that both engines see the same ties."""
ROUND = replace(
    DYADIC,
    prefill_token_seconds=0.0,
    attention_pair_seconds=0.0,
    decode_sequence_seconds=0.0,
    kv_read_seconds=0.0,
)
"""Every step takes a second, so that ties are common."""


@dataclass(frozen=True)
class External:
    """Something from outside: a submission, an abort of ``number``, or else a look."""

    time: float
    submit: CountedRequest | None = None
    abort: int | None = None


@dataclass
class Story:
    """All that an engine did."""

    first: dict[int, float] = field(default_factory=dict)
    finish: dict[int, float] = field(default_factory=dict)
    preemptions: dict[int, int] = field(default_factory=dict)
    loads: list[EngineLoad] = field(default_factory=list)
    busy_seconds: float = 0.0
    steps: int = 0


class Reference:
    """The scheduler and the virtual engine, told the same."""

    def __init__(self, config: SchedulerConfig, profile: Profile) -> None:
        self.engine = VirtualEngine(Scheduler(config), profile)
        self.sequences: dict[int, Sequence] = {}
        self.reported = 0
        self.loads: list[EngineLoad] = []

    def apply(self, item: External) -> None:
        if item.submit is not None:
            asked = item.submit
            request = SequenceRequest(
                str(asked.number),
                tuple(range(asked.prompt_tokens)),
                asked.output_tokens,
                priority=asked.priority,
            )
            self.sequences[asked.number] = self.engine.submit(request, Seconds(item.time))
        elif item.abort is not None:
            self.engine.scheduler.abort(str(item.abort))
        else:
            self.loads.append(self.load())

    def load(self) -> EngineLoad:
        scheduler = self.engine.scheduler
        return EngineLoad(
            len(scheduler.running),
            len(scheduler.waiting),
            scheduler.pool.free,
            scheduler.pool.usage_ratio,
            sum(sequence.preemptions for sequence in self.sequences.values()),
            self.reported,
        )

    def run(self, externals: list[External]) -> None:
        pending = list(externals)
        now = 0.0
        while pending or self.engine.scheduler.sequences:
            if not self.engine.scheduler.sequences:
                now = max(now, pending[0].time)
            while pending and pending[0].time <= now:
                self.apply(pending.pop(0))
            end = self.engine.begin_step(Seconds(now))
            if end is None:
                continue
            while pending and pending[0].time < end:
                self.apply(pending.pop(0))
            now = end
            self.reported += sum(item.preemptions for item in self.engine.end_step(end))
        self.engine.scheduler.check()

    def story(self) -> Story:
        sequences = self.sequences.items()
        first = {number: item.first_token for number, item in sequences}
        last = {
            number: item.last_token
            for number, item in sequences
            if item.generated == item.request.output_tokens
        }
        return Story(
            {number: time for number, time in first.items() if time is not None},
            {number: time for number, time in last.items() if time is not None},
            {number: item.preemptions for number, item in sequences},
            self.loads,
            self.engine.busy_seconds,
            self.engine.steps,
        )


def reference(config: SchedulerConfig, profile: Profile, externals: list[External]) -> Story:
    """What the scheduler and the virtual engine make of it."""
    run = Reference(config, profile)
    run.run(externals)
    return run.story()


def counted(config: SchedulerConfig, profile: Profile, externals: list[External]) -> Story:
    """What the counted engine makes of it."""
    story = Story()
    engine = CountedEngine(config, profile)

    def apply(item: External) -> None:
        if item.submit is not None:
            story.preemptions[item.submit.number] = 0
            engine.submit(item.submit, Seconds(item.time))
        elif item.abort is not None:
            engine.abort(item.abort, Seconds(item.time))
        else:
            story.loads.append(engine.observe(Seconds(item.time)))
        engine.check()

    for event in drive(engine, externals, apply):
        if event.kind is EventKind.FIRST_TOKEN:
            assert story.first.setdefault(event.number, event.time) == event.time
        elif event.kind is EventKind.FINISH:
            assert event.number not in story.finish
            story.finish[event.number] = event.time
        story.preemptions[event.number] = event.preemptions
        engine.check()
    story.busy_seconds, story.steps = engine.busy_seconds, engine.steps
    assert engine.observe(Seconds(0.0)).usage_ratio == 0.0
    assert (engine.running, engine.waiting) == (0, 0)
    assert engine.preemptions == sum(story.preemptions.values())
    return story


def drive(
    engine: CountedEngine, externals: Iterable[External], apply: Callable[[External], None]
) -> Iterator[Event]:
    """The outer loop of one engine: ends first, then externals, then begins."""
    pending = list(externals)
    while pending or engine.next_end is not None:
        due = engine.next_end
        if due is not None and (not pending or due <= pending[0].time):
            now = due
            yield from engine.end(due)
        else:
            now = Seconds(pending[0].time)
        while pending and pending[0].time <= now:
            apply(pending.pop(0))
        if engine.next_end is None:
            engine.begin(now)


@st.composite
def configs(draw: st.DrawFn) -> SchedulerConfig:
    block_size = draw(st.sampled_from([1, 2, 3, 4, 16]))
    return SchedulerConfig(
        num_blocks=draw(st.integers(2, 24)) + 24 // block_size,
        block_size=block_size,
        max_model_len=draw(st.integers(8, 80)),
        max_num_batched_tokens=draw(st.sampled_from([1, 2, 5, 9, 16, 30, 64])),
        max_num_seqs=draw(st.integers(1, 12)),
        policy=draw(st.sampled_from(list(Policy))),
        prefix_caching=False,
        reserve_full_prompt=draw(st.booleans()),
    )


@st.composite
def externals_for(draw: st.DrawFn, config: SchedulerConfig, unit: float) -> list[External]:
    limit = min(config.max_model_len, (config.num_blocks - 1) * config.block_size)
    span = draw(st.sampled_from([0, 10, 100, 400]))
    times = st.integers(0, span).map(lambda tick: tick * unit)
    items = []
    for number in range(draw(st.integers(1, 25))):
        # Short prompts crowd the batch, and then blocks are short in the middle of it.
        prompt = draw(st.integers(1, min(4, limit - 1)) | st.integers(1, limit - 1))
        output = draw(st.integers(1, limit - prompt))
        request = CountedRequest(number, prompt, output, draw(st.integers(0, 3)))
        arrival = draw(times)
        items.append(External(arrival, submit=request))
        if draw(st.integers(0, 4)) == 0:
            items.append(External(arrival + draw(times), abort=number))
    items += [External(draw(times)) for _ in range(draw(st.integers(0, 6)))]
    return sorted(items, key=lambda item: item.time)


def assert_same(found: Story, expected: Story) -> None:
    assert found.preemptions == expected.preemptions
    assert found.first == pytest.approx(expected.first, rel=1e-9)
    assert found.finish == pytest.approx(expected.finish, rel=1e-9)
    assert found.loads == expected.loads
    assert found.steps == expected.steps
    assert found.busy_seconds == pytest.approx(expected.busy_seconds, rel=1e-9)


@pytest.mark.slow
@given(st.data(), configs(), st.sampled_from([(DYADIC, 0.25), (ROUND, 0.5), (A100, 0.0123457)]))
@settings(max_examples=300, deadline=None)
def test_times_and_preemptions_are_those_of_the_scheduler(
    data: st.DataObject, config: SchedulerConfig, timing: tuple[Profile, float]
) -> None:
    profile, unit = timing
    externals = data.draw(externals_for(config, unit))
    assert_same(counted(config, profile, externals), reference(config, profile, externals))


def test_those_behind_one_that_yields_to_itself_miss_the_step() -> None:
    config = SchedulerConfig(
        num_blocks=4,
        block_size=4,
        max_model_len=12,
        policy=Policy.PRIORITY,
        prefix_caching=False,
    )
    # Each holds one of three blocks when 1, the least important, wants another in the fourth step.
    externals = [
        External(0.0, submit=CountedRequest(0, 1, 4, 0)),
        External(0.0, submit=CountedRequest(1, 2, 6, 1)),
        External(1.5, submit=CountedRequest(2, 1, 6, 0)),
    ]
    found = counted(config, ROUND, externals)
    assert_same(found, reference(config, ROUND, externals))
    assert found.preemptions == {0: 0, 1: 1, 2: 0}
    # Six tokens in six steps would end at 8; 2 stands behind 1 and misses the fourth.
    assert (found.first[2], found.finish[2]) == (3.0, 9.0)


def small(**limits: object) -> CountedEngine:
    config = SchedulerConfig(num_blocks=64, block_size=4, max_model_len=100, prefix_caching=False)
    return CountedEngine(replace(config, **limits), ROUND)  # type: ignore[arg-type]


def finishes(engine: CountedEngine) -> dict[int, float]:
    events = drive(engine, [], print)
    return {event.number: event.time for event in events if event.kind is EventKind.FINISH}


def test_events_carry_exact_times() -> None:
    engine = small(max_num_seqs=1)
    engine.submit(CountedRequest(1, 5, 3), Seconds(0.0))
    engine.submit(CountedRequest(2, 5, 1), Seconds(0.0))
    engine.begin(Seconds(0.0))
    assert list(drive(engine, [], print)) == [
        Event(EventKind.FIRST_TOKEN, 1, Seconds(1.0), 0),
        Event(EventKind.FINISH, 1, Seconds(3.0), 0),
        Event(EventKind.FIRST_TOKEN, 2, Seconds(4.0), 0),
        Event(EventKind.FINISH, 2, Seconds(4.0), 0),
    ]
    assert engine.steps == engine.busy_seconds == 4


def test_plain_decoding_is_one_jump_and_a_submission_cuts_it() -> None:
    engine = small()
    engine.submit(CountedRequest(1, 4, 50), Seconds(0.0))
    assert engine.begin(Seconds(0.0)) == 1.0
    engine.end(Seconds(1.0))
    assert engine.begin(Seconds(1.0)) == 50.0
    engine.submit(CountedRequest(2, 4, 1), Seconds(9.5))
    assert engine.next_end == 10.0
    with pytest.raises(RuntimeError, match="due"):
        engine.end(Seconds(50.0))
    assert engine.end(Seconds(10.0)) == []
    engine.begin(Seconds(10.0))
    assert finishes(engine) == {1: 50.0, 2: 11.0}


def test_who_queues_behind_a_misfit_cuts_nothing() -> None:
    engine = small(max_num_seqs=1)
    for number in (1, 2):
        engine.submit(CountedRequest(number, 4, 50), Seconds(0.0))
    engine.begin(Seconds(0.0))
    engine.end(Seconds(1.0))
    engine.begin(Seconds(1.0))
    engine.submit(CountedRequest(3, 4, 50), Seconds(9.5))
    assert engine.abort(3, Seconds(10.5))
    assert engine.next_end == 50.0
    assert (engine.running, engine.waiting) == (1, 1)


def test_an_abort_cuts_a_jump_and_the_next_one_passes_where_it_would_have_ended() -> None:
    engine = small()
    engine.submit(CountedRequest(1, 4, 20), Seconds(0.0))
    engine.submit(CountedRequest(2, 4, 50), Seconds(0.0))
    engine.begin(Seconds(0.0))
    engine.end(Seconds(1.0))
    assert engine.begin(Seconds(1.0)) == 20.0
    assert engine.abort(1, Seconds(5.5))
    assert engine.end(Seconds(6.0)) == []
    assert engine.begin(Seconds(6.0)) == 50.0


def test_looking_into_a_jump_does_not_change_its_end() -> None:
    engine = small()
    engine.submit(CountedRequest(1, 4, 50), Seconds(0.0))
    engine.begin(Seconds(0.0))
    engine.end(Seconds(1.0))
    engine.begin(Seconds(1.0))
    # At 9.5 the ninth decode runs: 4 + 9 tokens hold four blocks of four.
    assert engine.observe(Seconds(9.5)) == EngineLoad(1, 0, 59, 1.0 - 59 / 63, 0, 0)
    assert engine.next_end == 50.0
    assert finishes(engine) == {1: 50.0}


def test_a_preemption_is_reported_when_the_victim_speaks_again() -> None:
    engine = small(num_blocks=5, max_model_len=16)
    for number in (1, 2):
        engine.submit(CountedRequest(number, 4, 10), Seconds(0.0))
    engine.begin(Seconds(0.0))
    seen = [
        (event, engine.preemptions, engine.reported_preemptions)
        for event in drive(engine, [], print)
        if event.kind is EventKind.PREEMPTED
    ]
    # Both want a third block for their ninth token, which the sixth step computes; four exist.
    assert seen == [(Event(EventKind.PREEMPTED, 2, Seconds(5.0), 1), 1, 0)]
    assert engine.reported_preemptions == 1


def test_an_abort_frees_blocks_at_once_and_the_step_goes_on() -> None:
    engine = small()
    engine.submit(CountedRequest(1, 40, 5), Seconds(0.0))
    engine.begin(Seconds(0.0))
    assert engine.observe(Seconds(0.5)).free_blocks == 53
    assert engine.abort(1, Seconds(0.5))
    assert not engine.abort(1, Seconds(0.5))
    assert engine.observe(Seconds(0.5)).free_blocks == 63
    assert engine.next_end == 1.0
    assert engine.end(Seconds(1.0)) == []
    assert engine.begin(Seconds(1.0)) is None


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (CountedRequest(2, 0, 5), "prompt"),
        (CountedRequest(2, 5, 0), "output"),
        (CountedRequest(1, 5, 5), "already"),
        (CountedRequest(2, 90, 11), "exceed"),
    ],
)
def test_impossible_requests_are_refused(item: CountedRequest, message: str) -> None:
    engine = small()
    engine.submit(CountedRequest(1, 5, 5), Seconds(0.0))
    with pytest.raises(ValueError, match=message):
        engine.submit(item, Seconds(0.0))
    assert engine.waiting == 1
    engine.check()


def test_a_configuration_it_cannot_follow_is_refused() -> None:
    with pytest.raises(ValueError, match="prefix"):
        small(prefix_caching=True)
    with pytest.raises(ValueError, match="blocks"):
        small(num_blocks=1)


def test_steps_do_not_overlap() -> None:
    engine = small()
    assert engine.begin(Seconds(0.0)) is None
    with pytest.raises(RuntimeError, match="due"):
        engine.end(Seconds(0.0))
    engine.submit(CountedRequest(1, 5, 5), Seconds(0.0))
    engine.begin(Seconds(0.0))
    with pytest.raises(RuntimeError, match="in progress"):
        engine.begin(Seconds(0.5))


def test_one_heap_drives_many_engines() -> None:
    items = [(0.7 * n, n % 3, CountedRequest(n, 3 + n % 20, 2 + n % 60)) for n in range(60)]
    engines = [small(num_blocks=30) for _ in range(3)]
    heap: list[tuple[float, int, int]] = [(time, 1, n) for n, (time, _, _) in enumerate(items)]
    heapq.heapify(heap)
    found: dict[int, float] = {}
    while heap:
        # Ends (0), then submissions (1), then begins (2).
        now, kind, index = heapq.heappop(heap)
        engine = engines[items[index][1] if kind == 1 else index]
        if kind == 0 and engine.next_end == now:
            events = engine.end(Seconds(now))
            found |= {item.number: now for item in events if item.kind is EventKind.FINISH}
        elif kind == 1:
            engine.submit(items[index][2], Seconds(now))
        elif kind == 2 and engine.next_end is None:
            engine.begin(Seconds(now))
        due = engine.next_end
        if due is not None:
            heapq.heappush(heap, (due, 0, engines.index(engine)))
        elif kind < 2:
            heapq.heappush(heap, (now, 2, engines.index(engine)))
    for index, engine in enumerate(engines):
        engine.check()
        alone = [External(time, submit=item) for time, pod, item in items if pod == index]
        expected = counted(engine.config, ROUND, alone)
        assert {number: found[number] for number in expected.finish} == expected.finish


def test_the_paged_attention_setting() -> None:
    profile = PROFILES["a100-13b"]
    usable_tokens = (profile.num_blocks - 1) * profile.block_size
    assert 15_700 - profile.block_size < usable_tokens <= 15_700
    # 2 x 40 layers x 5120 x 2 bytes, read at 80 % of 1,555 GB/s; 26 GB of weights.
    assert profile.kv_read_seconds == pytest.approx(819_200 / (1.555e12 * 0.8))
    assert profile.overhead_seconds == pytest.approx(0.0229, rel=0.01)
    assert usable_tokens * 819_200 == pytest.approx(12 * 2**30, rel=0.01)
    assert profile.max_model_len == profile.max_num_batched_tokens == 2048
