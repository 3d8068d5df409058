import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_operator.tuning.memory import (
    MOST_CHANGES,
    Change,
    ColdChange,
    Direction,
    Hold,
    Phase,
    TunerMemory,
    memory_of,
)
from alise_operator.tuning.settings import Knob, PoolSettings
from alise_operator.tuning.trend import Trend

WHOLE = TunerMemory(
    desired=PoolSettings(20, "ewt", "int8", 1 << 30, "fp8", 3),
    base=PoolSettings(200, "lru", "none", 1 << 20, "auto"),
    changes=(
        Change(5.0, Knob.DTYPE, Direction.UP, "fp8"),
        Change(6.0, Knob.REPLICAS, Direction.UP),
    ),
    calm_since=7.0,
    calm_peak=0.4,
    hot_since=8.0,
    cold=ColdChange("auto", "fp8", Phase.CANARY, 9.0, 1, Direction.UP, "why"),
    holds=(Hold("fp8_e5m2", 10.0, 2),),
    regrets=((Knob.LEVEL, 1),),
    recommended=Change(11.0, Knob.LEVEL, Direction.DOWN, "none"),
    trend=Trend(0.5, 1e-4, 12.0, 1.0),
    outlook=Trend(0.6, 2e-4, 12.0, 1.0),
)


def test_everything_survives_its_json() -> None:
    assert memory_of(WHOLE.to_json()) == WHOLE


@pytest.mark.parametrize("text", ["", "null", "[]", "nonsense", "{", '{"desired": 3}', "1e999"])
def test_what_is_no_memory_is_an_empty_one(text: str) -> None:
    assert memory_of(text) == TunerMemory()


@given(
    st.sampled_from(sorted(json.loads(WHOLE.to_json()))),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda parts: st.lists(parts, max_size=8) | st.dictionaries(st.text(max_size=5), parts),
        max_leaves=10,
    ),
)
def test_a_damaged_part_damages_nothing_else(name: str, damage: object) -> None:
    raw = json.loads(WHOLE.to_json())
    raw[name] = damage

    found = memory_of(json.dumps(raw))

    assert isinstance(memory_of(found.to_json()), TunerMemory)
    if name != "desired":
        assert found.desired == WHOLE.desired


def test_it_stays_small_enough_for_a_status() -> None:
    memory = WHOLE
    for second in range(500):
        memory = memory.with_change(
            Change(1.75e9 + second, Knob.TIER_BYTES, Direction.UP, 1 << 40), 1e9
        )

    assert len(memory.changes) == MOST_CHANGES
    assert len(memory.to_json()) < 16_384


def test_times_in_the_future_become_now() -> None:
    found = WHOLE.caught_up(1.0, 100.0)

    assert {change.at for change in found.changes} == {1.0}
    assert (found.calm_since, found.hot_since) == (1.0, 1.0)
    assert found.cold is not None
    assert found.cold.since == 1.0
    assert found.holds[0].until == 10.0
    assert WHOLE.caught_up(1e6, 100.0) == WHOLE


def test_holds_double_up_to_their_bound() -> None:
    memory = TunerMemory()
    lengths = []
    for _ in range(6):
        memory = memory.with_hold("fp8", 0.0, 3_600.0, 86_400.0)
        lengths.append(memory.holds[0].until)

    assert lengths == [3_600, 7_200, 14_400, 28_800, 57_600, 86_400]
