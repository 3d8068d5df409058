"""The custom resources by name, each with its last good spec. Pure."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from alise_cluster.cache import Change, ChangeKind
from alise_core.crds.book import ObjectBook
from alise_core.crds.names import Kind
from alise_gateway.domain.cluster_figures import Watched


class _Book(Protocol):
    def put(self, raw_object: object) -> object: ...

    def remove(self, which: object) -> object: ...


class Books:
    """One book for each kind that is read."""

    def __init__(self) -> None:
        self.model_pools = ObjectBook(Kind.MODEL_POOL)
        self.inference_pools = ObjectBook(Kind.INFERENCE_POOL)
        self.policies = ObjectBook(Kind.SCHEDULING_POLICY)
        self.tenants = ObjectBook(Kind.TENANT)
        self._by_kind: Mapping[Watched, _Book] = {
            Watched.MODEL_POOLS: self.model_pools,
            Watched.INFERENCE_POOLS: self.inference_pools,
            Watched.SCHEDULING_POLICIES: self.policies,
            Watched.TENANTS: self.tenants,
        }

    def take(self, watched: Watched, changes: Sequence[Change]) -> None:
        """Note what has changed."""
        book = self._by_kind[watched]
        for change in changes:
            if change.kind is ChangeKind.DELETED:
                book.remove(change.key)
            else:
                book.put(change.object)
