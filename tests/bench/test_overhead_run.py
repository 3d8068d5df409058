"""Whole runs of the measurement, short ones, with real processes."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from alise_bench.cli import main as bench
from alise_bench.overhead.cli import main
from alise_bench.overhead.results import Row, decode
from alise_bench.overhead.runner import Plan, run_plan
from alise_bench.overhead.scenarios import BY_NAME as SCENARIOS
from alise_bench.overhead.scenarios import Scenario
from alise_bench.overhead.tables import predictor_table
from alise_bench.overhead.targets import BY_NAME, Launch, Target
from alise_core.errors import ConfigError
from fakes.predictor_bundle import tiny_bundle


def tiny(name: str) -> Scenario:
    return replace(SCENARIOS[name], count=40, concurrency=4, issue_seconds=5, ramp_seconds=0.05)


def plan(targets: list[Target], scenarios: list[Scenario], peers: Path) -> Plan:
    return Plan(targets, scenarios, repeats=1, seed=1, quick=True, peers=peers)


@pytest.mark.slow
async def test_the_direct_way_is_measured_without_errors(tmp_path: Path) -> None:
    scenarios = [tiny("c64_1k"), replace(tiny("s256"), interval_seconds=0.0)]
    results = await run_plan(plan([BY_NAME["direct"]], scenarios, tmp_path), lambda _: None)
    assert [(row.scenario, row.completed, row.errors) for row in results.rows] == [
        ("c64_1k", 40, {}),
        ("s256", 40, {}),
    ]
    assert results.rows[1].events == 40 * 129
    assert results.failures == []


async def test_missing_and_broken_targets_are_noted_and_do_not_stop_the_run(
    tmp_path: Path,
) -> None:
    broken = Target("broken", lambda _: Launch([sys.executable, "-c", "raise SystemExit(3)"]))
    targets = [BY_NAME["smg"], broken, BY_NAME["direct"]]
    lines: list[str] = []
    results = await run_plan(plan(targets, [tiny("c1_1k")], tmp_path), lines.append)
    assert {row.target for row in results.rows} == {"direct"}
    assert "code 3" in results.failures[0]
    assert [info.name for info in results.targets if info.missing] == ["smg"]
    assert any("broken failed" in line for line in lines)


def assert_complete(row: Row, requests: int) -> None:
    assert (row.requests, row.completed, row.errors) == (requests, requests, {})
    assert row.cpu_seconds > 0
    assert row.rss_peak >= row.rss_before > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alise", "alise-keys"])
async def test_the_gateway_is_measured_in_every_shape(name: str, tmp_path: Path) -> None:
    crowd = replace(tiny("s1000"), events=12, interval_seconds=0.02, ramp_seconds=0.1)
    scenarios = [crowd, tiny("c64_64k"), tiny("s64")]
    results = await run_plan(plan([BY_NAME[name]], scenarios, tmp_path), lambda _: None)
    assert results.failures == []
    for row in results.rows:
        assert_complete(row, 40)
    assert results.rows[0].beside_ttfb_ms is not None
    assert results.memory[0].peak >= results.memory[0].idle > 0


@pytest.mark.slow
async def test_the_gateway_is_measured_with_its_predictor_on(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    tiny_bundle(bundle)
    targets = [BY_NAME["alise"], BY_NAME["alise-predictor"]]
    chosen = replace(plan(targets, [tiny("c64_1k")], tmp_path), bundle=bundle)
    results = await run_plan(chosen, lambda _: None)
    assert results.failures == []
    for row in results.rows:
        assert_complete(row, 40)
    compared = predictor_table(results)
    assert compared is not None
    assert [cells[0] for cells in compared.rows] == [
        "CPU us per 1 KiB request",
        "idle RSS, MiB",
        "peak RSS, MiB",
    ]


@pytest.mark.slow
def test_the_command_writes_a_result_file_and_tells_by_its_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    command = f"broken={sys.executable} -c 'raise SystemExit(4)'"
    words = ["--quick", "--repeats", "1", "--targets", "direct", "--scenarios", "c1_1k"]
    assert main([*words, "--json", str(file)]) == 0
    assert [row.target for row in decode(file.read_bytes()).rows] == ["direct"]
    assert main([*words, "--json", str(file), "--command", command]) == 1
    assert "code 4" in decode(file.read_bytes()).failures[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--targets", "direct,nginx"], "unknown target 'nginx'"),
        (["--scenarios", "c2"], "unknown scenario 'c2'"),
        (["--command", "nameless"], "NAME=COMMAND"),
        (["--command", "smg=other"], "new name"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        main(words)


def test_bench_lists_its_commands_and_refuses_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(["--help"]) == 0
    assert "overhead" in capsys.readouterr().out
    assert bench([]) == 2
    assert bench(["nothing"]) == 2
    assert "unknown 'nothing'" in capsys.readouterr().err
