"""The simulated pool of ``alise bench tuner``: caps, tiers, restarts, figures."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from alise_bench.sim.counted import CountedEngine
from alise_bench.sim.counted_state import CountedRequest, Event, EventKind
from alise_bench.sim.scheduler import SchedulerConfig
from alise_bench.tuner.cli import main
from alise_bench.tuner.control import Changed, Moment, Recorder, Tuned, need_ahead
from alise_bench.tuner.day import Asked, built_in, predicted, read_day
from alise_bench.tuner.figures import Figures, Run, figures_of, oscillations, pressure_of
from alise_bench.tuner.gateways import predicted_peak
from alise_bench.tuner.pool import PodState
from alise_bench.tuner.profiles import H100_24B, load_seconds, tier_tokens, with_dtype
from alise_bench.tuner.report import goals
from alise_bench.tuner.rows import BASELINE, SPEC, TUNER, Start
from alise_bench.tuner.run import full_rate
from alise_bench.tuner.tier import SimTier
from alise_bench.tuner.world import Setup, World
from alise_core.errors import ConfigError
from alise_core.units import Seconds
from alise_operator.tuning.settings import PoolSettings

SMALL = replace(H100_24B, num_blocks=101, max_num_seqs=16)
"""1,600 KV tokens."""
SETUP = replace(Setup(), profile=SMALL, pods=2)


def engine(tier: SimTier | None = None) -> CountedEngine:
    config = replace(SchedulerConfig.for_profile(SMALL), prefix_caching=False)
    return CountedEngine(config, SMALL, tier)


def serve(sim: CountedEngine, count: int, output: int = 400) -> list[Event]:
    for number in range(count):
        sim.submit(CountedRequest(number, 100, output), Seconds(0.0))
    events: list[Event] = []
    now = Seconds(0.0)
    while (due := sim.begin(now)) is not None:
        now = due
        events += sim.end(now)
        sim.check()
    return events


def ended(events: list[Event]) -> float:
    return max(event.time for event in events)


def test_a_cap_that_fits_lets_nobody_be_preempted() -> None:
    free, capped = engine(), engine()
    capped.cap(3, Seconds(0.0))

    serve(free, 8)
    serve(capped, 8)

    assert free.preemptions > 0
    assert capped.preemptions == 0


def test_a_higher_cap_lets_those_who_wait_begin_at_once() -> None:
    sim = engine()
    sim.cap(1, Seconds(0.0))
    for number in range(2):
        sim.submit(CountedRequest(number, 100, 400), Seconds(0.0))
    first = sim.begin(Seconds(0.0))
    assert first is not None
    sim.end(first)
    due = sim.begin(first)
    assert due is not None

    sim.cap(2, Seconds(first + 1.0))

    assert sim.next_end is not None
    assert sim.next_end < due
    assert sim.end(sim.next_end) == []
    sim.begin(Seconds(first + 1.1))
    assert sim.running == 2


@pytest.mark.parametrize("eviction", ["lru", "ewt"])
def test_what_the_tier_has_is_not_computed_again(eviction: str) -> None:
    room = 10_000 * 163_840
    tiers = [SimTier("none", eviction, size) for size in (0, room)]
    bare, tiered = (engine(tier) for tier in tiers)

    slow, fast = serve(bare, 8), serve(tiered, 8)

    assert tiers[0].restored_tokens == 0
    assert tiers[0].recomputed_tokens > 0
    assert tiers[1].restored_tokens > 0
    assert tiered.computed_tokens < bare.computed_tokens
    assert ended(fast) < ended(slow)
    assert {e.number for e in fast if e.kind is EventKind.FINISH} == set(range(8))


def test_a_full_tier_forgets_by_its_policy() -> None:
    small = 300 * 163_840
    lru, ewt = (SimTier("none", eviction, small) for eviction in ("lru", "ewt"))

    serve(engine(lru), 8)
    serve(engine(ewt), 8)

    assert lru.restored_tokens == 0
    assert 0 < ewt.restored_tokens < ewt.recomputed_tokens


def test_a_denser_level_holds_more_and_loads_faster() -> None:
    assert tier_tokens(1 << 30, "int4") == pytest.approx(3.76 * tier_tokens(1 << 30, "none"))
    assert load_seconds(1_000, "int8") < load_seconds(1_000, "none")


def test_fp8_is_twice_the_cache() -> None:
    assert with_dtype(H100_24B, "auto") is H100_24B
    assert with_dtype(H100_24B, "fp8").kv_tokens == 2 * H100_24B.kv_tokens
    assert with_dtype(H100_24B, "fp8", 1.2).overhead_seconds > H100_24B.overhead_seconds


def asked(count: int, gap: float, output: int = 400) -> list[Asked]:
    return predicted([(number * gap, (100, output)) for number in range(count)], 1)


def test_everything_is_answered_once_and_the_demand_goes_back_to_nothing() -> None:
    world = World(asked(60, 0.5), Start(), SETUP, Recorder().look).run()

    assert all(marks.last_token is not None for marks in world.marks)
    assert world.sent == {}
    assert predicted_peak(world, world.now) == (0.0, 0.0)
    assert sum(pod.finished for pod in world.pods) == 60


def test_a_pod_that_restarts_finishes_or_hands_over_what_it_has() -> None:
    begun: list[float] = []

    def look(world: World, now: float) -> None:
        if now >= 20 and not begun:
            begun.append(now)
            world.drain(world.pods[0], "fp8")

    setup = replace(SETUP, drain_seconds=5.0)
    world = World(asked(100, 0.8, 1_200), Start(), setup, look).run()

    assert [pod.dtype for pod in world.pods] == ["fp8", "auto"]
    assert world.pods[0].state is PodState.SERVING
    assert world.pods[0].name == "pod-0-1"
    assert sum(marks.cut for marks in world.marks) > 0
    assert all(marks.last_token is not None for marks in world.marks)


def test_without_any_pod_requests_wait() -> None:
    def look(world: World, now: float) -> None:
        if now == 10.0:
            world.drain(world.pods[0], "fp8")

    setup = replace(SETUP, pods=1, drain_seconds=0.0)
    world = World(asked(40, 1.0), Start(), setup, look).run()

    late = [
        m.first_token - a.at for m, a in zip(world.marks, world.asked, strict=True) if m.first_token
    ]
    assert len(late) == 40
    assert max(late) > setup.start_seconds / 2


@pytest.mark.slow
def test_the_tuner_acts_on_what_it_sees_of_the_pool() -> None:
    tuned = Tuned(SPEC, SETUP)
    world = World(asked(1_200, 0.35), Start(level="none"), SETUP, tuned.look).run()

    still = World(asked(1_200, 0.35), Start(), SETUP, Recorder().look).run()
    assert tuned.changes
    assert sum(p.preemptions for p in world.pods) < sum(p.preemptions for p in still.pods)
    times = [change.at for change in tuned.changes]
    assert all(b - a >= SPEC.pace.cooldown_seconds for a, b in pairwise(times))


def test_the_need_ahead_is_what_requests_hold() -> None:
    one = [Asked(100.0, 50, 1_000, 1.0, 1.0)]

    needs = need_ahead(one, SETUP, 0.1)

    assert needs[10] == 0
    assert needs[15] == pytest.approx(50 + 500, abs=110)
    assert needs[20] == pytest.approx(50 + 1_000, abs=210)
    assert needs[-1] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.slow
def test_the_built_in_day_has_the_recorded_shape() -> None:
    day = read_day()
    rate = full_rate(day, Setup(), 1)

    rows = built_in(day, rate, 2.0, 32_767, 1)

    expected = sum(day.rates[:12]) / max(day.rates) * rate * 600
    assert len(rows) == pytest.approx(expected, rel=0.1)
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    assert max(row.prompt_tokens + row.output_tokens for row in rows) <= 32_767
    assert built_in(day, rate, 2.0, 32_767, 1) == rows


def test_a_setting_that_comes_back_within_the_window_is_counted() -> None:
    levels = [(0.0, "none"), (100.0, "int8"), (200.0, "none"), (2_000.0, "int8")]
    settings = [(at, PoolSettings(level=level)) for at, level in levels]

    assert oscillations(settings, 600.0) == 1
    assert oscillations(settings, 60.0) == 0


def test_pressure_that_pauses_for_less_than_a_minute_is_one_episode() -> None:
    counts = [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3]
    moments = [Moment(10.0 * at, 0.5, 0, count, 2, 0) for at, count in enumerate(counts)]

    assert pressure_of(moments) == (2, 30.0)


def figures(row: str, **values: object) -> Figures:
    world = World(asked(10, 1.0), Start(), SETUP, Recorder().look).run()
    run = Run(world.asked, world.marks, [Moment(0, 0, 0, 0, 2, 0)], [Changed(1, "")], [], 10, 0, 0)
    return replace(figures_of(row, 1.0, run, 600), **values)  # type: ignore[arg-type]


def test_goals_are_ratios_to_the_baseline() -> None:
    rows = [
        figures(BASELINE, preemptions=100, ttft_p99_s=10.0),
        figures(TUNER, preemptions=30, ttft_p99_s=5.0, most_changes_per_hour=7),
    ]

    assert [(name, got, met) for _, name, _, got, met in goals(rows)] == [
        ("preemptions by static auto", 0.3, False),
        ("p99 TTFT by static auto", 0.5, True),
        ("changes in any hour", 7, False),
        ("settings that came back in the window", 0, True),
    ]


@pytest.mark.slow
def test_the_command_publishes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = main(["--hours", "0.2", "--load", "1", "--json", "--out", str(tmp_path)])

    printed = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "tuner.json").read_text())
    assert done == 0
    assert printed["rows"] == written["rows"]
    assert printed["rows"][0]["row"] == BASELINE
    document = (tmp_path / "tuner.md").read_text()
    assert "simulation" in document
    assert (tmp_path / "tuner.svg").read_text().startswith("<?xml")


def test_anybodys_trace_is_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace.jsonl"
    lines = [{"arrival_s": at, "prompt": "hello", "output_tokens": 20} for at in range(5)]
    trace.write_text("\n".join(map(json.dumps, lines)))

    assert main(["--trace", str(trace), "--row", TUNER, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["requests"], row["preemptions"], row["load"]) == (5, 0, None)


@pytest.mark.parametrize("words", [["--row", "nobody"], ["--trace", "/nowhere/at/all"]])
def test_wrong_words_are_explained(words: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"nobody|nowhere"):
        main(words)
