"""A host tier that grows where pods are started from, and memory with it; over the tuner itself."""

import json
from typing import Any

import pytest

from alise_core.crds.conditions import ConditionStatus, ConditionType
from alise_operator.canary.plan import State
from alise_operator.canary.quantities import bytes_of
from alise_operator.canary.record import RECORD_ANNOTATION
from alise_operator.decide.tuning import TuningReport
from fakes.restarted_pool import RestartedPool, tier_of
from fakes.rolling_workload import Json

GIB = 2**30
CONFIG = json.dumps({"alise": {"tier": {"capacity_bytes": GIB}}})
ARGS = ("m", f"--additional-config={CONFIG}")
TIER: dict[str, Any] = {
    "levels": ["none"],
    "evictionPolicies": ["lru"],
    "maxBytes": 2 * GIB,
    "sizing": "Restart",
}
KINDS = ("Deployment", "StatefulSet")


def a_pool(kind: str = "Deployment", replicas: int = 2, **options: Any) -> RestartedPool:
    spec = {"hostTier": TIER, "dtypes": {}, **options.pop("spec", {})}
    return RestartedPool(kind, replicas, args=ARGS, **options, **spec)


def tiers(pool: RestartedPool) -> list[int]:
    return sorted(tier_of(pod) or 0 for pod in pool.world.pods)


def memory(pool: RestartedPool) -> int:
    limits: Json = pool.world.container["resources"]["limits"]
    return bytes_of(limits["memory"])


def grown(report: TuningReport) -> bool:
    return report.status.rung == f"tier_bytes={2 * GIB}"


def settled(pool: RestartedPool) -> bool:
    annotation = pool.world.raw["metadata"]["annotations"].get(RECORD_ANNOTATION)
    return annotation is None or json.loads(annotation)["underway"] is None


def too_large(template: Json) -> bool:
    """No node has room for it: the pod stays Pending."""
    limit = template["spec"]["containers"][0]["resources"]["limits"]["memory"]
    return bytes_of(limit) <= bytes_of("64Gi")


@pytest.mark.parametrize("kind", KINDS)
async def test_one_pod_first_then_all_with_memory_for_it(kind: str) -> None:
    pool = a_pool(kind, 3)
    before = memory(pool)
    await pool.until_step(State.OBSERVING)
    assert tiers(pool) == [GIB, GIB, 2 * GIB]

    await pool.until(grown)
    await pool.look(2)

    assert tiers(pool) == [2 * GIB] * 3
    assert memory(pool) - before == pytest.approx(1.2 * GIB, abs=2**20)
    assert pool.least_ready == 2
    assert settled(pool)
    assert pool.engines.probed > 0


async def test_it_is_given_back_with_its_memory() -> None:
    pool = a_pool()
    before = memory(pool)
    await pool.until(grown)
    pool.engines.load = 0.2

    await pool.until(lambda report: report.status.rung == "base", 600)
    await pool.look(2)

    assert tiers(pool) == [GIB] * 2
    assert memory(pool) == pytest.approx(before, abs=2**21)


async def test_a_pod_that_no_node_has_room_for_goes_back() -> None:
    pool = a_pool(starts=too_large)

    await pool.until_step(State.ROLLING_BACK)
    report = await pool.until(lambda _: settled(pool))
    await pool.look(3)

    assert tiers(pool) == [GIB] * 2
    assert json.dumps(pool.world.spec, sort_keys=True) == pool.before
    degraded = [one for one in report.findings if one.type is ConditionType.DEGRADED]
    assert degraded[0].status is ConditionStatus.TRUE
    assert "did not get ready" in degraded[0].message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("early", [0, 1])
async def test_killed_at_any_write_it_converges(kind: str, early: int) -> None:
    whole = a_pool(kind)
    await whole.until(grown)
    await whole.look(2)
    for place in [at - early for at in whole.server.wrote_at]:
        pool = a_pool(kind)
        await pool.killed_at(place)
        await pool.until(grown)
        await pool.look(2)

        assert settled(pool), place
        assert tiers(pool) == [2 * GIB] * 2, place
        assert memory(pool) == memory(whole), place
        assert pool.least_ready == 1, place


async def test_an_operator_that_may_not_change_workloads_leaves_it_alone() -> None:
    pool = a_pool(allowed=False)

    report = await pool.look(60)

    assert pool.server.writes == []
    assert "is not known or may not be changed" in " ".join(report.status.considered)
