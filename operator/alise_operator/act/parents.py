"""Takes our entry out of the status of InferencePools: for when ALISE is uninstalled."""

from collections.abc import AsyncIterator

from alise_cluster.client import ClusterClient
from alise_cluster.errors import NOT_FOUND, ApiError
from alise_cluster.resources import RawObject, metadata, resource_of
from alise_cluster.status import change_status
from alise_core.crds.names import Kind
from alise_operator.decide.parents import Parent, decide_parents
from alise_operator.decide.raw import mapping_at

_POOLS = resource_of(Kind.INFERENCE_POOL)
_PAGE_OBJECTS = "250"


async def remove_parents(client: ClusterClient, namespace: str | None, parent: Parent) -> int:
    """Take our entry out of every pool; everybody else's stay.

    The list is read, changed and written back under the version that was read, until nobody was
    faster.

    Args:
        client: Of the cluster.
        namespace: Where; ``None`` for everywhere.
        parent: Who we are.

    Returns: Pools that had one.

    Raises:
        ClusterError: Not all could be written.
    """

    def without_ours(raw: RawObject) -> RawObject:
        # Nothing that stays is dated, so the time does not matter.
        verdict = decide_parents(raw, parent, 0.0, served=False)
        return {**mapping_at(raw, "status"), **verdict.status}

    removed = 0
    async for pool in _pools(client, namespace):
        try:
            removed += await change_status(client, _POOLS, pool, without_ours)
        except ApiError as error:
            if error.status != NOT_FOUND:  # else it was deleted meanwhile
                raise
    return removed


async def _pools(client: ClusterClient, namespace: str | None) -> AsyncIterator[RawObject]:
    query = {"limit": _PAGE_OBJECTS}
    while True:
        try:
            page = await client.request("GET", _POOLS.path(namespace), query=query)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return  # without the CRD there is nothing to take away
            raise
        items = page.get("items")
        for item in items if isinstance(items, list) else []:
            yield item
        following = metadata(page).get("continue")
        if not following:
            return
        query = {**query, "continue": str(following)}
