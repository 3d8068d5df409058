from dataclasses import replace

import pytest

from alise_core.crds.kv_cache_policy import KVCachePolicySpec, Platform
from alise_operator.tuning.ladder import Facts, loosened_cap, steps_down, steps_up
from alise_operator.tuning.memory import Hold, TunerMemory
from alise_operator.tuning.platforms import ALLOWED, EXACT, capacity_factor, refusal, same_dtype
from alise_operator.tuning.pressure import PoolPressure
from alise_operator.tuning.settings import Knob, PoolSettings
from alise_operator.tuning.trend import (
    FILLING_SECONDS,
    RESTART_SECONDS,
    SLOPE_SECONDS,
    Trend,
    first,
    restart_lead,
)

SPEC = KVCachePolicySpec.model_validate(
    {
        "activeRequests": {"min": 8},
        "hostTier": {
            "levels": ["none", "int8", "int4"],
            "evictionPolicies": ["lru", "arc", "ewt"],
            "maxBytes": 300,
        },
        "dtypes": {"platform": "cuda-hopper", "ladder": ["auto", "bfloat16", "fp8"]},
    }
)
PRESSURE = PoolPressure(
    value=1.2,
    high=1.2,
    need=1.2,
    coming=1.2,
    usage=0.95,
    running=50.0,
    peak=1.0,
    preempting=True,
    hot=(),
    text="",
)
FACTS = Facts(2, 100, True, 1.0, True, True, ("auto",), PRESSURE)
SETTINGS = PoolSettings(100, "lru", "none", 100, "auto")


def memory(**values: object) -> TunerMemory:
    desired = replace(SETTINGS, **values)  # type: ignore[arg-type]
    return TunerMemory(desired=desired, base=SETTINGS)


def up(knob: Knob, facts: Facts = FACTS, remembered: TunerMemory | None = None) -> object:
    steps = steps_up(SPEC, remembered or memory(), facts, 0.0)
    step = next(one for one in steps if one.knob is knob)
    return step.skip or step.after


def test_the_ladder_goes_from_cheap_to_dear_and_back() -> None:
    moved = TunerMemory(PoolSettings(20, "ewt", "int4", 200, "fp8", 3), SETTINGS)

    assert [one.knob for one in steps_up(SPEC, memory(), FACTS, 0.0)] == list(Knob)
    packed = replace(FACTS, dtypes=("fp8",))
    assert [one.knob for one in steps_down(SPEC, moved, packed)] == list(reversed(Knob))
    assert steps_down(SPEC, memory(), FACTS) == ()


def test_each_step_up() -> None:
    assert up(Knob.ACTIVE_REQUESTS) == int(50 * 0.9 / 0.95)
    assert up(Knob.EVICTION) == "ewt"
    assert up(Knob.LEVEL) == "int8"
    assert up(Knob.TIER_BYTES) == 200
    assert up(Knob.TIER_BYTES, remembered=memory(tier_bytes=200)) == 300
    assert up(Knob.DTYPE) == "fp8"
    assert up(Knob.REPLICAS) == 3


@pytest.mark.parametrize(
    ("knob", "facts", "said"),
    [
        (Knob.ACTIVE_REQUESTS, {"slots": None}, "plugin's scheduler"),
        (Knob.ACTIVE_REQUESTS, {"pressure": replace(PRESSURE, preempting=False)}, "preempted"),
        (Knob.EVICTION, {"tier": False}, "host tier"),
        (Knob.LEVEL, {"used": 0.2, "pushing_out": False}, "fill is 20%"),
        (Knob.TIER_BYTES, {"missed": False}, "not asked for again"),
        (Knob.DTYPE, {"dtypes": ("auto", "fp8")}, "different dtypes"),
    ],
)
def test_what_would_not_help_is_passed_over_with_the_reason(
    knob: Knob, facts: dict[str, object], said: str
) -> None:
    assert said in str(up(knob, replace(FACTS, **facts)))  # type: ignore[arg-type]


