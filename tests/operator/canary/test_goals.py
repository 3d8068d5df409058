import json

import pytest

from alise_operator.canary.goals import dtype_goal, gate_result, tier_goal
from alise_operator.canary.plan import Look, State
from alise_operator.canary.quantities import bytes_of
from alise_operator.canary.seen import Judged
from alise_operator.tuning.plan import SetDtype, SetTierBytes
from fakes.canary_story import Story
from fakes.rolling_workload import FakeWorkload

FP8, AUTO = dtype_goal(SetDtype("fp8")), dtype_goal(SetDtype("auto"))


def test_one_pod_then_all_then_back_as_the_tuner_asks() -> None:
    story = Story(FakeWorkload(), dtype_goal(SetDtype("fp8", 1)))
    passed = story.until(State.PASSED)
    result = gate_result(passed)
    assert result is not None
    assert (result.value, result.passed, result.text) == ("fp8", True, "figures")
    story.goal = FP8
    story.until(State.DONE)
    story.goal = AUTO
    story.until(State.DONE)
    assert story.world.container["args"] == ["m", "--kv-cache-dtype=auto"]


def test_after_a_failure_the_exact_dtype_is_there_already() -> None:
    story = Story(FakeWorkload(), dtype_goal(SetDtype("fp8", 1)))
    story.passes = False
    failed = story.until(State.ROLLING_BACK)
    result = gate_result(failed)
    assert result is not None
    assert not result.passed
    story.goal = AUTO
    story.until(State.ROLLED_BACK)
    story.until(State.DONE, steps=1)
    assert story.world.container["args"] == ["m"]


@pytest.mark.parametrize(
    "args", [("m", "--kv-cache-dtype=fp8_e4m3"), ("m", "--kv_cache_dtype", "fp8")]
)
def test_other_names_of_the_same_are_left_alone(args: tuple[str, ...]) -> None:
    story = Story(FakeWorkload(args=args), FP8)
    assert story.step().state is State.DONE
    assert story.world.container["args"] == list(args)


def test_what_is_known_of_a_canary() -> None:
    about = FP8.name
    assert gate_result(Look(State.OBSERVING, "", about=about)) is None
    back = gate_result(Look(State.ROLLING_BACK, "timed out", degraded=True, about=about))
    assert back is not None
    assert (back.passed, back.text) == (False, "timed out")
    judged = gate_result(Look(State.PASSED, "", judged=Judged("u", True, "good"), about=about))
    assert judged is not None
    assert judged.passed


def test_it_is_about_what_is_under_way_and_not_about_what_is_wanted_now() -> None:
    story = Story(FakeWorkload(), dtype_goal(SetDtype("fp8", 1)))
    story.passes = False
    story.until(State.ROLLING_BACK)
    story.goal = AUTO
    back = gate_result(story.step())
    assert back is not None
    assert (back.value, back.passed) == ("fp8", False)


def test_a_refusal_says_no_and_another_goal_says_nothing() -> None:
    refused = gate_result(Look(State.REFUSED, "it is paused", about=FP8.name))
    assert refused is not None
    assert (refused.value, refused.passed, refused.text) == ("fp8", False, "it is paused")
    assert gate_result(Look(State.REFUSED, "", about="tier=1Gi")) is None


GIB = 2**30
CONFIG = '--additional-config={"alise": {"tier": {"capacity_bytes": %d, "level": "int8"}}}'


def test_a_tier_grows_with_the_memory_around_it_and_gives_both_back() -> None:
    story = Story(
        FakeWorkload(args=("m", CONFIG % (4 * GIB))), tier_goal(SetTierBytes(8 * GIB, 4 * GIB, 1))
    )
    held = bytes_of(story.world.container["resources"]["limits"]["memory"])

    passed = gate_result(story.until(State.PASSED))
    assert passed is not None
    assert (passed.value, passed.passed) == (str(8 * GIB), True)
    story.goal = tier_goal(SetTierBytes(8 * GIB, 4 * GIB))
    story.until(State.DONE)
    container = story.world.container
    assert container["args"] == ["m", CONFIG % (8 * GIB)]
    for part in ("limits", "requests"):
        grown = bytes_of(container["resources"][part]["memory"])
        assert grown == pytest.approx(held + 1.2 * 4 * GIB, abs=2**20)

    story.goal = tier_goal(SetTierBytes(4 * GIB, 8 * GIB))
    story.until(State.DONE)
    assert story.world.container["args"] == ["m", CONFIG % (4 * GIB)]
    after = bytes_of(story.world.container["resources"]["limits"]["memory"])
    assert after == pytest.approx(held, abs=2**21)


def test_a_larger_tier_that_fails_leaves_the_workload_as_it_was() -> None:
    story = Story(FakeWorkload(args=("m", CONFIG % GIB)), tier_goal(SetTierBytes(2 * GIB, GIB, 1)))
    before = json.dumps(story.world.spec, sort_keys=True)
    story.passes = False

    failed = gate_result(story.until(State.ROLLING_BACK))
    assert failed is not None
    assert (failed.value, failed.passed) == (str(2 * GIB), False)
    story.until(State.ROLLED_BACK)

    assert json.dumps(story.world.spec, sort_keys=True) == before


def test_pods_without_the_plugins_tier_are_refused() -> None:
    story = Story(FakeWorkload(), tier_goal(SetTierBytes(2 * GIB, GIB, 1)))

    found = story.step()

    assert found.state is State.REFUSED
    assert "--additional-config is not given" in found.text
