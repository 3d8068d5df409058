"""Which policy governs a pool: the one answer of gateway and operator.

Of the policies in the pool's namespace that name the pool, the oldest (then by name); else the
oldest of those that name no pool; else none, and the defaults hold. A policy that never was valid
or that is being deleted is absent.

Source: docs/design/0011-kubernetes.md; Gateway API, GEP-713,
"Conflict resolution" (the oldest wins).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from alise_core.crds.base import TargetRef
from alise_core.crds.book import Stored
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.crds.names import GROUP_OF, Kind
from alise_core.crds.scheduling_policy import SchedulingPolicySpec

P = TypeVar("P", bound=SchedulingPolicySpec | KVCachePolicySpec)


@dataclass(frozen=True, slots=True)
class PoolRef:
    """A pool: ``kind`` is ``MODEL_POOL`` or ``INFERENCE_POOL``."""

    namespace: str
    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class Governed(Generic[P]):
    """What holds for one pool.

    Attributes:
        winner: The policy in force; ``None`` for the defaults.
        losers: The others that are for this pool, in the order in which they would follow.
    """

    winner: Stored[P] | None
    losers: tuple[Stored[P], ...] = ()


def governing(pool: PoolRef, policies: Iterable[Stored[P]]) -> Governed[P]:
    """The policy in force at a pool, and those that are for it in vain.

    Args:
        pool: The pool.
        policies: All of one kind; those of other namespaces are passed over.
    """
    found = sorted((item for item in policies if _counts(pool, item)), key=_rank)
    return Governed(found[0], tuple(found[1:])) if found else Governed(None)


def names_pool(target_refs: Iterable[TargetRef], pool: PoolRef) -> bool:
    """Whether one of the references, all of the pool's namespace, is this pool."""
    return any(
        ref.kind is pool.kind and ref.group == GROUP_OF[ref.kind] and ref.name == pool.name
        for ref in target_refs
    )


def _counts(pool: PoolRef, item: Stored[P]) -> bool:
    if item.spec is None or item.deleted or item.namespace != pool.namespace:
        return False
    return not item.spec.target_refs or names_pool(item.spec.target_refs, pool)


def _rank(item: Stored[P]) -> tuple[bool, bool, str, str]:
    targeted = item.spec is not None and bool(item.spec.target_refs)
    # One without a timestamp cannot claim to be the older one.
    return not targeted, not item.created, item.created, item.name
