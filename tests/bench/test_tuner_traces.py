"""Random lives of a pool: made from their seed, judged by rules that can be broken."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alise_bench.tuner.cli import main
from alise_bench.tuner.many_traces import CONTROL_EVERY, Totals, live, live_all
from alise_bench.tuner.rules import Return, broken, came_back, returns
from alise_bench.tuner.traces import Look, Trace, policy, random_trace
from alise_core.errors import ConfigError
from alise_operator.tuning.memory import (
    Change,
    ColdChange,
    Direction,
    Phase,
    TunerMemory,
    memory_of,
)
from alise_operator.tuning.plan import Action, Plan, SetDtype, SetTierBytes, Tune, Verdict, Why
from alise_operator.tuning.settings import Knob, PoolSettings

pytestmark = pytest.mark.timeout(600)


def look(at: float, verdict: Verdict = Verdict.HOLD, **memory: object) -> Look:
    remembered = TunerMemory(**memory)  # type: ignore[arg-type]
    plan = Plan(verdict, Why.CALM, "why", remembered, wanted_replicas=2)
    return Look(at, 2, plan, memory_of(remembered.to_json()))


def having(*looks: Look, **pace: object) -> Trace:
    return Trace(1, spec=policy(pace=pace), looks=list(looks))


def test_a_seed_is_a_life() -> None:
    one, same, other = (random_trace(seed) for seed in (3, 3, 4))

    assert one.run().looks == same.run().looks
    assert one.looks != other.run().looks
    assert one.counts == same.counts


def test_a_setting_that_comes_back_is_found_with_the_time_that_it_was_away() -> None:
    levels = [(0.0, "none"), (100.0, "int8"), (150.0, "int8"), (400.0, "none")]
    looks = [look(at, desired=PoolSettings(level=level)) for at, level in levels]

    assert list(returns(looks)) == [Return(Knob.LEVEL, "none", 300.0)]
    assert list(came_back(looks, 300)) == []
    assert list(came_back(looks, 301)) == ["level came back to none after 300 s"]


def test_replicas_that_are_asked_for_again_have_come_back() -> None:
    asked = [(0.0, None), (100.0, 3), (200.0, None), (250.0, 3)]
    looks = [look(at, desired=PoolSettings(replicas=count)) for at, count in asked]

    assert [one.away_seconds for one in returns(looks)] == [100.0, 50.0]


def test_too_many_changes_are_told() -> None:
    changes = [look(at, Verdict.CHANGE) for at in (0.0, 1_000.0, 1_050.0)]

    said = broken(having(*changes, maxChangesPerHour=2, cooldownSeconds=60))

    assert said == ["3 changes in the hour before 1050", "two changes within 50 s"]


@pytest.mark.parametrize(
    "action",
    [
        SetDtype("nvfp4"),
        SetTierBytes(5 << 30, 1 << 30, 1),
        Tune("pod-0", {"scheduler": {"max_active_requests": 7}}),
        Tune("pod-0", {"tier": {"level": "int2"}}),
        Tune("pod-0", {"tier": {"eviction": "random"}}),
        Tune("pod-0", {"tier": {"capacity_bytes": 5 << 30}}),
    ],
)
def test_what_the_policy_does_not_allow_is_told(action: Action) -> None:
    trace = having(look(0.0))
    trace.pool.actions.append(action)

    assert len(broken(trace)) == 1


def test_what_the_policy_allows_is_not() -> None:
    trace = having(look(0.0))
    tier: dict[str, int | str] = {"level": "int4", "eviction": "arc", "capacity_bytes": 4 << 30}
    scheduler: dict[str, int | str] = {"max_active_requests": 8}
    trace.pool.actions += [
        SetDtype("fp8"),
        SetTierBytes(2 << 30, 1 << 30),
        Tune("pod-0", {"tier": tier, "scheduler": scheduler}),
    ]

    assert broken(trace) == []


def test_replicas_without_measure_and_silence_are_told() -> None:
    greedy, silent = look(0.0), look(20.0)
    greedy = replace(greedy, plan=replace(greedy.plan, wanted_replicas=5))
    silent = replace(silent, plan=replace(silent.plan, message=""))

    assert broken(having(greedy, silent)) == ["5 replicas for 2 pods", "nothing is said at 20"]


def test_a_change_while_another_restarts_pods_is_told() -> None:
    cold = ColdChange("auto", "fp8", Phase.CANARY, 0.0)

    said = broken(having(look(0.0, cold=cold), look(60.0, Verdict.CHANGE)))

    assert said == ["a change while fp8 was on its way"]


def test_what_reads_differently_is_told() -> None:
    change = Change(float("nan"), Knob.LEVEL, Direction.UP, "int8")

    assert broken(having(look(0.0, changes=(change,)))) == [
        "what is remembered at 0 reads differently"
    ]


@pytest.mark.slow
def test_totals_are_those_of_the_traces() -> None:
    seeds = range(3 * CONTROL_EVERY - 1, 3 * CONTROL_EVERY + 2)
    told: list[int] = []

    totals = live_all(seeds, 1, lambda so_far: told.append(so_far.traces))

    ones = [live(seed) for seed in seeds]
    assert told == [1, 2, 3]
    assert totals.looks == sum(one.looks for one in ones)
    assert totals.changes.total() == sum(sum(one.changes.values()) for one in ones)
    assert totals.control_traces == 1
    there = [one.nearest for one in ones if one.nearest is not None]
    assert totals.nearest == min(there, default=None)


def test_a_broken_rule_is_counted_with_its_seed() -> None:
    one = live(1)
    totals = Totals()

    totals.add(replace(one, broken=["something"] * 60))
    totals.add(replace(one, seed=2, broken=["something"]))

    assert totals.broken_count == 61
    assert totals.broken[0] == (1, "something")
    assert len(totals.broken) == 50


@pytest.mark.slow
def test_the_command_publishes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--random-traces", "3", "--seed", "20", "--jobs", "2"]
    done = main([*words, "--json", "--out", str(tmp_path)])

    printed = json.loads(capsys.readouterr().out)
    assert done == 0
    assert printed == json.loads((tmp_path / "tuner-traces.json").read_text())
    assert (printed["traces"], printed["broken_count"], printed["broken"]) == (3, 0, [])
    assert printed["conditions"]["seeds"] == "20 to 22"
    document = (tmp_path / "tuner-traces.md").read_text()
    assert "**Rules broken: 0** in 3 traces" in document


def test_a_policy_belongs_to_a_replay() -> None:
    with pytest.raises(ConfigError, match="--replay"):
        main(["--random-traces", "1", "--policy", "policy.yaml"])
