import io
import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from alise_bench.demo.lengths import FinishedRequest, LengthOutcome, judge_lengths, read_requests
from alise_bench.demo.view import length_table


def finished(
    tokens: int | None, p50: float | None, source: str = "tier0", *, capped: bool = False
) -> FinishedRequest:
    return FinishedRequest("request", "completed", tokens, capped, p50, source)


def judged(*requests: FinishedRequest, metrics: str | None = None) -> LengthOutcome:
    found = judge_lengths(requests, metrics)
    assert found is not None
    return found


def places(**counts: int) -> str:
    lines = ["# TYPE alise_gateway_predicted_answers counter"]
    labels = 'model="m",source="tier0",place='
    for name, number in counts.items():
        lines.append(f'alise_gateway_predicted_answers_total{{{labels}"{name}"}} {number}.0')
        lines.append(f'alise_gateway_predicted_answers_created{{{labels}"{name}"}} 1.7e9')
    return "\n".join(lines) + "\n"


def test_only_whole_lines_about_requests_are_read() -> None:
    request = {
        "event": "request",
        "outcome": "completed",
        "output_tokens": 7,
        "predicted_p50": 9.5,
        "prediction_source": "tier1",
        "tenant": "somebody",
    }
    lines = [
        "INFO: not JSON",
        json.dumps({"event": "predictor_loaded", "name": "x"}),
        json.dumps(request),
        json.dumps(request)[:40],
    ]
    assert read_requests("\n".join(lines)) == [finished(7, 9.5, "tier1")]


def test_errors_are_distances_of_the_median_in_tokens() -> None:
    found = judged(finished(100, 90.0), finished(200, 260.0), finished(300, 290.0))
    assert (found.answers, found.median_error) == (3, 10)
    assert found.mean_error == pytest.approx(80 / 3)
    assert found.constant_error == pytest.approx(200 / 3)


def test_what_did_not_complete_or_was_not_predicted_does_not_count() -> None:
    failed = FinishedRequest("request", "failed_backend", 50, False, 60.0, "tier0")
    found = judged(finished(10, 20.0), finished(10, None), finished(None, 5.0), failed)
    assert found.answers == 1
    assert judge_lengths([finished(10, None), failed], places(to_p50=3)) is None
    assert judge_lengths([], None) is None


def test_order_is_judged_by_pairs_of_different_length() -> None:
    # (10, 20) right, (10, 30) a tie, (20, 30) wrong; the two of 10 tokens are no pair.
    found = judged(
        finished(10, 5.0), finished(20, 9.0), finished(30, 5.0), finished(10, 5.0, "tier1")
    )
    assert found.in_order == pytest.approx((1 + 0.5 + 0 + 1 + 0.5) / 5)
    assert judged(finished(10, 5.0), finished(10, 6.0)).in_order is None


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(1, 50)), min_size=1, max_size=12))
def test_order_is_a_share_and_mirrors_when_predictions_are_turned_round(
    pairs: list[tuple[int, float]],
) -> None:
    found = judged(*(finished(tokens, p50) for tokens, p50 in pairs)).in_order
    turned = judged(*(finished(tokens, -p50) for tokens, p50 in pairs)).in_order
    if all(one[0] == other[0] for one, other in combinations(pairs, 2)):
        assert found is None
        assert turned is None
    else:
        assert found is not None
        assert turned is not None
        assert 0 <= found <= 1
        assert found + turned == pytest.approx(1)


def test_the_share_inside_comes_from_the_gateway_s_counters() -> None:
    text = places(to_p10=1, to_p50=3, to_p90=4, above=2)
    assert judged(finished(1, 1.0), metrics=text).inside == pytest.approx(0.7)
    assert judged(finished(1, 1.0), metrics="").inside is None
    assert judged(finished(1, 1.0), metrics=None).inside is None


def test_a_gateway_without_a_bundle_says_so() -> None:
    assert "No predictor bundle" in judged(finished(5, 5.0, "prior")).note
    assert "No predictor bundle" in judged(finished(5, 5.0, "tenant_histogram")).note
    mixed = judged(finished(5, 5.0, "prior"), finished(5, 5.0, "tier0"))
    assert "No predictor bundle" not in mixed.note
    assert mixed.sources == {"prior": 1, "tier0": 1}


def test_limits_that_tell_the_length_are_said() -> None:
    assert "max_tokens" in judged(finished(5, 5.0, capped=True)).note
    assert "max_tokens" not in judged(finished(5, 5.0)).note


def test_the_table_shows_every_figure() -> None:
    console = Console(file=io.StringIO(), width=80)
    text = places(to_p10=1, to_p50=3, to_p90=4, above=2)
    console.print(length_table(judged(finished(100, 90.0), finished(50, 80.0), metrics=text)))
    file = console.file
    assert isinstance(file, io.StringIO)
    shown = file.getvalue()
    assert "by tier0" in shown
    assert "100 %" in shown
    assert "70 %" in shown
