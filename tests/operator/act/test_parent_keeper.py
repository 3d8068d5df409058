from typing import Any

import pytest

from alise_cluster.client import ClusterClient
from alise_cluster.resources import resource_of
from alise_core.crds.names import Kind
from alise_operator.act.parents import ParentKeeper, TooManyParents
from alise_operator.decide.parents import Parent
from fakes.api_server import FakeApiServer
from fakes.clock import FakeClock
from fakes.custom_objects import an_inference_pool

POOLS = resource_of(Kind.INFERENCE_POOL)
THEIRS = {"controllerName": "example.com/gw", "parentRef": {"kind": "Gateway", "name": "edge"}}


@pytest.fixture
def keeper(client: ClusterClient, clock: FakeClock) -> ParentKeeper:
    return ParentKeeper(client, Parent("ns", "alise-gateway"), clock)


def controllers(server: FakeApiServer, name: str = "chat") -> list[str]:
    parents: list[dict[str, Any]] = server.read(POOLS, name)["status"]["parents"]
    return [parent["controllerName"] for parent in parents]


async def test_our_entry_comes_and_goes_and_others_stay(
    server: FakeApiServer, keeper: ParentKeeper
) -> None:
    seen = server.put(POOLS, an_inference_pool() | {"status": {"parents": [THEIRS]}})

    assert await keeper.keep(seen, served=True)
    assert controllers(server) == ["example.com/gw", "alise.dev/gateway"]
    assert not await keeper.keep(server.read(POOLS, "chat"), served=True)

    assert await keeper.keep(server.read(POOLS, "chat"), served=False)
    assert server.read(POOLS, "chat")["status"]["parents"] == [THEIRS]


async def test_an_entry_that_came_meanwhile_is_not_lost(
    server: FakeApiServer, keeper: ParentKeeper
) -> None:
    seen = server.put(POOLS, an_inference_pool())
    server.put(POOLS, an_inference_pool() | {"status": {"parents": [THEIRS]}})

    assert await keeper.keep(seen, served=True)

    assert controllers(server) == ["example.com/gw", "alise.dev/gateway"]


async def test_a_pool_that_is_not_served_is_not_written(
    server: FakeApiServer, keeper: ParentKeeper
) -> None:
    seen = server.put(POOLS, an_inference_pool())

    assert not await keeper.keep(seen, served=False)
    assert server.asked == []


async def test_a_full_list_is_left_alone(server: FakeApiServer, keeper: ParentKeeper) -> None:
    many = [THEIRS | {"parentRef": {"name": str(index)}} for index in range(32)]
    seen = server.put(POOLS, an_inference_pool() | {"status": {"parents": many}})

    with pytest.raises(TooManyParents, match="32"):
        await keeper.keep(seen, served=True)


async def test_a_pool_that_is_gone(server: FakeApiServer, keeper: ParentKeeper) -> None:
    seen = server.put(POOLS, an_inference_pool())
    server.remove(POOLS, "chat")

    assert not await keeper.keep(seen, served=True)


async def test_cleaning_up_takes_ours_out_of_every_pool(
    server: FakeApiServer, keeper: ParentKeeper
) -> None:
    for index in range(300):  # more than a page of a listing
        server.put(POOLS, an_inference_pool(f"p{index:03}"))
    for name in ("p000", "p299"):
        server.put(POOLS, {"metadata": {"name": name}, "status": {"parents": [THEIRS]}})
        await keeper.keep(server.read(POOLS, name), served=True)

    assert await keeper.remove_all("ns") == 2

    assert controllers(server, "p000") == controllers(server, "p299") == ["example.com/gw"]
    assert await keeper.remove_all("ns") == 0


async def test_without_the_crd_there_is_nothing_to_clean_up(
    server: FakeApiServer, keeper: ParentKeeper
) -> None:
    server.store.stop_serving((POOLS.group, POOLS.version, POOLS.plural))

    assert await keeper.remove_all(None) == 0