def test_values_that_the_policy_does_not_list_are_left_alone() -> None:
    assert "does not list" in str(up(Knob.EVICTION, remembered=memory(eviction="vllm:lru")))
    assert "does not list" in str(up(Knob.DTYPE, remembered=memory(dtype="nvfp4")))


def test_a_dtype_on_hold_is_not_tried() -> None:
    held = replace(memory(), holds=(Hold("fp8", 100.0, 2),))

    assert "failed 2 times, not again for 100 s" in str(up(Knob.DTYPE, remembered=held))


def test_a_cap_that_is_not_in_effect_yet_is_not_lowered_again() -> None:
    assert "not in effect yet" in str(
        up(Knob.ACTIVE_REQUESTS, remembered=memory(active_requests=40))
    )


def test_a_cap_that_leaves_memory_unused_is_loosened() -> None:
    pressure = replace(PRESSURE, preempting=False, peak=0.5)
    facts = replace(FACTS, pressure=pressure)

    step = loosened_cap(SPEC, memory(active_requests=40).desired, facts)
    assert step is not None
    assert step.after == 72
    assert loosened_cap(SPEC, memory(active_requests=40).desired, FACTS) is None
    assert loosened_cap(SPEC, SETTINGS, facts) is None


def test_giving_exact_kv_back_halves_the_room() -> None:
    packed = replace(FACTS, dtypes=("fp8",))

    (step,) = steps_down(SPEC, memory(dtype="fp8"), packed)

    assert (step.after, step.factor) == ("auto", 0.5)


@pytest.mark.parametrize("platform", Platform)
def test_every_platform_has_its_exact_dtypes_and_no_unknown_ones(platform: Platform) -> None:
    assert set(EXACT) <= set(ALLOWED[platform])
    assert refusal("auto", platform) is None
    assert "not known to work" in str(refusal("int4_per_token_head", platform))


def test_without_a_platform_only_exact_dtypes_are_used() -> None:
    assert refusal("bfloat16", None) is None
    assert "dtypes.platform is not set" in str(refusal("fp8", None))


def test_names_of_one_dtype() -> None:
    assert same_dtype("fp8", "fp8_e4m3")
    assert not same_dtype("fp8", "fp8_e5m2")
    assert capacity_factor("fp8") == 2
    assert capacity_factor(None) == capacity_factor("what is that") == 1


def test_a_trend_follows_a_morning_and_not_a_burst() -> None:
    burst = morning = first(0.3, 0.0)
    for minute in range(1, 121):
        burst = burst.seen(1.0 if minute == 110 else 0.3, minute * 60.0)
        morning = morning.seen(0.3 + 0.3 * minute / 120, minute * 60.0)

    lead = restart_lead(4, 300)
    assert lead == 300 + 4 * RESTART_SECONDS
    assert morning.after(lead) == pytest.approx(0.3 + 0.3 * (7_200 + lead) / 7_200, rel=0.1)
    assert burst.after(lead) < 0.45
    assert Trend(0.5, -1.0, 9e9, 0.0).after(60) == 0.5


def test_a_trend_that_was_not_seen_for_long_says_nothing() -> None:
    assert Trend(0.9, 0.1, 0.0, 0.0).seen(0.2, 4_000.0) == first(0.2, 4_000.0)
    assert Trend(0.9, 0.1, 5.0, 0.0).seen(0.2, 5.0) == Trend(0.9, 0.1, 5.0, 0.0)


def test_a_pool_that_has_just_been_filled_has_no_trend() -> None:
    filling = first(0.0, 0.0)
    for minute in range(1, 241):
        filling = filling.seen(min(minute / 20, 0.5), minute * 60.0)
        assert filling.after(3_600) < 0.6, "a fifth above what it came to, at most"


def test_a_trend_is_followed_once_it_was_watched_for_its_own_time() -> None:
    young = Trend(0.5, 1e-4, FILLING_SECONDS, 0.0)

    assert young.after(3_600) == young.level
    assert replace(young, at=FILLING_SECONDS + SLOPE_SECONDS).after(3_600) > young.level
