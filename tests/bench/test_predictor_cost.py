"""What predictions cost: goals, tables, the result file, and short runs on tiny bundles."""

from pathlib import Path

import msgspec
import pytest

from alise_bench.cli import main as bench
from alise_bench.overhead.goals import Verdict
from alise_bench.overhead.results import encode
from alise_bench.predictor.cli import ThreadCpuClock, main
from alise_bench.predictor.goals import figure, judge
from alise_bench.predictor.measure import measure_bundle
from alise_bench.predictor.report import calls_table, caution, render
from alise_bench.predictor.results import (
    BundleFacts,
    Call,
    ClockKind,
    Conditions,
    MemoryAdded,
    Results,
    Row,
    decode,
)
from alise_core.errors import ConfigError
from alise_predictor.artifact import ArtifactError
from fakes.clock import FakeClock
from fakes.predictor_bundle import HEAD_PIECES, TAIL_PIECES, BundleOptions, tiny_bundle

MB = 1_000_000


def timed(  # noqa: PLR0913  one argument per figure that some test chooses
    call: Call,
    subject: str,
    clock: ClockKind = ClockKind.WALL,
    number: int = 1,
    *,
    p50: float = 1.0,
    p99: float = 2.0,
    rate: float = 1e5,
) -> Row:
    """A row; microseconds."""
    return Row(number, call, subject, clock, 100, p50, p99, rate)


def measured(
    *rows: Row, memory: tuple[int | None, int | None] = (50 * MB, 100 * MB), wait: float = 0.0
) -> Results:
    conditions = Conditions(
        started="2026-01-02T03:04:05+00:00",
        cpu_model="Some CPU",
        cpus=2,
        kernel="6.1",
        python="3.11",
        libraries={"numpy": "2.0", "onnxruntime": "1.20"},
        cpu=1,
        load_average_before=0.1,
        load_average_after=0.2,
        wait_share=wait,
        rounds=3,
        calls=100,
    )
    facts = BundleFacts("shipped", "7", {"tier0.onnx": 1_100_000}, 96)
    return Results(conditions, facts, list(rows), MemoryAdded(*memory))


def verdict(results: Results, text: str) -> Verdict:
    found = [item.verdict for item in judge(results) if item.text == text]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(("p50", "expected"), [(100.0, Verdict.PASS), (101.0, Verdict.FAIL)])
def test_a_prediction_takes_at_most_a_tenth_of_a_millisecond(p50: float, expected: Verdict) -> None:
    results = measured(timed(Call.TIER0, "1 KiB", p50=p50))
    assert verdict(results, "tier 0, 1 KiB, p50, ms") is expected


@pytest.mark.parametrize(("rate", "expected"), [(8_000, Verdict.PASS), (7_999, Verdict.FAIL)])
def test_throughput_is_a_floor_and_by_cpu_time(rate: float, expected: Verdict) -> None:
    row = timed(Call.TIER0, "1 KiB", ClockKind.CPU, rate=rate)
    text = "tier 0, 1 KiB, predictions per second of one core"
    assert verdict(measured(row), text) is expected
    by_wall = msgspec.structs.replace(row, clock=ClockKind.WALL)
    assert verdict(measured(by_wall), text) is Verdict.OPEN


def test_the_median_over_rounds_decides() -> None:
    values = enumerate((100.0, 9_900.0, 10_100.0, 20_000.0, 9_000.0))
    rows = [timed(Call.TIER1, "128 pieces", ClockKind.CPU, n, p50=p50) for n, p50 in values]
    assert verdict(measured(*rows), "tier 1, 128 pieces, p50, ms of one core") is Verdict.PASS


@pytest.mark.parametrize(
    ("memory", "first", "both"),
    [
        ((60 * MB, 140 * MB), Verdict.PASS, Verdict.PASS),
        ((61 * MB, 140 * MB), Verdict.FAIL, Verdict.FAIL),
        ((10 * MB, None), Verdict.PASS, Verdict.OPEN),
        ((None, None), Verdict.OPEN, Verdict.OPEN),
    ],
)
def test_memory_has_a_limit_for_one_tier_and_for_both(
    memory: tuple[int | None, int | None], first: Verdict, both: Verdict
) -> None:
    results = measured(memory=memory)
    assert verdict(results, "RSS added by tier 0, MB") is first
    assert verdict(results, "RSS added by both tiers, MB") is both


def test_nothing_measured_leaves_every_time_open() -> None:
    judged = judge(measured(memory=(None, None)))
    assert {item.verdict for item in judged} == {Verdict.OPEN}


