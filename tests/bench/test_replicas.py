"""Several gateways in front of the same engines: what is watched, and what is told of it."""

import asyncio
import json
from pathlib import Path

import pytest

from alise_bench.demo.workload import Limits
from alise_bench.replicas import real
from alise_bench.replicas.cli import main
from alise_bench.replicas.report import goals_table, passed, render, tables
from alise_bench.replicas.results import Conditions, Results, Row, decode, over
from alise_bench.replicas.scenarios import CASES, ENGINES, Case, requests, simulate
from alise_bench.replicas.watch import Watch
from alise_core.errors import ConfigError

ONE, SKEWED, KILLED, EQUAL = CASES
MEMORY, _ = ENGINES


def row(case: str = "three", **changed: object) -> Row:
    known: dict[str, object] = {
        "place": "here",
        "case": case,
        "seed": 1,
        "requests": 10,
        "answered": 9,
        "lost": 1,
        "in_flight": 0.9,
        "booked": 1.02,
        "idle_seconds": 0.0,
        "spare_seconds": 0.5,
        "ttft_mean_seconds": 0.2,
        "ttft_p99_seconds": 1.0,
        "preemptions": 3,
    }
    return Row(**{**known, **changed})  # type: ignore[arg-type]


def results(*rows: Row) -> Results:
    return Results(Conditions("2026-01-01T00:00", "cpu", 2, "3.11", [1, 2], 9, 0, 1), list(rows))


def test_the_longest_stretches_are_found() -> None:
    watch = Watch(2)
    for moment, (in_flight, waiting) in enumerate(
        [(0.0, True), (0.0, True), (0.0, False), (0.5, True), (0.5, True), (0.5, True), (1.1, True)]
    ):
        watch.note(
            1, moment, in_flight=in_flight, allowed=1.0, booked=in_flight / 2, waiting=waiting
        )
    assert watch.longest_idle == 1
    assert watch.longest_spare == 2
    assert watch.most_in_flight == 1.1
    assert watch.most_booked == 0.55


def test_an_engine_that_was_seen_to_queue_has_less_to_spare() -> None:
    watch = Watch(1)
    for moment in range(3):
        watch.note(0, moment, in_flight=0.5, allowed=0.5, booked=0.1, waiting=True)
    assert watch.longest_spare == 0


def test_requests_are_the_same_for_the_same_seed() -> None:
    first, again, other = (requests(5.0, 20.0, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert 60 < len(first) < 140


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", [SKEWED, EQUAL])
def test_replicas_do_as_well_as_one_gateway_and_give_no_more(case: Case) -> None:
    alone = simulate(ONE, MEMORY, 40.0, seed=1)
    several = simulate(case, MEMORY, 40.0, seed=1)
    answered = [
        sum(item.first_token is not None for item in world.asked) for world in (alone, several)
    ]
    assert answered[1] > 0.95 * answered[0]
    assert several.watch.most_booked <= 1.05 * max(1.0, alone.watch.most_booked)
    assert several.watch.most_in_flight <= 1.0
    assert several.watch.longest_idle == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_room_is_lent_sooner_the_more_often_replicas_look() -> None:
    seldom, often = (
        simulate(SKEWED, MEMORY, 30.0, seed=1, look_seconds=seconds).watch.longest_spare
        for seconds in (1.0, 0.25)
    )
    assert often < seldom / 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_dead_replica_held_is_taken_over() -> None:
    world = simulate(KILLED, MEMORY, 40.0, seed=1)
    lost = [item for item in world.asked if item.lost]
    assert lost
    assert all(item.arrival <= 20.0 for item in lost)
    late = [item for item in world.asked if 25 < item.arrival < 35]
    assert all(item.first_token is not None for item in late)
    for replica in world.replicas[1:]:
        assert [backend.admission.room.share.count for backend in replica.backends] == [2, 2]
        replica.queue.check()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_real_gateways_share_real_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "RATE", 20.0)
    monkeypatch.setattr(real, "_LIMITS", Limits(prompt_chars=400, output_tokens=20))
    run = asyncio.run(real.serve(SKEWED, 1.5, seed=1))
    assert len(run.completed) == len(run.results) > 10
    assert run.watch.most_in_flight <= 1.0


def test_excess_is_measured_against_one_gateway() -> None:
    found = results(row("one gateway", booked=1.04), row(booked=1.06), row(in_flight=1.03))
    assert over(found, found.rows[1]) == pytest.approx(1.06 / 1.04 - 1)
    assert over(found, found.rows[2]) == pytest.approx(0.03)
    assert passed(found)
    assert not passed(results(row(idle_seconds=1.5)))
    assert not passed(results(row(in_flight=1.06)))
    assert passed(results(row(in_flight=1.06, late_seconds=0.3))), "the machine's doing"
    assert "other work" in render(results(row(late_seconds=0.3))).lower()


def test_the_document_has_every_case() -> None:
    found = results(row("one gateway"), row("three"), row("three", seed=2, preemptions=None))
    text = render(found)
    assert text.count("| one gateway |") == text.count("| three |") == 1
    assert "<= 5%" in text
    assert [shape.title for shape in tables(found)] == ["Here", "Goals"]
    assert [line[-1] for line in goals_table(found).rows] == ["pass", "pass"]


def test_a_result_file_is_rendered_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--seconds", "3", "--seeds", "1", "--real-seconds", "0", "--json"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["rows"]) == len(CASES) * len(ENGINES)
    file = tmp_path / "replicas.json"
    assert main(["--render", str(file)]) == 0
    assert decode(file.read_bytes()).conditions.seeds == 1


@pytest.mark.parametrize(
    "arguments",
    [["--seeds", "0"], ["--seconds", "0"], ["--look-seconds", "0"], ["--render", "/no"]],
)
def test_wrong_flags_are_named(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"--se|cannot read"):
        main(arguments)
