"""What the queue's decisions cost: the scene that is timed, inversions, the document."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from alise_bench.cli import main as bench
from alise_bench.overhead.goals import Verdict
from alise_bench.overhead.results import encode
from alise_bench.queue_cost import measure as measuring
from alise_bench.queue_cost.cli import long_shapes, main, shapes
from alise_bench.queue_cost.measure import Kind, count_inversions, measure
from alise_bench.queue_cost.report import cost_tables, render
from alise_bench.queue_cost.results import (
    Conditions,
    Counted,
    Results,
    Row,
    decode,
    judge,
)
from alise_bench.queue_cost.scene import Bag, Scene, Shape
from alise_core.errors import ConfigError
from alise_core.policy import OrderingName
from alise_core.service_class import ServiceClass
from alise_gateway.queueing.events import Dispatch, Effect, Event
from fakes.tickets import ticket

SMALL = Shape(OrderingName.BOOST, waiting=20, tenants=3, backends=2)
CONDITIONS = Conditions("2026-01-02T03:04:05+00:00", "cpu", 2, "6.1", "3.11", [0.1, 0.2], 1, 4)


def row(kind: Kind, p99: float, *, waiting: int = 10_000, backends: int = 16) -> Row:
    return Row("boost", waiting, 10, backends, kind, 1, 100, p99 / 2, p99, 3 * p99)


def results(*rows: Row, inversions: int = 0) -> Results:
    return Results(CONDITIONS, list(rows), [Counted("boost", 50, inversions, {"flex": 50})])


def test_a_bag_gives_back_whatever_is_taken_out() -> None:
    bag, tickets = Bag(), [ticket(number, 1.0) for number in range(4)]
    for each in tickets:
        bag.add(each)
    bag.remove(tickets[0])
    bag.remove(tickets[3])
    assert len(bag) == 2
    with pytest.raises(KeyError):
        bag.remove(tickets[0])
    bag.remove(tickets[1])
    bag.remove(tickets[2])
    assert len(bag) == 0


def test_a_scene_keeps_its_length_and_its_backends_full() -> None:
    scene = Scene(SMALL, seed=1)
    scene.fill()
    for _ in range(30):
        for event in (scene.finish, scene.repredict, scene.cancel, scene.scrape, scene.tick):
            scene.follow(scene.apply(event()))
        scene.fill()
        scene.check()
        assert len(scene.waiting) == SMALL.waiting
        assert len(scene.in_flight) > SMALL.backends


def test_memory_or_slots_run_out() -> None:
    in_flight = []
    for memory_bound in (True, False):
        scene = Scene(Shape(OrderingName.FCFS, 5, 1, 1, memory_bound=memory_bound), seed=1)
        scene.fill()
        in_flight.append(len(scene.in_flight))
    assert in_flight[1] == 16
    assert in_flight[0] != 16


def test_every_kind_of_event_is_timed_by_the_clock_that_is_given() -> None:
    ticks = count(step=2_000)  # two microseconds between any two looks
    costs = {cost.kind: cost for cost in measure(SMALL, 8, 1, lambda: next(ticks))}
    assert set(costs) == set(Kind)
    assert costs[Kind.FINISH].events == 8
    assert costs[Kind.TICK].events == 2
    assert costs[Kind.ARRIVE].events >= 16
    assert {(cost.p50_us, cost.p99_us, cost.worst_us) for cost in costs.values()} == {(2, 2, 2)}


@pytest.mark.slow
@pytest.mark.parametrize("ordering", OrderingName)
def test_no_dispatch_passes_a_better_class(ordering: OrderingName) -> None:
    found = count_inversions(ordering, 1_500, seed=1)
    assert found.inversions == 0
    assert found.dispatches >= 1_500
    assert set(found.by_class) == {str(name) for name in ServiceClass}
    assert sum(found.by_class.values()) == found.dispatches


def test_an_inversion_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unfair(Scene):
        """Serves the last class first."""

        def apply(self, event: Event) -> list[Effect]:
            effects = super().apply(event)
            return [self._swapped(effect) for effect in effects]

        def _swapped(self, effect: Effect) -> Effect:
            if isinstance(effect, Dispatch) and len(self.waiting) > 1:
                effect.ticket.service_class = ServiceClass.BATCH
            return effect

    monkeypatch.setattr(measuring, "Scene", Unfair)
    assert count_inversions(OrderingName.FCFS, 100, seed=1).inversions > 0


def test_the_dearest_place_decides() -> None:
    rows = [
        row(Kind.ARRIVE, 40),
        row(Kind.ARRIVE, 120, backends=4),
        row(Kind.FINISH, 90),
        row(Kind.FINISH, 900, waiting=100_000),
        row(Kind.TICK, 900, backends=1_000),
    ]
    verdicts = [(item.text.split(",")[0], item.verdict) for item in judge(results(*rows))]
    assert verdicts == [
        ("arrive", Verdict.FAIL),
        ("finish", Verdict.PASS),
        ("repredict", Verdict.OPEN),
        ("cancel", Verdict.OPEN),
        ("scrape", Verdict.OPEN),
        ("tick", Verdict.OPEN),
        ("dispatches that passed a better class", Verdict.PASS),
    ]


def test_one_dispatch_out_of_turn_fails_and_none_at_all_says_nothing() -> None:
    assert judge(results(inversions=1))[-1].verdict is Verdict.FAIL
    assert judge(Results(CONDITIONS, [], []))[-1].verdict is Verdict.OPEN


def test_the_document_has_a_table_for_each_length_of_the_queue() -> None:
    found = results(row(Kind.ARRIVE, 40), row(Kind.ARRIVE, 44, waiting=100_000))
    assert [shape.name for shape in cost_tables(found)] == ["w10000", "w100000"]
    text = render(found)
    assert "| boost, 10, 16 | 20.0 / 40.0 |" in text
    assert "100,000 waiting" in text
    assert decode(encode(found)) == found


def test_every_ordering_is_measured_and_the_default_at_every_size() -> None:
    found = shapes(100)
    assert {shape.ordering for shape in found} == set(OrderingName)
    assert {shape.tenants for shape in found} == {1, 10, 1_000}
    assert {shape.backends for shape in found} == {4, 16, 1_000}
    assert len(found) == len(set(found))
    assert {shape.waiting for shape in long_shapes(1_000)} == {1_000}


@pytest.mark.parametrize("flag", ["--repeats", "--rounds", "--waiting", "--dispatches"])
def test_numbers_below_one_are_refused(flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        main([flag, "0"])


def test_a_result_file_is_rendered_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "queue.json"
    file.write_bytes(encode(results(row(Kind.ARRIVE, 40))))
    assert bench(["queue", "--render", str(file)]) == 0
    assert "arrive" in capsys.readouterr().out
    assert "# What a decision costs" in (tmp_path / "queue.md").read_text()


@pytest.mark.parametrize("make", [lambda path: path, lambda path: path / "absent.json"])
def test_another_file_is_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        main(["--render", str(make(tmp_path))])
