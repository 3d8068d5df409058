import pytest

from alise_bench.overhead.goals import Judged, Verdict, judge
from alise_bench.overhead.results import Results, Row
from fakes.overhead_results import results, row


def by_text(found: Results, part: str) -> Judged:
    matching = [item for item in judge(found) if part in item.text]
    assert len(matching) == 1
    return matching[0]


@pytest.mark.parametrize(
    ("cpu", "verdict"), [(84.0, Verdict.PASS), (85.0, Verdict.PASS), (86.0, Verdict.FAIL)]
)
def test_a_goal_against_a_peer_is_judged_by_the_share(cpu: float, verdict: Verdict) -> None:
    found = results(row("alise", cpu=cpu), row("smg", cpu=100.0))
    assert by_text(found, "1 KiB request, share of smg's").verdict is verdict


def test_a_missing_peer_leaves_its_goal_open() -> None:
    found = results(row("alise", cpu=1.0))
    assert by_text(found, "1 KiB request, share of smg's").verdict is Verdict.OPEN


def test_the_median_decides_and_not_the_best_round() -> None:
    rows = [row("smg", number=number, cpu=100) for number in (1, 2, 3)]
    rows += [row("alise", number=number, cpu=cpu) for number, cpu in ((1, 10), (2, 95), (3, 96))]
    judged = by_text(results(*rows), "1 KiB request, share of smg's")
    assert judged.verdict is Verdict.FAIL
    assert judged.measured is not None
    assert judged.measured.low == pytest.approx(0.1)


def test_one_error_fails_the_goal_of_no_errors() -> None:
    assert by_text(results(row("alise", "s1000")), "errors").verdict is Verdict.PASS
    with_error = results(row("alise", "s1000"), row("alise", "c1_1k", errors=1))
    assert by_text(with_error, "errors").verdict is Verdict.FAIL
    assert by_text(results(row("alise", "c1_1k")), "errors").verdict is Verdict.OPEN


@pytest.mark.parametrize(("memory", "verdict"), [(76, Verdict.PASS), (77, Verdict.FAIL)])
def test_peak_memory_is_80_megabytes(memory: int, verdict: Verdict) -> None:
    found = results(row("alise", "s1000"), memory=memory)
    assert by_text(found, "peak RSS").verdict is verdict
    assert by_text(results(row("alise")), "peak RSS").verdict is Verdict.OPEN


def complete() -> list[Row]:
    scenarios = ("c1_1k", "c1_64k", "c64_1k", "c64_64k", "s256", "s1000")
    costs = {"direct": 0.0, "alise": 50.0, "smg": 100.0, "vllm-router": 60.0, "litellm": 9_000.0}
    return [row(name, scenario, cpu=cpu) for name, cpu in costs.items() for scenario in scenarios]


def test_a_complete_measurement_leaves_nothing_open() -> None:
    judged = judge(results(*complete()))
    assert {item.verdict for item in judged} == {Verdict.PASS}
    assert len(judged) == 12
