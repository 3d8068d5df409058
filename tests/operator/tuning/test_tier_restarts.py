"""A host tier's size that is changed where pods are started from: behind a canary, and back."""

from dataclasses import replace

import pytest

from alise_bench.tuner.sketch import TIER_BYTES, SketchedPool
from alise_bench.tuner.traces import TIER, policy
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_operator.tuning.decide import decide
from alise_operator.tuning.memory import Phase, TunerMemory, memory_of
from alise_operator.tuning.observed import Observed, Workload
from alise_operator.tuning.plan import Plan, SetDtype, SetTierBytes, Tune, Verdict, Why
from alise_operator.tuning.settings import Knob

NOW = 1_750_000_000.0
ONE_LEVEL = {**TIER, "levels": ["none"], "evictionPolicies": ["lru"], "sizing": "Restart"}


def sizes(**changes: object) -> KVCachePolicySpec:
    """Nothing is left but the size."""
    return policy(**{"hostTier": ONE_LEVEL, "activeRequests": {}, "dtypes": {}, **changes})


class Story:
    """A pool over time; what is remembered goes through its JSON at every look."""

    def __init__(self, pool: SketchedPool, spec: KVCachePolicySpec | None = None) -> None:
        self.pool, self.spec = pool, spec or sizes()
        self.memory, self.now = TunerMemory(), NOW
        self.plans: list[Plan] = []

    def step(self, **changes: object) -> Plan:
        self.now += 20.0
        self.pool.tick()
        observed: Observed = replace(self.pool.observe(), **changes)  # type: ignore[arg-type]
        plan = decide(self.spec, observed, self.memory, self.now)
        self.memory = memory_of(plan.memory.to_json())
        self.pool.carry_out(plan.actions)
        self.plans.append(plan)
        return plan

    def until(self, why: Why, steps: int = 600) -> Plan:
        for _ in range(steps):
            plan = self.step()
            if plan.why is why:
                return plan
        raise AssertionError((why, [(plan.why, plan.message) for plan in self.plans[-5:]]))

    @property
    def started_with(self) -> set[int]:
        return {pod.tier_bytes for pod in self.pool.pods}


def test_it_grows_behind_a_canary_and_all_pods_follow() -> None:
    story = Story(SketchedPool.of(3, load=3.6))

    assert story.step().why is Why.NOT_HOT_LONG
    begun = story.until(Why.PRESSURE)
    assert begun.verdict is Verdict.CHANGE
    assert begun.actions == (SetTierBytes(2 * TIER_BYTES, TIER_BYTES, 1),)
    assert "every pod restarts" in begun.message
    assert begun.memory.cold is not None
    assert (begun.memory.cold.knob, begun.memory.cold.phase) == (Knob.TIER_BYTES, Phase.CANARY)
    story.until(Why.ROLLING)
    assert len(story.started_with) == 2
    done = story.until(Why.ROLLED_OUT)

    assert done.memory.desired.tier_bytes == 2 * TIER_BYTES
    assert story.started_with == {2 * TIER_BYTES}
    assert done.rung == f"tier_bytes={2 * TIER_BYTES}"


def test_nothing_is_told_to_a_running_engine() -> None:
    story = Story(SketchedPool.of(2, load=2.4))

    story.until(Why.NOTHING_LEFT)

    assert story.started_with == {4 * TIER_BYTES}
    assert not [action for action in story.pool.actions if isinstance(action, Tune)]


def test_a_failed_canary_goes_back_and_that_size_is_not_tried_again_soon() -> None:
    story = Story(SketchedPool.of(2, load=2.4, gate=False))

    back = story.until(Why.ROLLING_BACK)
    assert back.actions == (SetTierBytes(TIER_BYTES, 2 * TIER_BYTES),)
    story.until(Why.ROLLED_BACK)

    assert story.started_with == {TIER_BYTES}
    assert story.memory.desired.tier_bytes == TIER_BYTES
    assert f"{2 * TIER_BYTES} failed 1 times" in " ".join(story.step().considered)


def test_a_canary_that_nobody_judges_goes_back_in_time() -> None:
    story = Story(SketchedPool.of(2, load=2.4, gate=None))

    story.until(Why.ROLLED_BACK)

    assert story.started_with == {TIER_BYTES}


def test_memory_is_given_back_after_a_calm_as_long_as_for_a_dtype() -> None:
    story = Story(SketchedPool.of(2, load=2.4))
    story.until(Why.ROLLED_OUT)
    story.pool.load = 0.2
    calm = story.now

    begun = story.until(Why.CALM)

    assert begun.actions == (SetTierBytes(TIER_BYTES, story.pool.pods[1].tier_bytes),)
    assert story.now - calm >= 6 * 600
    story.until(Why.ROLLED_OUT)
    assert story.started_with == {TIER_BYTES}


def test_a_dtype_that_restarts_pods_as_well_comes_first() -> None:
    dtypes = {"platform": "cuda-hopper", "ladder": ["auto", "fp8"]}
    story = Story(SketchedPool.of(2, load=2.4), sizes(dtypes=dtypes))

    begun = story.until(Why.PRESSURE)

    assert begun.actions == (SetDtype("fp8", 1),)
    assert "dtype fp8 is worth that more" in " ".join(begun.considered)


def test_somebody_who_sets_another_size_meanwhile_wins() -> None:
    story = Story(SketchedPool.of(2, load=2.4))
    story.until(Why.PRESSURE)

    theirs = story.step(workload=Workload("Deployment", "vllm", tier_bytes=5))

    assert theirs.why is Why.USER_CHANGED
    assert theirs.memory.cold is None
    assert theirs.actions == ()


@pytest.mark.parametrize("workload", [None, Workload("Deployment", "vllm")])
def test_a_size_that_nobody_may_change_is_left_alone(workload: Workload | None) -> None:
    story = Story(SketchedPool.of(2, load=2.4))

    for _ in range(40):
        plan = story.step(workload=workload)

    assert story.memory.cold is None
    assert "is not known or may not be changed" in " ".join(plan.considered)


def test_recommend_says_where_it_is_changed_and_how_much_memory_goes_with_it() -> None:
    story = Story(SketchedPool.of(2, load=2.4), sizes(mode="Recommend"))

    plan = story.until(Why.PRESSURE)

    assert plan.verdict is Verdict.RECOMMEND
    assert plan.actions == ()
    (command,) = plan.commands
    assert command.startswith("kubectl -n models edit deployment/vllm")
    assert str(2 * TIER_BYTES) in command
    assert f"+{1.2 * TIER_BYTES:.0f} bytes" in command


def test_a_damaged_size_is_forgotten() -> None:
    story = Story(SketchedPool.of(2, load=2.4))
    text = story.until(Why.PRESSURE).memory.to_json()

    assert memory_of(text).cold is not None
    assert memory_of(text.replace(f'["{TIER_BYTES}"', '["much"')).cold is None
