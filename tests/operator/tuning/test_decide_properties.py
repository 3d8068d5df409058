"""Whatever the load does, whatever gets lost: no swinging, no overspending, nothing half done."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_bench.tuner.many_traces import NO_PATIENCE
from alise_bench.tuner.rules import broken, came_back
from alise_bench.tuner.traces import Trace, policy, random_trace
from alise_operator.tuning.memory import Direction, Phase
from alise_operator.tuning.plan import Verdict, Why
from alise_operator.tuning.settings import Knob

MOST = settings.default.max_examples if settings.default else 100
TRACES = 40 if MOST <= 100 else 10_000
pytestmark = pytest.mark.timeout(600)
"""Traces are long: on a busy machine dozens of them take minutes."""


@pytest.mark.slow
@given(st.integers(0, 2**32))
@settings(max_examples=TRACES)
def test_whatever_the_load_does(seed: int) -> None:
    assert broken(random_trace(seed).run()) == []


@pytest.mark.slow
def test_without_patience_the_same_traces_swing() -> None:
    swinging = 0
    for seed in range(10):
        trace = random_trace(seed, **NO_PATIENCE).run()
        swinging += bool(list(came_back(trace.looks, 300)))

    assert swinging >= 3


@pytest.mark.slow
def test_the_traces_turn_every_knob_both_ways() -> None:
    often = policy(pace={"maxChangesPerHour": 12})
    plans = [
        look.plan
        for seed in range(3)
        for look in Trace(seed, 2, 1_200, often, kind="shift").run().looks
    ]
    turned = {
        (plan.step.knob, plan.step.direction)
        for plan in plans
        if plan.step is not None and plan.verdict is Verdict.CHANGE
    }

    assert turned == {(knob, way) for knob in Knob for way in Direction}


@pytest.mark.slow
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([True, False, None]))
@settings(max_examples=TRACES)
def test_an_interrupted_plan_is_carried_out_in_the_end(
    seed: int, pods: int, gate: bool | None
) -> None:
    trace = Trace(seed, pods, ticks=90, gate=gate).run()
    pool = trace.pool
    pool.lost = pool.blind = pool.demand_error = trace.kills = trace.restarts = 0.0
    pool.load = 0.75 * pods  # between the marks: nothing new is begun

    # Long enough for a canary's timeout and for every pod to start anew, twice.
    for _ in range(260):
        plan = trace.step()

    assert plan.verdict is Verdict.HOLD, plan.message
    assert plan.memory.cold is None
    desired = plan.memory.desired
    assert {pod.dtype for pod in pool.pods} == {desired.dtype}
    assert {pod.level for pod in pool.pods} == {desired.level}
    assert {pod.eviction for pod in pool.pods} == {desired.eviction}
    assert {pod.tier_bytes for pod in pool.pods} == {desired.tier_bytes}


@pytest.mark.slow
@given(st.integers(0, 2**32), st.integers(2, 4))
@settings(max_examples=TRACES)
def test_a_failed_canary_touches_one_pod_and_is_not_tried_again_soon(seed: int, pods: int) -> None:
    trace = Trace(seed, pods, gate=False)
    trace.restarts = 0.0
    trace.run()

    failed = [look.at for look in trace.looks if look.plan.why is Why.ROLLED_BACK]
    begun = [
        look.at
        for look in trace.looks
        if look.plan.verdict is Verdict.CHANGE
        and look.plan.step is not None
        and look.plan.step.knob is Knob.DTYPE
    ]
    for at in failed:
        assert not [one for one in begun if at < one < at + 3_000]
    phases = {look.plan.memory.cold.phase for look in trace.looks if look.plan.memory.cold}
    assert Phase.ROLLING not in phases


@pytest.mark.slow
@given(st.integers(0, 2**32), st.integers(1, 4))
@settings(max_examples=TRACES)
def test_recommend_touches_nothing_and_does_not_swing_either(seed: int, pods: int) -> None:
    trace = Trace(seed, pods, spec=policy(mode="Recommend")).run()

    assert trace.pool.actions == []
    new = []
    last: object = None
    for look in trace.looks:
        plan = look.plan
        if plan.verdict is Verdict.RECOMMEND and plan.memory.recommended != last:
            new.append(look.at)
            assert plan.step is not None
            assert plan.commands or plan.step.knob is Knob.REPLICAS
        last = plan.memory.recommended or last
    for at in new:
        assert sum(1 for one in new if at - 3_600 < one <= at) <= 6
