import pytest

from alise_bench.load.distribution import Spread
from alise_bench.overhead.figures import Figure, error_count, figure, memory_mib, ratio, wait_ratio
from fakes.overhead_results import results, row


def median(value: Spread | None) -> float:
    assert value is not None
    return value.median


def test_cpu_is_per_completed_request_and_per_event() -> None:
    found = results(row("alise", cpu=90.0))
    assert median(figure(found, "alise", "c64_1k", Figure.CPU_US)) == pytest.approx(90)
    assert median(figure(found, "alise", "c64_1k", Figure.CPU_S_PER_1000)) == pytest.approx(0.09)
    per_event = median(figure(found, "alise", "c64_1k", Figure.CPU_US_PER_EVENT))
    assert per_event == pytest.approx(90 / 129)
    assert median(figure(found, "alise", "c64_1k", Figure.PER_SECOND)) == pytest.approx(500)


def test_added_latency_is_against_the_direct_way_of_the_same_round() -> None:
    found = results(
        row("direct", number=1, p50=1.0),
        row("alise", number=1, p50=1.2),
        row("direct", number=2, p50=5.0),
        row("alise", number=2, p50=5.3),
        row("alise", number=3, p50=99.0),
    )
    added = figure(found, "alise", "c64_1k", Figure.ADDED_P50)
    assert added is not None
    # The third round has no direct run to compare with.
    assert [added.low, added.high, added.count] == pytest.approx([0.2, 0.3, 2])


def test_a_ratio_is_taken_round_by_round() -> None:
    found = results(
        row("alise", number=1, cpu=50),
        row("smg", number=1, cpu=100),
        row("alise", number=2, cpu=300),
        row("smg", number=2, cpu=400),
        row("smg", number=3, cpu=1),
    )
    share = ratio(found, "alise", "smg", "c64_1k", Figure.CPU_US)
    assert share is not None
    assert [share.low, share.high, share.count] == pytest.approx([0.5, 0.75, 2])


def test_the_direct_way_has_no_cost_of_its_own() -> None:
    found = results(row("direct", cpu=5.0))
    assert figure(found, "direct", "c64_1k", Figure.CPU_US) is None
    assert figure(found, "direct", "c64_1k", Figure.ADDED_P50) is None
    assert figure(found, "direct", "c64_1k", Figure.TOTAL_P50) is not None


def test_what_was_not_measured_is_nothing() -> None:
    found = results(row("alise"))
    assert figure(found, "smg", "c64_1k", Figure.CPU_US) is None
    assert ratio(found, "alise", "smg", "c64_1k", Figure.CPU_US) is None
    assert memory_mib(found, "smg") == (None, None)


def test_memory_per_stream_counts_every_stream_that_was_started() -> None:
    found = results(row("alise", "s1000", rss=30, errors=5))
    per_stream = median(figure(found, "alise", "s1000", Figure.RSS_KIB_PER_STREAM))
    assert per_stream == pytest.approx(30)
    assert error_count(found, "alise", "s1000") == 5


def test_memory_is_in_mib() -> None:
    idle, peak = memory_mib(results(row("alise"), memory=70), "alise")
    assert (median(idle), median(peak)) == (40, 70)


def test_waiting_is_a_share_of_the_wall_time() -> None:
    assert median(wait_ratio(results(row("alise")), "alise")) == pytest.approx(0.05)
    assert wait_ratio(results(row("alise")), "smg") is None
