import pytest

from alise_core.crds.kv_cache_policy import (
    DtypeSpec,
    HostTierSpec,
    KVCachePolicySpec,
    Platform,
    TierSizing,
    TuningMode,
)
from alise_operator.canary.described import held_text, obstacle, workload_of
from alise_operator.canary.record import Held, Record
from fakes.canary_story import NOW
from fakes.rolling_workload import FakeWorkload, Json

LADDER = DtypeSpec(platform=Platform.CPU, ladder=("auto", "fp8"))
AUTO = KVCachePolicySpec(mode=TuningMode.AUTO, dtypes=LADDER)


@pytest.mark.parametrize(
    ("args", "place", "dtype", "listed"),
    [
        (("m",), None, "auto", True),
        (("m", "--kv-cache-dtype=fp8"), 1, "fp8", True),
        (("m", "--kv-cache-dtype", "fp8"), None, "fp8", False),
        (("m", "--kv-cache-dtype=$(DTYPE)"), 1, None, False),
    ],
)
def test_what_a_person_would_change(
    args: tuple[str, ...], place: int | None, dtype: str | None, *, listed: bool
) -> None:
    found = workload_of(FakeWorkload(args=args).raw)

    assert found is not None
    assert (found.kind, found.name, found.container) == ("Deployment", "engines", 0)
    assert (found.dtype_argument, found.dtype, found.listed) == (place, dtype, listed)


def test_a_script_is_changed_by_hand() -> None:
    world = FakeWorkload()
    world.container["command"] = ["sh", "-c", "exec vllm serve m --kv-cache-dtype fp8"]
    world.container["args"] = None
    found = workload_of(world.raw)

    assert found is not None
    assert (found.dtype, found.listed) == ("fp8", False)


def flux(raw: Json) -> None:
    raw["metadata"]["labels"] = {"kustomize.toolkit.fluxcd.io/name": "apps"}


def recreate(raw: Json) -> None:
    raw["spec"]["strategy"] = {"type": "Recreate"}


def another_container(raw: Json) -> None:
    raw["spec"]["template"]["spec"]["containers"] = [{"name": "a"}, {"name": "b"}]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (flux, "kustomize.toolkit.fluxcd.io/name"),
        (recreate, "its update strategy is Recreate"),
        (another_container, "which of the containers a, b runs vLLM"),
    ],
)
def test_what_stands_in_the_way_of_any_dtype(edit: object, says: str) -> None:
    world = FakeWorkload()
    assert callable(edit)
    assert obstacle(AUTO, world.seen(), NOW) == ""
    world.edit(edit)

    assert says in obstacle(AUTO, world.seen(), NOW)
    assert obstacle(KVCachePolicySpec(dtypes=LADDER), world.seen(), NOW) == ""


def test_nothing_is_in_the_way_of_what_is_not_asked_for() -> None:
    world = FakeWorkload()
    world.edit(flux)
    assert obstacle(KVCachePolicySpec(mode=TuningMode.AUTO), world.seen(), NOW) == ""


def test_what_is_held_says_until_when_and_why() -> None:
    holds = (Held("a", NOW + 60, 2, "it failed"), Held("b", NOW - 1, 1, "over"))
    text = held_text(Record(holds=holds), NOW)

    assert text == "a failed 2 times, not again before 2025-06-15T15:07:40Z: it failed"


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ('{"alise": {"tier": {"capacity_bytes": 1024}}}', 1024),
        ('{"alise": {"tier": {"capacity_bytes": "much"}}}', None),
        ('{"alise": {"tier": {"capacity_bytes": 1, "capacity_bytes": 2}}}', None),
        ('{"alise": {}}', None),
        ("$(CONFIG)", None),
    ],
)
def test_the_size_of_the_tier_that_pods_start_with(config: str, size: int | None) -> None:
    found = workload_of(FakeWorkload(args=("m", "--additional-config", config)).raw)

    assert found is not None
    assert found.tier_bytes == size


def test_what_is_in_the_way_of_a_larger_tier_is_said_where_no_dtype_may_change() -> None:
    tier = HostTierSpec(sizing=TierSizing.RESTART, max_bytes=4096)
    spec = KVCachePolicySpec(mode=TuningMode.AUTO, host_tier=tier)
    config = '--additional-config={"alise": {"tier": {"capacity_bytes": 1024}}}'
    world = FakeWorkload(args=("m", config))
    assert obstacle(spec, world.seen(), NOW) == ""

    recreate(world.raw)
    assert "its update strategy is Recreate" in obstacle(spec, world.seen(), NOW)
    assert obstacle(KVCachePolicySpec(mode=TuningMode.AUTO), world.seen(), NOW) == ""
