from dataclasses import replace

import pytest

from alise_core.crds.kv_cache_policy import PressureSpec
from alise_operator.tuning.observed import DemandObserved, Observed, PodObserved
from alise_operator.tuning.pressure import PoolPressure, pod_need, pool_pressure

SPEC = PressureSpec()
POD = PodObserved(
    "pod-0",
    age_seconds=1.0,
    covered_seconds=30.0,
    usage_ratio=0.5,
    usage_peak_ratio=0.5,
    usage_slope=0.0,
    running=50.0,
    waiting=0.0,
    preemptions_per_second=0.0,
    finished_per_second=1.0,
    capacity_tokens=1_000,
)


def pressure(*pods: PodObserved, **more: object) -> PoolPressure:
    observed = Observed("ns", "pool", pods, **more)  # type: ignore[arg-type]
    return pool_pressure(observed, SPEC, capped=False)


def test_who_waits_for_memory_is_counted_with_what_a_running_request_holds() -> None:
    full = replace(POD, usage_ratio=0.96, usage_peak_ratio=1.0, waiting=25.0)

    assert pod_need(full, SPEC, capped=False) == pytest.approx(0.96 * 1.5)


def test_who_waits_for_the_batch_limit_is_not() -> None:
    assert pod_need(replace(POD, waiting=100.0), SPEC, capped=False) == 0.5


def test_a_cap_does_not_hide_the_need() -> None:
    assert pod_need(replace(POD, waiting=50.0), SPEC, capped=True) == pytest.approx(1.0)


def test_preemptions_are_pressure_whatever_usage_says() -> None:
    found = pressure(replace(POD, preemptions_per_second=0.1))

    assert found.preempting
    assert found.value >= SPEC.high


def test_one_preemption_among_hundreds_of_requests_is_none() -> None:
    assert not pressure(replace(POD, preemptions_per_second=0.005)).preempting


def test_a_slope_counts_only_where_no_gateway_is_heard_and_not_without_bounds() -> None:
    rising = replace(POD, usage_slope=1.0)
    demand = DemandObserved(500.0, 600.0, 1.0)

    assert pressure(rising).value == pytest.approx(0.65)
    assert pressure(rising, demand=demand).value == pytest.approx(0.5)


def test_the_predicted_peak_counts_and_its_high_value_keeps_the_calm_away() -> None:
    found = pressure(POD, demand=DemandObserved(800.0, 860.0, 1.0))

    assert found.value == pytest.approx(0.8)
    assert found.high == pytest.approx(0.86)
    assert found.need == pytest.approx(0.5)


def test_demand_is_shared_by_all_pods_those_not_heard_included() -> None:
    silent = PodObserved("pod-1")
    demand = DemandObserved(1_800.0, 1_800.0, 1.0)

    assert pressure(POD, silent, demand=demand).value == pytest.approx(0.9)