def test_the_document_shows_goals_calls_and_conditions() -> None:
    rows = [
        timed(Call.OBSERVE, "tier 0", p50=200.0),
        timed(Call.TIER0, "1 KiB", p50=50.0, p99=90.0),
        timed(Call.TIER0, "1 KiB", number=2, p50=70.0, p99=110.0),
    ]
    text = render(measured(*rows))
    assert "| tier 0, 1 KiB, p50, ms | <= 0.1 | 0.060 [0.050 - 0.070] | pass |" in text
    assert "| tier 0, 1 KiB | 60.0 [50.0 - 70.0] | 100 [90.0 - 110] | - | - | - |" in text
    assert "| bundle | shipped 7 |" in text
    assert "at most 96 word pieces" in text
    assert "not quiet" not in text
    calls = [cells[0] for cells in calls_table(measured(*rows)).rows]
    assert calls == ["tier 0, 1 KiB", "observe, tier 0"]


def test_a_busy_machine_is_said() -> None:
    assert caution(measured(wait=0.04)) == ""
    assert "20% of the time" in caution(measured(wait=0.2))
    assert "not quiet" in render(measured(wait=0.2))


def test_a_result_file_reads_back_as_it_was_and_renders_alone(tmp_path: Path) -> None:
    results = measured(timed(Call.TIER0, "5 B"))
    file = tmp_path / "cost.json"
    file.write_bytes(encode(results))
    assert decode(file.read_bytes()) == results
    assert main(["--render", str(file)]) == 0
    assert (tmp_path / "cost.md").read_text() == render(results)
    with pytest.raises(ConfigError, match="cannot read"):
        main(["--render", str(tmp_path / "none.json")])


def test_every_kind_of_call_is_timed_in_every_round(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, BundleOptions(tier1=True))
    clocks = {ClockKind.WALL: FakeClock(), ClockKind.CPU: FakeClock()}
    rows, memory = measure_bundle(
        bundle, rounds=2, calls=20, clocks=clocks, resident_before=None, say=lambda _: None
    )
    expected = {
        *((Call.TIER0, size) for size in ("5 B", "1 KiB", "64 KiB")),
        *((Call.TIER1, size) for size in ("32 pieces", "128 pieces")),
        *((call, tier) for call in (Call.CORRECT, Call.OBSERVE) for tier in ("tier 0", "tier 1")),
    }
    places = {(number, clock) for number in (1, 2) for clock in ClockKind}
    found = [(row.call, row.subject, row.round, row.clock) for row in rows]
    assert set(found) == {(*kind, *place) for kind in expected for place in places}
    assert len(found) == len(set(found))
    assert {row.calls for row in rows if row.call is Call.TIER0} == {20}
    assert {row.calls for row in rows if row.call is Call.OBSERVE} == {5}
    assert memory.tier0 is None


def test_without_a_second_tier_there_are_no_rows_of_it(tmp_path: Path) -> None:
    rows, memory = measure_bundle(
        tiny_bundle(tmp_path),
        rounds=1,
        calls=4,
        clocks={ClockKind.WALL: FakeClock()},
        resident_before=0,
        say=lambda _: None,
    )
    subjects = {(row.call, row.subject) for row in rows}
    assert not any(call is Call.TIER1 or subject == "tier 1" for call, subject in subjects)
    assert memory.tier0 is not None
    assert memory.tier1 is None


def test_the_command_writes_figures_and_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_bundle(tmp_path / "bundle", BundleOptions(tier1=True))
    file = tmp_path / "cost.json"
    words = ["--bundle", str(tmp_path / "bundle"), "--rounds", "1", "--calls", "20"]
    assert bench(["predictor", *words, "--json", str(file)]) == 0
    results = decode(file.read_bytes())
    assert (results.bundle.name, results.conditions.rounds) == ("tiny", 1)
    assert results.bundle.tier1_pieces == HEAD_PIECES + TAIL_PIECES
    assert figure(results, Call.TIER0, "1 KiB", ClockKind.CPU, "p50_us") is not None
    assert results.memory.tier0 is not None
    assert (tmp_path / "cost.md").read_text() == render(results)
    shown = capsys.readouterr().out
    assert "RSS added by both tiers, MB" in shown
    assert str(tmp_path) not in file.read_text()


def test_a_missing_bundle_and_no_rounds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        main(["--bundle", str(tmp_path)])
    with pytest.raises(ConfigError, match="at least 1"):
        main(["--rounds", "0"])


def test_cpu_time_runs_forward_and_has_no_date() -> None:
    clock = ThreadCpuClock()
    begin = clock.now()
    sum(range(10_000))
    assert clock.now() >= begin
    with pytest.raises(NotImplementedError):
        clock.unix()
