"""Figures of a comparison's rows, against values worked out by hand."""

import pytest

from alise_bench.compare.figures import Stats, figures_of, stats_of
from alise_bench.compare.results import RowResult, row_result, with_gap
from alise_bench.compare.served import ServedRequest
from alise_core.outcome import Outcome


def served(
    number: int, arrival: float, marks: tuple[float, float, float], tokens: int, tenant: str = ""
) -> ServedRequest:
    dispatched, first, last = marks
    return ServedRequest(
        number, arrival, dispatched, first, last, tokens, preemptions=number, tenant=tenant
    )


THREE = [
    served(0, 1.0, (1.5, 2.0, 4.0), 5),
    served(1, 2.0, (2.0, 5.0, 5.0), 1),
    served(2, 3.0, (3.5, 4.0, 11.0), 8),
]


def test_latencies_of_three_requests() -> None:
    figures = figures_of("x", THREE, lambda _: 1.0)
    # TTFT 1, 3, 1; TTLT 3, 3, 8; a token after the first takes 0.5 s and 1 s.
    assert figures.all.count == 3
    assert figures.all.ttft_s == Stats(pytest.approx(5 / 3), 1.0, pytest.approx(2.8), 2.96)  # type: ignore[arg-type]
    assert figures.all.ttlt_s is not None
    assert figures.all.ttlt_s.mean == pytest.approx(14 / 3)
    assert figures.all.tpot_s is not None
    assert figures.all.tpot_s.mean == pytest.approx(0.75)
    assert figures.all.normalized_latency_s_per_token is not None
    assert figures.all.normalized_latency_s_per_token.mean == pytest.approx((0.6 + 3 + 1) / 3)
    assert figures.all.slowdown == figures.all.ttlt_s
    assert figures.tokens_per_s == pytest.approx(14 / 10)
    assert figures.max_wait_s == 3.0
    assert figures.preemptions == 3
    assert figures.duration_s == 10.0


def test_waits_in_the_gateway_and_in_the_engine_add_up_to_the_ttft() -> None:
    figures = figures_of("x", THREE, lambda _: 1.0)
    assert figures.queue_s is not None
    assert figures.engine_ttft_s is not None
    assert figures.all.ttft_s is not None
    assert figures.queue_s.mean == pytest.approx(1 / 3)
    assert figures.queue_s.mean + figures.engine_ttft_s.mean == pytest.approx(
        figures.all.ttft_s.mean
    )


def test_the_short_half_and_the_longest_decile() -> None:
    figures = figures_of("x", THREE, lambda _: 1.0)
    assert figures.short_half.count == 2
    assert figures.short_half.ttlt_s == stats_of([3.0, 3.0])
    assert figures.longest_decile.count == 1
    assert figures.longest_decile.ttlt_s == stats_of([8.0])


def test_answers_up_to_the_mean_length_and_above_it() -> None:
    figures = figures_of("x", THREE, lambda _: 1.0)
    # 5, 1 and 8 tokens.
    assert figures.up_to_mean.count == 1
    assert figures.up_to_mean.ttlt_s == stats_of([3.0])
    assert figures.above_mean.ttlt_s == stats_of([3.0, 8.0])


def test_the_later_half_is_of_the_trace() -> None:
    figures = figures_of("x", THREE, lambda _: 1.0)
    assert figures.later_half_ttlt_s == stats_of([8.0])


def test_goodput_counts_answers_that_begin_and_go_on_in_time() -> None:
    good = served(0, 0.0, (0.0, 1.9, 1.95), 2)
    late = served(1, 0.0, (0.0, 2.1, 2.2), 2)
    slow = served(2, 0.0, (0.0, 1.0, 4.0), 3)
    assert figures_of("x", [good, late, slow], lambda _: 1.0).goodput_per_s == pytest.approx(0.25)


def test_a_refused_request_has_an_outcome_and_no_latency() -> None:
    refused = ServedRequest(1, 1.0, outcome=Outcome.REJECTED_SATURATED)
    figures = figures_of("x", [THREE[0], refused], lambda _: 1.0)
    assert figures.outcomes == {"completed": 1, "rejected_saturated": 1}
    assert figures.all.count == 1


def test_nothing_completed_has_no_figures() -> None:
    figures = figures_of("x", [ServedRequest(0, 1.0, outcome=Outcome.EVICTED_TTL)], lambda _: 1.0)
    assert figures.all.ttft_s is None
    assert figures.tokens_per_s == 0.0


def test_slowdown_is_not_known_where_alone_is_not() -> None:
    figures = figures_of("x", THREE, lambda _: None)
    assert figures.all.slowdown is None
    assert figures.fairness is None


def test_fairness_is_jains_index_of_speeds() -> None:
    both = [served(0, 0.0, (0, 1, 1), 1, "a"), served(1, 0.0, (0, 2, 2), 1, "b")]
    # Speeds 1 and 0.5: (1.5)^2 / (2 * 1.25).
    assert figures_of("x", both, lambda _: 1.0).fairness == pytest.approx(0.9)


def row(name: str, mean: float) -> RowResult:
    figures = figures_of(name, [served(0, 0.0, (0.0, mean, mean), 1)], lambda _: 1.0)
    return row_result(figures, rho=1.0, seed=1)


def test_the_gap_captured_is_between_shuffled_and_oracle() -> None:
    rows = with_gap([row("default", 4.0), row("shuffled", 10.0), row("oracle", 2.0)])
    assert [item.gap_captured for item in rows] == [0.75, 0.0, 1.0]


@pytest.mark.parametrize("oracle", [[], [("oracle", 11.0)]])
def test_there_is_no_gap_without_both_or_the_wrong_way_round(
    oracle: list[tuple[str, float]],
) -> None:
    rows = with_gap([row("default", 4.0), row("shuffled", 10.0), *(row(*item) for item in oracle)])
    assert all(item.gap_captured is None for item in rows)
