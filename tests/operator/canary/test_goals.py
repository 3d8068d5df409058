import pytest

from alise_operator.canary.goals import dtype_goal, gate_result
from alise_operator.canary.plan import Look, State
from alise_operator.canary.seen import Judged
from alise_operator.tuning.plan import SetDtype
from fakes.canary_story import Story
from fakes.rolling_workload import FakeWorkload

FP8, AUTO = dtype_goal(SetDtype("fp8")), dtype_goal(SetDtype("auto"))


def test_one_pod_then_all_then_back_as_the_tuner_asks() -> None:
    story = Story(FakeWorkload(), dtype_goal(SetDtype("fp8", 1)))
    passed = story.until(State.PASSED)
    result = gate_result(passed)
    assert result is not None
    assert (result.dtype, result.passed, result.text) == ("fp8", True, "figures")
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
    assert (back.dtype, back.passed) == ("fp8", False)


def test_a_refusal_says_no_and_another_goal_says_nothing() -> None:
    refused = gate_result(Look(State.REFUSED, "it is paused", about=FP8.name))
    assert refused is not None
    assert (refused.dtype, refused.passed, refused.text) == ("fp8", False, "it is paused")
    assert gate_result(Look(State.REFUSED, "", about="tier=1Gi")) is None
