from typing import Any

import pytest

from alise_cluster.client import ClusterClient
from alise_cluster.errors import ApiError
from alise_cluster.resources import resource_of
from alise_core.crds.names import Kind
from alise_operator.act.parents import remove_parents
from alise_operator.decide.parents import Parent
from fakes.api_server import FakeApiServer
from fakes.custom_objects import an_inference_pool

POOLS = resource_of(Kind.INFERENCE_POOL)
US = Parent("ns", "alise-gateway")
THEIRS = {"controllerName": "example.com/gw", "parentRef": {"kind": "Gateway", "name": "edge"}}
OURS = {
    "controllerName": "alise.dev/gateway",
    "parentRef": {"kind": "Service", "name": "alise-gateway", "namespace": "ns"},
}


def parents(server: FakeApiServer, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.read(POOLS, name)["status"]["parents"]
    return found


async def test_ours_goes_out_of_every_pool_and_others_stay(
    server: FakeApiServer, client: ClusterClient
) -> None:
    for index in range(300):  # more than a page of a listing
        server.put(POOLS, an_inference_pool(f"p{index:03}"))
    for name in ("p000", "p299"):
        server.put(POOLS, {"metadata": {"name": name}, "status": {"parents": [OURS, THEIRS]}})

    assert await remove_parents(client, "ns", US) == 2

    assert parents(server, "p000") == parents(server, "p299") == [THEIRS]
    assert sum(it.verb == "patch" for it in server.asked) == 2
    assert await remove_parents(client, "ns", US) == 0


async def test_without_the_crd_there_is_nothing_to_take_away(
    server: FakeApiServer, client: ClusterClient
) -> None:
    server.store.stop_serving((POOLS.group, POOLS.version, POOLS.plural))

    assert await remove_parents(client, None, US) == 0


async def test_what_cannot_be_written_is_told(server: FakeApiServer, client: ClusterClient) -> None:
    server.put(POOLS, an_inference_pool() | {"status": {"parents": [OURS]}})
    server.forbidden.add(("patch", "inferencepools.inference.networking.k8s.io/status"))

    with pytest.raises(ApiError, match="403"):
        await remove_parents(client, "ns", US)
