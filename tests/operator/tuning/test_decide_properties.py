"""Whatever the load does, whatever gets lost: no swinging, no overspending, nothing half done."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_operator.tuning.decide import decide
from alise_operator.tuning.memory import Direction, Phase, memory_of
from alise_operator.tuning.plan import Plan, SetDtype, Verdict, Why
from alise_operator.tuning.settings import Knob, PoolSettings, Value
from fakes.tuned_pool import SLOTS, FakePool

MOST = settings.default.max_examples if settings.default else 100
TRACES = 40 if MOST <= 100 else 10_000
TICK_SECONDS = 20.0
pytestmark = pytest.mark.timeout(600)
"""Traces are long: on a busy machine dozens of them take minutes."""
LONG_TICKS = 400
START = 1_750_000_000.0


def spec(**changes: object) -> KVCachePolicySpec:
    return KVCachePolicySpec.model_validate(
        {
            "mode": "Auto",
            "activeRequests": {"min": 8},
            "hostTier": {
                "levels": ["none", "int8", "int4"],
                "evictionPolicies": ["lru", "arc", "ewt"],
                "maxBytes": 4 << 30,
            },
            "dtypes": {"platform": "cuda-hopper", "ladder": ["auto", "fp8"]},
            **changes,
        }
    )


@dataclass
class Trace:
    """One life of a pool: what its settings were, and when."""

    seed: int
    pods: int = 2
    ticks: int = 180
    spec: KVCachePolicySpec = field(default_factory=spec)
    gate: bool | None = True

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)  # noqa: S311
        self.pool = FakePool.of(
            self.pods,
            lost=chance.choice([0.0, 0.0, 0.3]),
            blind=chance.choice([0.0, 0.0, 0.2]),
            demand=chance.random() < 0.5,
            gate=self.gate,
            chance=chance,
        )
        self.loads = list(loads(chance, self.ticks, self.pods))
        self.kills = chance.choice([0.0, 0.1, 0.5])
        self.restarts = chance.choice([0.0, 0.02])
        self.chance = chance
        self.now = START
        self.text = ""
        self.plans: list[tuple[float, Plan]] = []
        self.history: list[tuple[float, PoolSettings]] = []

    def run(self) -> "Trace":
        for load in self.loads:
            self.pool.load = load
            self.step()
        return self

    def step(self) -> Plan:
        chance, pool = self.chance, self.pool
        self.now += TICK_SECONDS
        pool.tick()
        if chance.random() < self.restarts:
            victim = chance.choice(pool.pods)
            victim.restart(victim.dtype, pool.restart_ticks)
        plan = decide(self.spec, pool.observe(), memory_of(self.text), self.now)
        self.plans.append((self.now, plan))
        self.text = plan.memory.to_json()
        self.history.append((self.now, plan.memory.desired))
        done = plan.actions
        if chance.random() < self.kills:
            done = plan.actions[: chance.randrange(len(plan.actions) + 1)]
        pool.carry_out(done)
        return plan


def loads(chance: random.Random, ticks: int, pods: int) -> Iterator[float]:
    """By the capacity of one pod: calm, busy and overloaded for random times, noise over it."""
    long = ticks > LONG_TICKS
    kind = chance.choice(["shift"] if long else ["steps", "saw", "noise"])
    level, left = chance.uniform(0, 2.5), 0
    for tick in range(ticks):
        if kind == "steps":
            if left == 0:
                level, left = chance.uniform(0, 2.5), chance.randrange(2, 60)
            left -= 1
        elif kind == "shift":
            # Rush hours, and a night long enough for everything to be given back.
            level = 0.1 if tick > 120 else 2.2
        elif kind == "saw":
            level = 2.2 * ((tick % 40) / 40)
        else:
            level = chance.uniform(0, 2.5)
        yield max(0.0, pods * level * chance.uniform(0.9, 1.1))


@pytest.mark.slow
@given(
    st.integers(0, 2**32),
    st.integers(1, 4),
    st.integers(1, 8),
    st.sampled_from([180, 180, 2 * LONG_TICKS]),
)
@settings(max_examples=TRACES)
def test_whatever_the_load_does(seed: int, pods: int, budget: int, ticks: int) -> None:
    trace = Trace(seed, pods, ticks, spec(pace={"maxChangesPerHour": budget})).run()

    no_setting_comes_back_within_the_stabilisation_window(trace)
    no_hour_has_more_changes_than_its_budget(trace, budget)
    bounds_are_never_left(trace, pods)
    one_change_that_restarts_pods_at_a_time(trace)
    assert all(memory_of(plan.memory.to_json()) == plan.memory for _, plan in trace.plans)


def no_setting_comes_back_within_the_stabilisation_window(trace: Trace) -> None:
    window = trace.spec.pace.stabilization_seconds
    for knob in Knob:
        seen: list[tuple[float, Value]] = []
        for at, desired in trace.history:
            if not seen or seen[-1][1] != desired.value(knob):
                seen.append((at, desired.value(knob)))
        # A value that was left at seen[n + 1] and is back at seen[n + 2].
        for (_, one), (left, _), (back, again) in zip(seen, seen[1:], seen[2:], strict=False):
            if one == again and one is not None:
                assert back - left >= window, (knob, seen)


def no_hour_has_more_changes_than_its_budget(trace: Trace, budget: int) -> None:
    times = [at for at, plan in trace.plans if plan.verdict is Verdict.CHANGE]
    for at in times:
        assert sum(1 for one in times if at - 3_600 < one <= at) <= budget
    cooldown = trace.spec.pace.cooldown_seconds
    assert all(b - a >= cooldown for a, b in pairwise(times))


def bounds_are_never_left(trace: Trace, pods: int) -> None:
    for action in trace.pool.actions:
        if isinstance(action, SetDtype):
            assert action.dtype in {"auto", "fp8"}
            continue
        scheduler, tier = action.changes.get("scheduler", {}), action.changes.get("tier", {})
        assert 8 <= int(scheduler.get("max_active_requests", 8)) <= SLOTS
        assert tier.get("level", "none") in {"none", "int8", "int4"}
        assert tier.get("eviction", "lru") in {"lru", "arc", "ewt"}
        assert 1 << 30 <= int(tier.get("capacity_bytes", 1 << 30)) <= 4 << 30
    for _, plan in trace.plans:
        assert plan.message
        assert pods <= plan.wanted_replicas <= 2 * pods


def one_change_that_restarts_pods_at_a_time(trace: Trace) -> None:
    for (_, one), (_, following) in pairwise(trace.plans):
        if one.memory.cold is not None:
            assert following.verdict is not Verdict.CHANGE
            if following.memory.cold is not None:
                assert following.memory.cold.after == one.memory.cold.after


@pytest.mark.slow
def test_the_traces_turn_every_knob_both_ways() -> None:
    turned = {
        (plan.step.knob, plan.step.direction)
        for seed in range(3)
        for _, plan in Trace(seed, 2, 1_200, spec(pace={"maxChangesPerHour": 12})).run().plans
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
    pool.lost = pool.blind = trace.kills = trace.restarts = 0.0
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

    failed = [at for at, plan in trace.plans if plan.why is Why.ROLLED_BACK]
    begun = [
        at
        for at, plan in trace.plans
        if plan.step and plan.step.knob is Knob.DTYPE and plan.verdict is Verdict.CHANGE
    ]
    for at in failed:
        assert not [one for one in begun if at < one < at + 3_000]
    rolled = [
        plan
        for _, plan in trace.plans
        if plan.memory.cold and plan.memory.cold.phase is Phase.ROLLING
    ]
    assert rolled == []


@pytest.mark.slow
@given(st.integers(0, 2**32), st.integers(1, 4))
@settings(max_examples=TRACES)
def test_recommend_touches_nothing_and_does_not_swing_either(seed: int, pods: int) -> None:
    trace = Trace(seed, pods, spec=spec(mode="Recommend")).run()

    assert trace.pool.actions == []
    new = []
    last: object = None
    for at, plan in trace.plans:
        if plan.verdict is Verdict.RECOMMEND and plan.memory.recommended != last:
            new.append(at)
            assert plan.step is not None
            assert plan.commands or plan.step.knob is Knob.REPLICAS
        last = plan.memory.recommended or last
    for at in new:
        assert sum(1 for one in new if at - 3_600 < one <= at) <= 6
