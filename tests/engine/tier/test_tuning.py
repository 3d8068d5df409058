"""Settings of the tier, at the start and while it runs."""

from typing import Any

import pytest

from alise_core.errors import ConfigError
from alise_vllm.settings import read_lengths
from alise_vllm.tier.eviction import Arc, Lru, Policy
from alise_vllm.tier.ewt import Ewt, Waits
from alise_vllm.tier.levels import ChunkShape, Level
from alise_vllm.tier.settings import Bounds, TierSettings, parse_settings
from alise_vllm.tier.tuning import Tier
from alise_vllm.tunable import Tunable
from fakes.tier import SHAPE, visitor

CHUNK = SHAPE.raw_bytes
BOUNDS = Bounds(SHAPE, workers=2, most_bytes=1_000 * CHUNK)


def make_policy(name: str, waits: Waits) -> Policy:
    if name == "ewt":
        return Ewt(waits=waits)
    return Arc() if name == "arc" else Lru()


def tier(**settings: Any) -> Tier:
    return Tier(TierSettings(**{"capacity_bytes": 20 * CHUNK, **settings}), BOUNDS, 16, make_policy)


def put(part: Tier, count: int) -> None:
    keys = [bytes([number]) for number in range(count)]
    assert part.store.put(keys, part.store.visit(), visitor("a")) is not None
    part.store.commit(keys)


def test_the_section_is_read() -> None:
    section = {"capacity_bytes": 10, "level": "int8", "eviction": "ewt"}

    assert parse_settings(section) == TierSettings(10, Level.INT8, "ewt")
    assert parse_settings({"capacity_bytes": 10}) == TierSettings(10, Level.NONE, "lru")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (None, "needs its size"),
        ([], "needs its size"),
        ({"level": "int8"}, "needs its size"),
        ({"capacity_bytes": 1.5}, "'capacity_bytes' '1.5' has to be"),
        ({"capacity_bytes": True}, "'capacity_bytes' 'True' has to be"),
        ({"capacity_bytes": -1}, "'capacity_bytes' '-1' has to be"),
        ({"capacity_bytes": 1, "level": "int2"}, "'level' 'int2' is unknown; it takes none, int8"),
        ({"capacity_bytes": 1, "level": 8}, "'level' '8' is unknown"),
        ({"capacity_bytes": 1, "eviction": "fifo"}, "'eviction' 'fifo' is unknown; it takes lru"),
        ({"capacity_bytes": 1, "levle": "x"}, "'tier' has no 'levle'; it takes capacity_bytes"),
        ({"capacity_bytes": 1, 7: 1}, "'tier' has no '7'"),
    ],
)
def test_what_is_wrong_is_named(section: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(section)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "settings", "said"),
    [
        (SHAPE, TierSettings(CHUNK), "'capacity_bytes' 8192 has to be from 16384"),
        (SHAPE, TierSettings(1_001 * CHUNK), "the machine's memory"),
        (ChunkShape(CHUNK, 0), TierSettings(2 * CHUNK, Level.INT8), "it takes none"),
    ],
)
def test_what_the_engine_or_the_machine_cannot_is_refused(
    shape: ChunkShape, settings: TierSettings, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        Bounds(shape, workers=2, most_bytes=1_000 * CHUNK).check(settings)


def test_state_tells_fill_and_counts_of_all_workers() -> None:
    part: Tunable = tier(level=Level.INT8)
    assert isinstance(part, Tier)
    put(part, 3)

    state = part.state()
    assert part.name == "tier"
    assert state["chunks"] == {"none": 0, "int8": 3, "int4": 0}
    assert state["used_bytes"] == 3 * 33 * CHUNK // 64 * 2
    assert state["stored_tokens"] == 48
    assert state["level"] == "int8"


def test_a_plan_changes_nothing_until_it_is_carried_out() -> None:
    part = tier()
    put(part, 9)
    carry_out = part.plan({"level": "int4", "eviction": "arc", "capacity_bytes": 6 * CHUNK})
    assert part.state()["level"] == "none"

    assert carry_out() == {
        "level": ["none", "int4"],
        "eviction": ["lru", "arc"],
        "capacity_bytes": [20 * CHUNK, 6 * CHUNK],
    }
    while part.store.unsettled:
        part.store.settle(1)
    assert part.state()["chunks"] == {"none": 3, "int8": 0, "int4": 0}
    assert part.state()["level"] == "int4"


def test_plans_that_overlap_change_what_they_name() -> None:
    part = tier()
    first, second = part.plan({"level": "int8"}), part.plan({"eviction": "ewt"})
    first()

    assert second() == {"eviction": ["lru", "ewt"]}
    assert part.settings == TierSettings(20 * CHUNK, Level.INT8, "ewt")


@pytest.mark.parametrize("changes", [{"level": "int3"}, {"capacity_bytes": 1}, {"size": 1}])
def test_a_plan_that_is_wrong_is_refused(changes: dict[str, object]) -> None:
    part = tier()
    with pytest.raises(ConfigError):
        part.plan(changes)

    assert part.settings == TierSettings(20 * CHUNK)


def test_a_load_is_priced_by_the_level() -> None:
    part = tier()
    for _ in range(10):
        part.worth.copies.observe(CHUNK, 1.0)
        part.worth.prefills.observe(16, 1.5)
    assert not part.worth_loading(16)

    part.plan({"level": "int8"})()
    assert part.worth_loading(16)
    assert part.state()["declined_tokens"] == 16


def test_a_section_of_the_tier_is_no_mistake_elsewhere() -> None:
    with pytest.raises(ConfigError, match="replay_file"):
        read_lengths({"alise": {"tier": {}}})
