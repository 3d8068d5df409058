from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_operator.tuning.observed import DoubtKind, PodObserved
from alise_operator.tuning.samples import Counter, PluginSample, PodSample
from alise_operator.tuning.window import PodWindow, increase, quantile


def sample(at: float, *, usage: float = 0.5, preempted: float = 0.0, **more: object) -> PodSample:
    values: dict[str, object] = {
        "usage_ratio": usage,
        "running": 10.0,
        "waiting": 0.0,
        "capacity_tokens": 1_000,
        "dtype": "auto",
        "counters": {Counter.PREEMPTIONS: preempted, Counter.FINISHED: at},
        **more,
    }
    return PodSample(at, **values)  # type: ignore[arg-type]


def looked(*samples: PodSample, now: float | None = None) -> PodObserved:
    window = PodWindow("pod", 30.0, 5.0)
    for one in samples:
        window.add(one)
    return window.figures(samples[-1].at if now is None else now)


def kinds(pod: PodObserved) -> set[DoubtKind]:
    return {doubt.kind for doubt in pod.doubts}


def steady(until: int = 60, **more: object) -> list[PodSample]:
    return [sample(float(at), **more) for at in range(0, until + 1, 5)]  # type: ignore[arg-type]


def test_good_samples_give_figures_without_doubts() -> None:
    pod = looked(*steady())

    assert pod.doubts == ()
    assert pod.usage_ratio == pytest.approx(0.5)
    assert pod.finished_per_second == pytest.approx(1.0)
    assert pod.usage_slope == pytest.approx(0.0)
    assert pod.covered_seconds == 30


def test_nobody_heard_of_is_missing() -> None:
    assert kinds(PodWindow("pod", 30.0, 5.0).figures(1.0)) == {DoubtKind.MISSING}


def test_the_slope_is_per_second() -> None:
    pod = looked(*(sample(float(at), usage=0.1 + at / 100) for at in range(0, 31, 5)))

    assert pod.usage_slope == pytest.approx(0.01)


def test_a_counter_that_falls_is_a_new_engine_and_the_old_one_is_forgotten() -> None:
    old = [sample(float(at), usage=0.9, preempted=100.0 + at) for at in range(0, 61, 5)]
    pod = looked(*old, sample(65.0, usage=0.1, preempted=0.0, counters={Counter.PREEMPTIONS: 0.0}))

    assert kinds(pod) == {DoubtKind.RESTARTED}
    assert pod.usage_ratio == pytest.approx(0.1)
    assert pod.preemptions_per_second is None


def test_another_dtype_is_a_new_engine() -> None:
    pod = looked(*steady(), sample(65.0, dtype="fp8"))

    assert pod.dtype == "fp8"
    assert kinds(pod) == {DoubtKind.RESTARTED}


def test_a_gap_counts_for_nothing() -> None:
    # Heard for the last 10 s after 55 s of silence: a mean of 25 s is what it says.
    pod = looked(sample(0.0, usage=1.0), *(sample(55.0 + at, usage=0.2) for at in (0, 5)))

    assert pod.covered_seconds == pytest.approx(20.0)
    assert pod.usage_ratio == pytest.approx((15 * 1.0 + 5 * 0.2) / 20, abs=1e-3)


def test_too_many_gaps_are_doubted() -> None:
    assert kinds(looked(sample(0.0), sample(4.0))) == {DoubtKind.GAPS}


def test_old_figures_are_stale() -> None:
    assert kinds(looked(*steady(), now=100.0)) == {DoubtKind.STALE}


@pytest.mark.parametrize(
    "wrong",
    [
        {"usage_ratio": 1.7},
        {"usage_ratio": nan},
        {"running": -1.0},
        {"running": 0.0, "usage_ratio": 0.8},
        {"running": 5.0, "usage_ratio": 0.0},
    ],
    ids=str,
)
def test_what_cannot_be_is_contradictory(wrong: dict[str, float]) -> None:
    pod = looked(*(sample(float(at), **wrong) for at in range(0, 61, 5)))

    assert kinds(pod) & {DoubtKind.CONTRADICTORY, DoubtKind.MISSING}
    assert all(pod.name in doubt.text for doubt in pod.doubts)


def test_a_page_of_another_engine_is_foreign() -> None:
    strange = PodSample(60.0, foreign="no series of vLLM")

    assert kinds(looked(*steady(55), strange)) == {DoubtKind.FOREIGN}


def test_the_plugin_is_not_gone_because_one_look_failed() -> None:
    plugin = PluginSample(8, 16, "int8", "ewt", 100, 50)
    pod = looked(*(sample(float(at), plugin=plugin) for at in range(0, 26, 5)), sample(30.0))

    assert pod.plugin is not None
    assert (pod.plugin.level, pod.plugin.used_ratio, pod.plugin.age_seconds) == ("int8", 0.5, 5.0)


def test_late_samples_are_passed_over() -> None:
    assert looked(*steady(), sample(20.0, usage=1.0)).usage_peak_ratio == 0.5


def test_quantiles_are_linear_inside_a_bucket() -> None:
    buckets = ((1.0, 50.0), (2.0, 100.0), (inf, 100.0))

    assert quantile(buckets, 0.5) == 1.0
    assert quantile(buckets, 0.75) == 1.5
    assert quantile(((1.0, 0.0), (inf, 4.0)), 0.99) == 1.0
    assert quantile((), 0.5) is None


def test_a_histogram_that_fell_gained_nothing() -> None:
    assert increase(((1.0, 5.0), (inf, 9.0)), ((1.0, 6.0), (inf, 8.0))) == ()
    assert increase(((1.0, 5.0),), ((1.0, 7.0),)) == ((1.0, 2.0),)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1), st.floats(0, 50)), max_size=40))
def test_any_samples_give_figures_in_their_ranges(rows: list[tuple[float, float, float]]) -> None:
    window = PodWindow("pod", 30.0, 5.0)
    for at, usage, preempted in rows:
        window.add(sample(at, usage=usage, preempted=preempted))
    pod = window.figures(101.0)

    assert pod.usage_ratio is None or 0 <= pod.usage_ratio <= 1 + 1e-9
    assert pod.preemptions_per_second is None or pod.preemptions_per_second >= 0
    assert 0 <= pod.covered_seconds <= 30
