from dataclasses import replace

import pytest

from alise_bench.tuner.sketch import CAPACITY_TOKENS, SLOTS, SketchedPool
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_operator.tuning.decide import decide
from alise_operator.tuning.memory import Phase, TunerMemory
from alise_operator.tuning.observed import (
    DemandObserved,
    Doubt,
    DoubtKind,
    GateResult,
    Workload,
)
from alise_operator.tuning.plan import Plan, SetDtype, Tune, Verdict, Why
from alise_operator.tuning.settings import Knob

NOW = 1_750_000_000.0


def spec(**changes: object) -> KVCachePolicySpec:
    return KVCachePolicySpec.model_validate(
        {
            "mode": "Auto",
            "activeRequests": {"min": 8},
            "hostTier": {"levels": ["none", "int8"], "evictionPolicies": ["lru", "ewt"]},
            "dtypes": {"platform": "cuda-hopper", "ladder": ["auto", "fp8"]},
            **changes,
        }
    )


class Story:
    """A pool over time, with everything that is decided carried out."""

    def __init__(self, pool: SketchedPool, policy: KVCachePolicySpec | None = None) -> None:
        self.pool, self.spec = pool, policy or spec()
        self.memory, self.now = TunerMemory(), NOW

    def step(self, seconds: float = 20.0, **changes: object) -> Plan:
        self.now += seconds
        self.pool.tick()
        observed = replace(self.pool.observe(), **changes)  # type: ignore[arg-type]
        plan = decide(self.spec, observed, self.memory, self.now)
        self.memory = plan.memory
        self.pool.carry_out(plan.actions)
        return plan

    def until(self, why: Why, steps: int = 400) -> Plan:
        seen = []
        for _ in range(steps):
            plan = self.step()
            if plan.why is why:
                return plan
            seen.append((plan.why, plan.message))
        raise AssertionError((why, seen[-5:]))


def test_pressure_turns_the_cheapest_knob_that_helps() -> None:
    plan = Story(SketchedPool.of(2, load=3.0)).step()

    assert (plan.verdict, plan.why) == (Verdict.CHANGE, Why.PRESSURE)
    assert plan.step is not None
    assert plan.step.knob is Knob.ACTIVE_REQUESTS
    assert [action for action in plan.actions if isinstance(action, Tune)] == list(plan.actions)
    assert len(plan.actions) == 2
    assert "preempted" in plan.message
    assert plan.rung == f"active_requests={plan.step.after}"


def test_below_the_mark_nothing_happens_and_the_figures_are_told() -> None:
    plan = Story(SketchedPool.of(2, load=1.5)).step()

    assert (plan.verdict, plan.why, plan.actions) == (Verdict.HOLD, Why.NO_PRESSURE, ())
    assert "0.75" in plan.message
    assert plan.pressure == pytest.approx(0.75)


def test_a_second_change_waits_for_the_cooldown() -> None:
    story = Story(SketchedPool.of(2, load=3.0))
    story.step()

    plan = story.step()

    assert plan.why is Why.COOLING_DOWN
    assert "would set eviction lru -> ewt" in plan.message


def test_one_hot_pod_is_not_a_hot_pool() -> None:
    story = Story(SketchedPool.of(3, load=2.25))
    pods = list(story.pool.observe().pods)
    pods[0] = replace(pods[0], usage_ratio=1.0, usage_peak_ratio=1.0, preemptions_per_second=1.0)

    plan = story.step(pods=tuple(pods))

    assert plan.why is Why.NO_PRESSURE
    assert "hot alone: pod-0" in plan.message


def test_demand_that_comes_is_pressure_before_it_is_there() -> None:
    story = Story(SketchedPool.of(2, load=1.0, demand=True))
    story.step()
    tokens = 2.4 * CAPACITY_TOKENS

    plan = story.step(demand=DemandObserved(tokens, tokens * 1.1, 1.0))

    assert plan.pressure == pytest.approx(1.2)
    assert plan.why in {Why.PRESSURE, Why.NOT_HOT_LONG}


@pytest.mark.parametrize(
    "demand",
    [
        DemandObserved(9e9, 9e9, age_seconds=100.0),
        DemandObserved(9e9, 9e9, 1.0, missing=1),
        DemandObserved(9e9, 1.0, 1.0),
    ],
    ids=["stale", "incomplete", "contradictory"],
)
def test_a_prediction_that_cannot_be_used_is_left_out_and_said(demand: DemandObserved) -> None:
    plan = Story(SketchedPool.of(2, load=1.5)).step(demand=demand)

    assert plan.why is Why.NO_PRESSURE
    assert any("left out" in note for note in plan.notes)


