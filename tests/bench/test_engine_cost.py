"""What the engine plugin's order costs a step: the scene that is timed, and the figures."""

import json
from itertools import count
from pathlib import Path

import pytest

from alise_bench.cli import main as bench
from alise_bench.engine_cost.cli import main, shapes
from alise_bench.engine_cost.measure import Kind, measure
from alise_bench.engine_cost.scene import Scene, Shape
from alise_core.errors import ConfigError
from alise_vllm.ordering.policies import PolicyName

SMALL = Shape(PolicyName.GITTINS, waiting=12, running=6, tight=True)
WORDS = ["--steps", "3", "--repeats", "1", "--running", "4", "--waiting", "2", "5"]


@pytest.mark.parametrize("policy", PolicyName)
def test_a_scene_keeps_its_length_and_its_slots_full(policy: PolicyName) -> None:
    scene = Scene(Shape(policy, 12, 6, tight=False), seed=1)
    for _ in range(300):
        scene.step()
        scene.run()
        while not scene.full:
            scene.arrive(scene.draw())
        assert scene.sort() == 12
        scene.leave(scene.pick())

    assert (scene.preempted > 0) is (policy is not PolicyName.FCFS)


def test_every_kind_is_timed_as_often_as_it_happens() -> None:
    ticks = count(step=1_000)

    rows = measure(SMALL, 64, 2, lambda: next(ticks))

    assert {row.kind for row in rows} == set(Kind)
    events = {row.kind: row.events for row in rows}
    assert (events[Kind.STEP], events[Kind.ABORT], events[Kind.SORT]) == (64, 8, 1)
    assert events[Kind.ARRIVE] >= 8
    assert {(row.mean_us, row.p99_us, row.worst_us, row.repeat) for row in rows} == {(1, 1, 1, 2)}


def test_every_policy_is_measured_at_the_limit_and_every_size_with_the_default() -> None:
    found = shapes((10, 5_000), 8)

    assert {shape.waiting for shape in found if shape.policy is PolicyName.GITTINS} == {
        10,
        1_000,
        5_000,
    }
    assert {shape.policy for shape in found if shape.waiting == 1_000} == set(PolicyName)
    assert [shape.tight for shape in found].count(True) == 1


def test_the_command_prints_a_table_or_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("cli", "report"):
        monkeypatch.setattr(f"alise_bench.engine_cost.{module}.LIMIT_WAITING", 7)
    assert bench(["engine-order", *WORDS]) == 0
    assert "goal: a step <= 200 us with 7 waiting" in capsys.readouterr().out

    assert main([*WORDS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["conditions"]["steps"] == 3
    assert {row["waiting"] for row in found["rows"]} == {2, 5, 7}


@pytest.mark.parametrize("flag", ["--steps", "--repeats", "--running", "--waiting"])
def test_counts_below_one_are_refused(flag: str) -> None:
    with pytest.raises(ConfigError, match="must be at least 1"):
        main([flag, "0"])


def test_the_command_publishes_a_document_that_says_who_keeps_the_goal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("cli", "report"):
        monkeypatch.setattr(f"alise_bench.engine_cost.{module}.LIMIT_WAITING", 5)
    monkeypatch.setattr("alise_bench.engine_cost.report.LIMIT_US", 1e9)
    assert main([*WORDS, "--out", str(tmp_path)]) == 0

    text = (tmp_path / "engine-order.md").read_text()
    assert "| gittins, memory short | pass | pass |" in text
    assert "| mlfq | 5 | 4 |" in text
    assert json.loads((tmp_path / "engine-order.json").read_text())["rows"]
    with pytest.raises(ConfigError, match="name another folder"):
        main([*WORDS, "--out", "/dev/null/x"])
