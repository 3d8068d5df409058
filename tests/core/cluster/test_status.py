"""A status is written only where it differs, and never over what others wrote meanwhile."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_cluster.client import ClusterClient
from alise_cluster.errors import ApiError
from alise_cluster.resources import RawObject, resource_of
from alise_cluster.status import change_status, merge_patch
from alise_core.crds.names import Kind
from fakes.api_server import FakeApiServer
from fakes.api_server_store import merged

POOLS = resource_of(Kind.INFERENCE_POOL)


def with_parent(name: str) -> RawObject:
    return {"parentRef": {"name": name}}


def adding(parent: str) -> Callable[[RawObject], RawObject | None]:
    def wanted(raw: RawObject) -> RawObject | None:
        parents = raw.get("status", {}).get("parents", [])
        if with_parent(parent) in parents:
            return None
        return {"parents": [*parents, with_parent(parent)]}

    return wanted


async def test_only_the_status_is_written_and_only_once(
    server: FakeApiServer, client: ClusterClient
) -> None:
    made = server.put(POOLS, {"metadata": {"name": "p"}, "spec": {"x": 1}})

    assert await change_status(client, POOLS, made, adding("ours"))
    now = server.read(POOLS, "p")
    assert not await change_status(client, POOLS, now, adding("ours"))

    assert now["status"] == {"parents": [with_parent("ours")]}
    assert (now["spec"], now["metadata"]["generation"]) == ({"x": 1}, 1)
    assert [(it.verb, it.resource) for it in server.asked] == [
        ("patch", "inferencepools.inference.networking.k8s.io/status")
    ]


async def test_what_others_wrote_meanwhile_stays(
    server: FakeApiServer, client: ClusterClient
) -> None:
    seen = server.put(POOLS, {"metadata": {"name": "p"}})
    server.put(POOLS, {"metadata": {"name": "p"}, "status": {"parents": [with_parent("theirs")]}})

    assert await change_status(client, POOLS, seen, adding("ours"))

    assert server.read(POOLS, "p")["status"]["parents"] == [
        with_parent("theirs"),
        with_parent("ours"),
    ]


async def test_an_object_made_anew_is_another_one(
    server: FakeApiServer, client: ClusterClient
) -> None:
    seen = server.put(POOLS, {"metadata": {"name": "p"}})
    server.remove(POOLS, "p")
    with pytest.raises(ApiError, match="404"):
        await change_status(client, POOLS, seen, adding("ours"))


async def test_others_that_are_always_faster_are_an_error(
    server: FakeApiServer, client: ClusterClient
) -> None:
    server.put(POOLS, {"metadata": {"name": "p"}})
    turns: list[int] = []

    def wanted(raw: RawObject) -> RawObject:
        turns.append(1)
        server.put(POOLS, {"metadata": {"name": "p"}, "status": {"turn": len(turns)}})
        return {"parents": [with_parent("ours")]}

    with pytest.raises(ApiError, match="409"):
        await change_status(client, POOLS, server.read(POOLS, "p"), wanted)
    assert len(turns) == 5


VALUES = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


@given(before=OBJECTS, after=OBJECTS)
def test_a_patch_leads_where_it_should(before: RawObject, after: RawObject) -> None:
    patch = merge_patch(before, after)

    assert merged(before, patch) == after
    assert (patch == {}) == (before == after)
