from collections.abc import Mapping

import pytest

from alise_cluster.errors import ApiError
from alise_cluster.resources import RawObject
from alise_operator.canary.reading import WorkloadReader
from alise_operator.canary.words import Refused
from fakes.restarted_pool import WorkloadServer
from fakes.rolling_workload import LABELS, FakeWorkload


class OldServer(WorkloadServer):
    """Has budgets of ``policy/v1beta1`` only; remembers what was asked."""

    def __init__(self, world: FakeWorkload) -> None:
        super().__init__(world)
        self.paths: list[tuple[str, str]] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: RawObject | None = None,
        content_type: str = "application/json",
    ) -> RawObject:
        self.paths.append((path, (query or {}).get("labelSelector", "")))
        if path.startswith("/apis/policy/v1/"):
            raise ApiError(404, "NotFound", "no such collection")
        return await super().request(method, path, query=query, body=body)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_the_owner_of_all_pods_with_the_labels(kind: str) -> None:
    server = OldServer(FakeWorkload(kind, 2))
    reader = WorkloadReader(server)

    found = await reader.sight("x", LABELS)
    await reader.sight("x", LABELS)

    assert (found.owner.kind, found.owner.name) == (kind, "engines")
    assert len(found.pods) == 2
    assert server.paths[0] == ("/api/v1/namespaces/x/pods", "app=engines")
    # What owns a ReplicaSet does not change.
    sets = [path for path, _ in server.paths if "/replicasets/" in path]
    assert len(sets) == (1 if kind == "Deployment" else 0)


async def test_budgets_of_an_older_cluster() -> None:
    server = OldServer(FakeWorkload(replicas=2))
    server.budgets = [
        {
            "metadata": {"name": name, "generation": 1},
            "spec": {"selector": selector},
            "status": {"observedGeneration": 1, "disruptionsAllowed": 0},
        }
        for name, selector in (("engines", {"matchLabels": LABELS}), ("empty", {}))
    ]
    reader = WorkloadReader(server)

    assert await reader.blocked_by(await reader.sight("x", LABELS), "x") == ("engines",)
    assert server.paths[-1][0] == "/apis/policy/v1beta1/namespaces/x/poddisruptionbudgets"


async def test_what_may_not_be_read_is_named() -> None:
    server = WorkloadServer(FakeWorkload(replicas=2))
    server.forbidden = {"GET"}
    with pytest.raises(Refused, match="may not read pods: cannot get"):
        await WorkloadReader(server).sight("x", LABELS)


async def test_a_workload_that_was_made_anew_is_another_one() -> None:
    world = FakeWorkload(replicas=2)
    world.raw["metadata"]["uid"] = "another"
    with pytest.raises(Refused, match="is another one by now"):
        await WorkloadReader(WorkloadServer(world)).sight("x", LABELS)


async def test_without_labels_nothing_is_read() -> None:
    server = WorkloadServer(FakeWorkload(replicas=2))
    with pytest.raises(Refused, match="selects no pods"):
        await WorkloadReader(server).sight("x", {})
    assert server.asked == 0