@pytest.mark.parametrize("kind", DoubtKind)
def test_figures_that_are_doubted_hold_the_tuner_still(kind: DoubtKind) -> None:
    story = Story(SketchedPool.of(2, load=3.0))
    pods = tuple(
        replace(pod, doubts=(Doubt(kind, f"{pod.name}: {kind}"),))
        for pod in story.pool.observe().pods
    )

    plan = story.step(pods=pods)

    assert (plan.verdict, plan.why, plan.actions) == (Verdict.HOLD, Why.NOT_TRUSTED, ())
    assert str(kind) in plan.message
    assert plan.pressure is None


def test_a_paused_pool_and_a_pool_without_pods_are_left_alone() -> None:
    story = Story(SketchedPool.of(2, load=3.0))

    assert story.step(paused=True).why is Why.PAUSED
    assert story.step(pods=()).why is Why.NO_PODS
    assert story.pool.actions == []


def test_a_paused_pod_is_told_nothing() -> None:
    story = Story(SketchedPool.of(2, load=3.0))
    pods = list(story.pool.observe().pods)
    pods[0] = replace(pods[0], paused=True)

    plan = story.step(pods=tuple(pods))

    assert [action.pod for action in plan.actions if isinstance(action, Tune)] == ["pod-1"]


def test_a_pod_that_starts_anew_is_told_again() -> None:
    story = Story(SketchedPool.of(2, load=3.0))
    story.step()
    cap = story.pool.pods[0].active_requests
    assert cap < SLOTS
    story.pool.pods[1].restart("auto", 0)

    plan = story.step()

    assert (plan.verdict, plan.why) == (Verdict.CONVERGE, Why.NOT_AS_DESIRED)
    assert story.pool.pods[1].active_requests == cap


def test_an_endpoint_that_says_yes_and_does_nothing_holds_the_tuner() -> None:
    story = Story(SketchedPool.of(2, load=3.0, lost=1.0))
    story.step()

    for _ in range(10):
        plan = story.step()

    assert plan.why is Why.NOT_AS_DESIRED
    assert "pod-0, pod-1" in plan.message


def test_what_restarts_pods_needs_pressure_that_lasts_and_a_canary() -> None:
    story = Story(SketchedPool.of(3, load=3.6, plugin=False))

    first = story.step()
    assert first.why is Why.NOT_HOT_LONG
    begun = story.until(Why.PRESSURE)
    assert begun.actions == (SetDtype("fp8", 1),)
    assert begun.memory.cold is not None
    assert begun.memory.cold.phase is Phase.CANARY
    story.until(Why.ROLLING)
    done = story.until(Why.ROLLED_OUT)

    assert done.memory.desired.dtype == "fp8"
    assert {pod.dtype for pod in story.pool.pods} == {"fp8"}


def test_a_failed_canary_goes_back_and_is_held_longer_each_time() -> None:
    story = Story(SketchedPool.of(2, load=2.4, plugin=False, gate=False))

    story.until(Why.ROLLED_BACK)
    (first,) = story.memory.holds
    assert "not again for" in " ".join(story.step().considered)
    assert first.until - story.now == pytest.approx(3_600, abs=300)
    story.now = first.until
    story.until(Why.ROLLED_BACK)
    (second,) = story.memory.holds

    assert second.failures == 2
    assert second.until - story.now == pytest.approx(7_200, abs=300)
    assert {pod.dtype for pod in story.pool.pods} == {"auto"}


def test_a_canary_that_nobody_judges_goes_back() -> None:
    story = Story(SketchedPool.of(2, load=2.4, plugin=False, gate=None))

    plan = story.until(Why.ROLLING_BACK)

    assert "not judged within" in plan.message


def test_somebody_who_sets_another_dtype_meanwhile_wins() -> None:
    story = Story(SketchedPool.of(2, load=2.4, plugin=False, gate=None))
    story.until(Why.CANARY)

    plan = story.step(workload=Workload("Deployment", "vllm", dtype="fp8_e5m2"))

    assert (plan.why, plan.actions) == (Why.USER_CHANGED, ())
    assert plan.memory.cold is None


def test_a_gate_of_another_dtype_says_nothing() -> None:
    story = Story(SketchedPool.of(2, load=2.4, plugin=False, gate=None))
    story.until(Why.CANARY)

    assert story.step(gate=GateResult("fp8_e5m2", True, "old")).why is Why.CANARY


