"""Keeps our entry in the ``status.parents`` of InferencePools, and takes it away.

The list belongs to every gateway that serves the pool: it is read, changed and written back under
the version that was read, again and again until nobody was faster.
"""

from collections.abc import AsyncIterator

from alise_cluster.client import ClusterClient
from alise_cluster.errors import NOT_FOUND, ApiError
from alise_cluster.resources import RawObject, metadata, resource_of
from alise_cluster.status import change_status
from alise_core.clock import Clock
from alise_core.crds.names import Kind
from alise_core.errors import AliseError
from alise_operator.decide.parents import MOST_PARENTS, Parent, parents_with, standing_parents
from alise_operator.decide.raw import mapping_at

_POOLS = resource_of(Kind.INFERENCE_POOL)
_PAGE_OBJECTS = "250"


class TooManyParents(AliseError):
    """The list is full of other gateways' entries."""


class ParentKeeper:
    """Writes our entry.

    Args:
        client: Of the cluster.
        parent: Who we are.
        clock: Dates conditions.
    """

    def __init__(self, client: ClusterClient, parent: Parent, clock: Clock) -> None:
        self._client = client
        self._parent = parent
        self._clock = clock

    async def keep(self, seen: RawObject, *, served: bool) -> bool:
        """Have our entry there while the pool is served, and not otherwise.

        Args:
            seen: The InferencePool as it was seen last.
            served: Whether gateways send requests to it.

        Returns: Whether something was written.

        Raises:
            ClusterError: It could not be written.
            TooManyParents: There is no room for our entry.
        """

        def wanted(raw: RawObject) -> RawObject | None:
            parents = parents_with(raw, self._parent, self._clock.unix(), served=served)
            if parents == standing_parents(raw):
                return None
            if len(parents) > MOST_PARENTS:
                raise TooManyParents(
                    f"status.parents has {MOST_PARENTS} entries of others: there is no room for "
                    "ours; gateways that are gone should take theirs away"
                )
            return {**mapping_at(raw, "status"), "parents": parents}

        try:
            return await change_status(self._client, _POOLS, seen, wanted)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return False  # deleted since it was seen
            raise

    async def remove_all(self, namespace: str | None) -> int:
        """Take our entry out of every pool.

        Args:
            namespace: Where; ``None`` for everywhere.

        Returns: Pools that had one.

        Raises:
            ClusterError: Not all could be written.
        """
        removed = 0
        async for pool in self._pools(namespace):
            removed += await self.keep(pool, served=False)
        return removed

    async def _pools(self, namespace: str | None) -> AsyncIterator[RawObject]:
        query = {"limit": _PAGE_OBJECTS}
        while True:
            try:
                page = await self._client.request("GET", _POOLS.path(namespace), query=query)
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
