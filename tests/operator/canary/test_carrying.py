from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from alise_cluster.errors import ApiError
from alise_cluster.resources import RawObject
from alise_operator.canary.carrying import STRATEGIC_MERGE_PATCH, Undone, carry_out
from alise_operator.canary.plan import DeletePod, Measure, Patch
from alise_operator.canary.workload import WorkloadKind

BODY = {"metadata": {"resourceVersion": "7"}}


@dataclass
class FakeCluster:
    status: int = 0
    asked: list[tuple[object, ...]] = field(default_factory=list)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: RawObject | None = None,
        content_type: str = "application/json",
    ) -> RawObject:
        if self.status:
            raise ApiError(self.status, "Reason", "the server's words")
        self.asked.append((method, path, query, body, content_type))
        return {}


async def carried(
    cluster: FakeCluster, kind: WorkloadKind = WorkloadKind.DEPLOYMENT
) -> Undone | None:
    effects = (Patch(BODY), DeletePod("p-0", "u"), Measure("p", ()))
    return await carry_out(cluster, kind, "x", "engines", effects)


async def test_a_patch_of_the_version_looked_at_and_a_pod_by_uid() -> None:
    cluster = FakeCluster()
    assert await carried(cluster) is None
    assert cluster.asked == [
        (
            "PATCH",
            "/apis/apps/v1/namespaces/x/deployments/engines",
            {"fieldManager": "alise-operator"},
            BODY,
            STRATEGIC_MERGE_PATCH,
        ),
        (
            "DELETE",
            "/api/v1/namespaces/x/pods/p-0",
            None,
            {"preconditions": {"uid": "u"}},
            "application/json",
        ),
    ]


async def test_a_stateful_set() -> None:
    cluster = FakeCluster()
    await carried(cluster, WorkloadKind.STATEFUL_SET)
    assert cluster.asked[0][1] == "/apis/apps/v1/namespaces/x/statefulsets/engines"


@pytest.mark.parametrize(
    ("status", "says", "lasting"),
    [
        (409, "changed meanwhile", False),
        (404, "changed meanwhile", False),
        (403, "the server's words", True),
    ],
)
async def test_a_world_that_has_changed_is_looked_at_again(
    status: int, says: str, *, lasting: bool
) -> None:
    undone = await carried(FakeCluster(status))
    assert undone is not None
    assert says in undone.text
    assert undone.lasting is lasting


async def test_other_refusals_are_the_callers() -> None:
    with pytest.raises(ApiError):
        await carried(FakeCluster(422))