def test_a_dtype_that_is_not_known_on_the_platform_is_refused_with_the_reason() -> None:
    ladder = {"platform": "cpu", "ladder": ["auto", "int8_per_token_head"]}
    story = Story(SketchedPool.of(2, load=2.4, plugin=False), spec(dtypes=ladder))

    for _ in range(60):
        plan = story.step()

    assert not [action for action in story.pool.actions if isinstance(action, SetDtype)]
    assert any("not known to work on cpu" in line for line in plan.considered)


def test_exact_kv_is_not_given_back_while_the_pressure_would_return() -> None:
    story = Story(
        SketchedPool.of(2, load=2.6, plugin=False), spec(dtypes=spec().dtypes.model_dump())
    )
    story.until(Why.ROLLED_OUT)
    story.pool.load = 1.0  # a quarter of fp8, half of what was there before
    story.until(Why.CALM)
    assert story.memory.cold is not None
    assert story.memory.cold.after == "auto"


def test_exact_kv_is_given_back_where_the_load_fell_slowly() -> None:
    story = Story(SketchedPool.of(2, load=2.6, plugin=False))
    story.until(Why.ROLLED_OUT)
    story.pool.load = 1.9  # calm, and too much for an exact cache
    story.until(Why.WOULD_RETURN)
    story.pool.load = 0.4

    story.until(Why.CALM, steps=600)

    assert story.memory.cold is not None
    assert story.memory.cold.after == "auto"


def test_half_of_a_packed_cache_is_a_whole_exact_one() -> None:
    story = Story(SketchedPool.of(2, load=2.6, plugin=False))
    story.until(Why.ROLLED_OUT)
    story.pool.load = 2.0

    for _ in range(400):
        plan = story.step()

    assert plan.why in {Why.WOULD_RETURN, Why.AT_BASE}
    assert {pod.dtype for pod in story.pool.pods} == {"fp8"}
    assert any("would be 1.0" in line for line in (*plan.considered, plan.message))


def test_replicas_are_asked_for_last_and_never_set() -> None:
    policy = spec(dtypes={"ladder": ["auto"]})
    story = Story(SketchedPool.of(2, load=4.0, plugin=False), policy)

    for _ in range(60):
        plan = story.step()

    assert plan.wanted_replicas == 4
    assert story.pool.actions == []


def test_recommend_says_what_it_would_do_and_how() -> None:
    story = Story(SketchedPool.of(2, load=3.0), spec(mode="Recommend"))

    plan = story.step()

    assert (plan.verdict, plan.actions) == (Verdict.RECOMMEND, ())
    assert story.pool.actions == []
    command = plan.commands[0]
    assert command.startswith("kubectl -n models exec pod-0 -- sh -c ")
    assert '"max_active_requests": ' in command
    assert "/alise/tune" in command
    assert story.step().verdict is Verdict.RECOMMEND


def test_a_recommendation_that_a_person_carries_out_leads_to_the_next() -> None:
    story = Story(SketchedPool.of(2, load=3.0), spec(mode="Recommend"))
    plan = story.step()
    assert plan.step is not None
    for pod in story.pool.pods:
        pod.active_requests = int(plan.step.after or 0)

    for _ in range(4):
        plan = story.step()

    assert plan.step is not None
    assert plan.step.knob is Knob.EVICTION


def test_the_command_for_a_dtype_patches_the_workload() -> None:
    policy = spec(mode="Recommend")
    story = Story(SketchedPool.of(2, load=3.0, plugin=False), policy)
    workload = Workload("Deployment", "vllm", container=1, dtype_argument=3)

    for _ in range(60):
        plan = story.step(workload=workload)
        if plan.verdict is Verdict.RECOMMEND:
            break

    assert plan.commands == (
        "kubectl -n models patch deployment/vllm --type=json -p "
        '\'[{"op": "replace", "path": "/spec/template/spec/containers/1/args/3", '
        '"value": "--kv-cache-dtype=fp8"}]\'',
    )


def test_a_clock_that_went_back_delays_and_does_not_block() -> None:
    story = Story(SketchedPool.of(2, load=3.0))
    story.now += 1e9
    story.step()
    story.now = NOW

    assert story.step().why is Why.COOLING_DOWN
    assert story.step(61.0).verdict is Verdict.CHANGE


def test_nothing_is_lost_when_the_memory_is() -> None:
    story = Story(SketchedPool.of(2, load=3.0))
    for _ in range(20):
        story.step()
    story.memory = TunerMemory()
    story.pool.load = 0.2

    plan = story.until(Why.AT_BASE)

    assert plan.rung == "base"
    assert {pod.active_requests for pod in story.pool.pods} == {SLOTS}
    assert {pod.level for pod in story.pool.pods} == {"none"}
