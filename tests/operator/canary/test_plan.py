import json
from collections.abc import Callable

import pytest

from alise_operator.canary.arguments import Argument
from alise_operator.canary.plan import State
from alise_operator.canary.record import RECORD_ANNOTATION
from alise_operator.canary.seen import Goal
from alise_operator.canary.workload import Setting, TierSize
from fakes.canary_story import FP8, Story, image, more_arguments, never_with_fp8
from fakes.rolling_workload import FakeWorkload, Json

KINDS = pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])


@KINDS
def test_one_pod_first_then_one_by_one(kind: str) -> None:
    story = Story(FakeWorkload(kind, 4))
    story.until(State.OBSERVING)
    assert story.changed == 1
    story.until(State.PASSED)
    changes = [story.changed]
    while story.step().state is not State.DONE:
        if story.changed != changes[-1]:
            changes.append(story.changed)
    assert changes == [1, 2, 3, 4]
    assert story.record == {"underway": None, "holds": []}
    story.world.container["args"].remove("--kv-cache-dtype=fp8")
    assert json.dumps(story.world.spec, sort_keys=True) == story.before


@KINDS
def test_exactly_one_pod_for_as_long_as_it_is_not_judged(kind: str) -> None:
    story = Story(FakeWorkload(kind, 4))
    story.until(State.OBSERVING)
    for _ in range(50):
        story.world.tick()
        assert story.changed == 1


@KINDS
def test_a_failed_gate_takes_it_back_and_holds(kind: str) -> None:
    story = Story(FakeWorkload(kind))
    story.passes = False
    failed = story.until(State.ROLLING_BACK)
    assert failed.degraded
    assert failed.judged is not None
    assert "figures" in failed.text
    story.until(State.ROLLED_BACK)
    assert story.changed == 0
    assert json.dumps(story.world.spec, sort_keys=True) == story.before
    held = story.step()
    assert held.state is State.HELD
    assert "the canary failed: figures" in held.text
    first = story.record["holds"][0]["until"] - story.now
    story.now += first
    story.until(State.ROLLED_BACK)
    assert story.record["holds"][0]["failures"] == 2
    assert story.record["holds"][0]["until"] - story.now > 1.9 * first


@KINDS
def test_a_pod_that_never_gets_ready_is_given_up(kind: str) -> None:
    story = Story(FakeWorkload(kind, starts=never_with_fp8))
    back = story.until(State.ROLLING_BACK)
    assert "did not get ready within" in back.text
    story.until(State.ROLLED_BACK)
    assert story.changed == 0
    assert story.world.ready == 3


@KINDS
def test_a_pod_that_crashes_again_and_again_is_given_up_sooner(kind: str) -> None:
    story = Story(FakeWorkload(kind, starts=never_with_fp8))
    story.step()
    story.settle()
    for pod in story.world.pods:
        pod.restarts = 3
    assert "ended 3 times" in story.until(State.ROLLING_BACK, steps=3).text


@KINDS
def test_the_gate_never_answers(kind: str) -> None:
    story = Story(FakeWorkload(kind))
    story.measure = lambda effect: None  # type: ignore[method-assign]
    assert "was not judged" in story.until(State.ROLLING_BACK).text
    story.until(State.ROLLED_BACK)


@KINDS
def test_one_pod_is_asked_for_first_and_the_rest_later(kind: str) -> None:
    one = Goal(FP8.name, FP8.settings, most_pods=1)
    story = Story(FakeWorkload(kind), one)
    story.until(State.PASSED)
    for _ in range(5):
        again = story.step()
        assert again.state is State.PASSED
        assert again.judged is not None
        assert again.judged.passed
    assert story.changed == 1
    story.goal = FP8
    story.until(State.DONE)


@KINDS
def test_what_is_not_wanted_any_more_goes_back_without_a_hold(kind: str) -> None:
    story = Story(FakeWorkload(kind))
    story.until(State.OBSERVING)
    story.goal = None
    story.until(State.ROLLED_BACK)
    assert story.record["holds"] == []
    assert story.step().state is State.IDLE
    assert json.dumps(story.world.spec, sort_keys=True) == story.before


@KINDS
def test_back_to_exact_needs_no_canary(kind: str) -> None:
    world = FakeWorkload(kind, args=("m", "--kv-cache-dtype=fp8"))
    auto = Goal("auto", (Setting(Argument("--kv-cache-dtype"), "auto"),), canary=False)
    story = Story(world, auto)
    story.until(State.DONE)
    assert story.changed == 0
    assert world.container["args"] == ["m", "--kv-cache-dtype=auto"]


