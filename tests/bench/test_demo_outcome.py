import io

import pytest
from rich.console import Console

from alise_bench.demo.outcome import DemoOutcome, evaluate
from alise_bench.demo.view import outcome_table
from alise_bench.demo.workload import SamplePrompt
from alise_bench.load.result import ErrorKind, LoadRun, RequestResult


def row(tokens: int) -> SamplePrompt:
    return SamplePrompt(f"a/{tokens}", "Why?", tokens, "m", "a")


def result(number: int, tokens: int | None, error: ErrorKind | None = None) -> RequestResult:
    return RequestResult(number, 0.0, 0.1, 1.1, 200, 5, 100, tokens, error)


def evaluated(*results: RequestResult) -> DemoOutcome:
    rows = [row(11), row(21)]
    return evaluate(LoadRun(results, 4.0), rows, 7)


def test_a_run_is_right_when_all_completed_with_their_recorded_lengths() -> None:
    outcome = evaluated(result(1, 21), result(0, 11))
    assert outcome.is_right
    assert outcome.outcomes == {"completed": 2}
    assert (outcome.output_tokens, outcome.tokens_per_second) == (32, 8.0)


def test_another_length_than_recorded_is_wrong() -> None:
    outcome = evaluated(result(0, 11), result(1, 20))
    assert outcome.wrong_lengths == 1
    assert not outcome.is_right


def test_an_error_is_shown_by_kind_and_left_out_of_latencies() -> None:
    outcome = evaluated(result(0, 11), result(1, None, ErrorKind.STATUS))
    assert outcome.outcomes == {"completed": 1, "status": 1}
    assert not outcome.is_right
    assert outcome.ttft_ms is not None
    assert outcome.ttft_ms.count == 1


def test_a_request_that_was_never_reported_is_not_right() -> None:
    assert not evaluated(result(0, 11)).is_right


def test_times_follow_their_definitions() -> None:
    outcome = evaluated(result(0, 11), result(1, 1))
    assert outcome.ttft_ms is not None
    assert outcome.ttft_ms.p50 == pytest.approx(100)
    assert outcome.ttlt_ms is not None
    assert outcome.ttlt_ms.p50 == pytest.approx(1_100)
    # (1.1 s - 0.1 s) over the ten tokens after the first; one token has no TPOT.
    assert outcome.tpot_ms is not None
    assert outcome.tpot_ms.count == 1
    assert outcome.tpot_ms.p50 == pytest.approx(100)


def test_the_tables_show_endings_and_queue() -> None:
    console = Console(file=io.StringIO(), width=120)
    fcfs, ours = (
        evaluated(result(0, 11), result(1, None, ErrorKind.RESET)),
        evaluated(result(0, 11)),
    )
    console.print(outcome_table(fcfs, ours, "boost"))
    file = console.file
    assert isinstance(file, io.StringIO)
    text = file.getvalue()
    assert "outcome: reset" in text
    assert "most requests waiting" in text
    assert "default (boost)" in text
    assert "1.00" in text