def strategy(raw: Json) -> None:
    raw["spec"]["template"]["metadata"]["annotations"] = {"restartedAt": "now"}
    raw["spec"].update(minReadySeconds=7)


@KINDS
@pytest.mark.parametrize("edit", [image, more_arguments, strategy])
@pytest.mark.parametrize("when", [State.OBSERVING, State.PASSED, State.ROLLING])
def test_somebody_else_wins(kind: str, edit: Callable[[Json], None], when: State) -> None:
    story = Story(FakeWorkload(kind))
    story.until(when)
    story.world.edit(edit)
    given_up = story.step()
    assert given_up.state is State.ABANDONED
    assert "somebody" in given_up.text
    story.settle()
    expected = json.loads(story.before)
    edit({"spec": expected})
    assert story.world.spec == expected
    assert story.changed == 0
    assert story.world.ready == 3
    assert story.step().state is State.HELD


def test_a_budget_that_is_used_up_is_waited_for_and_said() -> None:
    story = Story(FakeWorkload())
    story.blocked = ("engines",)
    assert "PodDisruptionBudget engines" in story.until(State.WAITING).text
    story.blocked = ()
    story.until(State.PASSED)
    story.blocked = ("engines",)
    for _ in range(400):
        waiting = story.step()
    assert waiting.state is State.ROLLING
    assert "PodDisruptionBudget engines" in waiting.text
    assert story.changed == 1
    story.blocked = ()
    story.until(State.DONE)


@KINDS
def test_time_that_it_stood_still_does_not_count(kind: str) -> None:
    story = Story(FakeWorkload(kind))
    story.until(State.OBSERVING)
    story.measured = None
    story.paused = True
    story.until(State.PAUSED)
    story.now += 100_000
    assert story.step().state is State.PAUSED
    story.paused = False
    story.until(State.DONE)


@KINDS
def test_a_clock_that_goes_back_delays_and_no_more(kind: str) -> None:
    story = Story(FakeWorkload(kind, starts=never_with_fp8))
    story.step()
    story.now -= 1_000_000
    story.until(State.ROLLED_BACK)


@KINDS
def test_an_autoscaler_adds_pods_meanwhile(kind: str) -> None:
    story = Story(FakeWorkload(kind))
    story.until(State.OBSERVING)
    story.measured = None
    story.world.edit(lambda raw: raw["spec"].update(replicas=5))
    story.settle()
    story.until(State.DONE)
    assert story.changed == 5


def test_the_tier_brings_its_memory_along() -> None:
    world = FakeWorkload(args=("m", "--kv-offloading-size=4"))
    tier = TierSize(4 * 2**30, 10 * 2**30, in_shm=True)
    setting = Setting(Argument("--kv-offloading-size"), "10")
    story = Story(world, Goal("tier", (setting,), tier))
    story.until(State.DONE)
    assert world.container["resources"]["limits"]["memory"] == "72909Mi"
    assert world.container["resources"]["requests"]["memory"] == "72909Mi"
    assert world.spec["template"]["spec"]["volumes"][0]["emptyDir"] == {
        "medium": "Memory",
        "sizeLimit": "12Gi",
    }


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda raw: raw["spec"].update(replicas=1), "it has 1 pods"),
        (lambda raw: raw["spec"].update(strategy={"type": "Recreate"}), "strategy is Recreate"),
        (lambda raw: raw["spec"].update(paused=True), "paused"),
        (
            lambda raw: raw["metadata"]["annotations"].update(
                {"argocd.argoproj.io/tracking-id": "x"}
            ),
            "where it comes from",
        ),
        (
            lambda raw: raw["metadata"].update(
                managedFields=[{
                    "manager": "flux", "operation": "Apply",
                    "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {
                        'k:{"name":"vllm"}': {"f:args": {}}}}}}},
                }]
            ),
            "flux applies its args",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(edit: Callable[[Json], None], says: str) -> None:
    story = Story(FakeWorkload())
    story.world.edit(edit)
    refused = story.look()
    assert refused.state is State.REFUSED
    assert says in refused.text
    assert refused.effects == ()


def test_a_broken_record_is_none() -> None:
    story = Story(FakeWorkload())
    for text in ("{", "[]", '{"underway": {}, "holds": []}', '{"underway": null, "holds": [1]}'):
        story.world.raw["metadata"]["annotations"][RECORD_ANNOTATION] = text
        assert story.look().state is State.CANARY_STARTING


@KINDS
def test_brakes_whose_record_is_gone_are_told(kind: str) -> None:
    story = Story(FakeWorkload(kind))
    story.until(State.OBSERVING)
    story.world.raw["metadata"]["annotations"].clear()
    refused = story.step()
    assert refused.state is State.REFUSED
    assert "set" in refused.text
