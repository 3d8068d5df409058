"""Everything that statuses are decided from, by namespace, and what a change touches. Pure.

In: differences of the watched collections. Out: which objects' statuses may be wrong now. More keys
than necessary cost a look each; a key too few would leave a status stale until the next resync.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from alise_cluster.cache import Change, ChangeKind
from alise_cluster.resources import RawObject
from alise_core.crds import book
from alise_core.crds.book import ObjectBook, Stored
from alise_core.crds.inference_pool import InferencePoolSpec
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.crds.model_pool import ModelPoolSpec
from alise_core.crds.names import Kind
from alise_core.crds.scheduling_policy import SchedulingPolicySpec
from alise_core.crds.tenant import TenantSpec
from alise_operator.decide.pods import Pod, parse_pod
from alise_operator.decide.pools import selection_of
from alise_operator.decide.scope import Scope, WorkKey

AnyStored = Stored[Any]


@dataclass(frozen=True, slots=True)
class Serving:
    """What gateways are told about InferencePools; see ``Scope``."""

    inference_pools: bool = True
    picked: bool = False


@dataclass(slots=True)
class _Namespace:
    model_pools: dict[str, Stored[ModelPoolSpec]] = field(default_factory=dict)
    inference_pools: dict[str, Stored[InferencePoolSpec]] = field(default_factory=dict)
    scheduling: dict[str, Stored[SchedulingPolicySpec]] = field(default_factory=dict)
    kv_cache: dict[str, Stored[KVCachePolicySpec]] = field(default_factory=dict)
    tenants: dict[str, Stored[TenantSpec]] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)

    def of(self, kind: Kind) -> dict[str, AnyStored]:
        """The objects of one kind, by name."""
        every: dict[Kind, Any] = {
            Kind.MODEL_POOL: self.model_pools,
            Kind.INFERENCE_POOL: self.inference_pools,
            Kind.SCHEDULING_POLICY: self.scheduling,
            Kind.KV_CACHE_POLICY: self.kv_cache,
            Kind.TENANT: self.tenants,
        }
        return cast("dict[str, AnyStored]", every[kind])


class Catalogue:
    """The operator's copy of the cluster.

    Args:
        serving: What gateways are told about InferencePools.
    """

    def __init__(self, serving: Serving = Serving()) -> None:
        self.serving = serving
        self._books: dict[Kind, ObjectBook[Any]] = {kind: ObjectBook(kind) for kind in Kind}
        self._raw: dict[WorkKey, RawObject] = {}
        self._namespaces: dict[str, _Namespace] = {}

    def apply(self, kind: Kind, changes: Sequence[Change]) -> set[WorkKey]:
        """Take over differences of one kind.

        Returns: The objects whose status may be wrong now.
        """
        touched: set[WorkKey] = set()
        for change in changes:
            touched |= self._apply(kind, change)
        return touched

    def apply_pods(self, changes: Sequence[Change]) -> set[WorkKey]:
        """Take over differences of pods; those that do not matter touch nothing."""
        touched: set[WorkKey] = set()
        for change in changes:
            pods = self._namespace(change.key.namespace).pods
            before = pods.pop(change.key.name, None)
            after = None if change.kind is ChangeKind.DELETED else parse_pod(change.object)
            if after is not None:
                pods[after.name] = after
            if before != after:
                concerned = [pod for pod in (before, after) if pod is not None]
                touched.update(self._pools_selecting(change.key.namespace, concerned))
        return touched

    def find(self, key: WorkKey) -> AnyStored | None:
        """An object; ``None`` where it is gone."""
        space = self._namespaces.get(key.namespace)
        return None if space is None else space.of(key.kind).get(key.name)

    def raw(self, key: WorkKey) -> RawObject:
        """An object that there is, as the API server sent it."""
        return self._raw[key]

    def scope(self, namespace: str) -> Scope:
        """A view of one namespace as it is now; to be used before anything else changes."""
        space = self._namespace(namespace)
        return Scope(
            namespace=namespace,
            model_pools=space.model_pools,
            inference_pools=space.inference_pools,
            scheduling=tuple(space.scheduling.values()),
            kv_cache=tuple(space.kv_cache.values()),
            pods=space.pods.values(),
            serve_inference_pools=self.serving.inference_pools,
            serve_picked=self.serving.picked,
        )

    def pods(self, namespace: str) -> tuple[Pod, ...]:
        """Those of one namespace, as far as it is watched."""
        return tuple(self._namespace(namespace).pods.values())

    def all_keys(self) -> Iterator[WorkKey]:
        """Every object that has a status to keep."""
        return iter(tuple(self._raw))

    def counts(self) -> dict[str, int]:
        """How many objects there are of each kind, pods among them."""
        counts = {kind.value: len(held) for kind, held in self._books.items()}
        return counts | {"Pod": sum(len(space.pods) for space in self._namespaces.values())}

    def _apply(self, kind: Kind, change: Change) -> set[WorkKey]:
        held = self._books[kind]
        key = WorkKey(kind, change.key.namespace, change.key.name)
        objects = self._namespace(key.namespace).of(kind)
        if change.kind is ChangeKind.DELETED:
            seen = held.remove(change.object)
            self._raw.pop(key, None)
            objects.pop(key.name, None)
        else:
            seen = held.put(change.object)
            if seen.after is None:
                return set()
            self._raw[key] = change.object
            objects[key.name] = seen.after
        return {key, *self._neighbours(key)} if _matters_to_others(seen) else {key}

    def _neighbours(self, key: WorkKey) -> Iterator[WorkKey]:
        """The objects whose status depends on this one's spec."""
        match key.kind:
            case Kind.TENANT:
                return
            case Kind.SCHEDULING_POLICY | Kind.KV_CACHE_POLICY:
                yield from self._all(key.namespace, Kind.MODEL_POOL, key.kind)
            case Kind.MODEL_POOL | Kind.INFERENCE_POOL:
                yield from self._all(
                    key.namespace,
                    Kind.MODEL_POOL,
                    Kind.INFERENCE_POOL,
                    Kind.SCHEDULING_POLICY,
                    Kind.KV_CACHE_POLICY,
                )

    def _all(self, namespace: str, *kinds: Kind) -> Iterator[WorkKey]:
        space = self._namespace(namespace)
        return (WorkKey(kind, namespace, name) for kind in kinds for name in space.of(kind))

    def _pools_selecting(self, namespace: str, pods: Iterable[Pod]) -> Iterator[WorkKey]:
        scope, found = self.scope(namespace), tuple(pods)
        for name, pool in scope.model_pools.items():
            selection = None if pool.spec is None else selection_of(scope, pool.spec)
            if selection is not None and any(selection.selects(pod) for pod in found):
                yield WorkKey(Kind.MODEL_POOL, namespace, name)

    def _namespace(self, name: str) -> _Namespace:
        return self._namespaces.setdefault(name, _Namespace())


def _matters_to_others(seen: book.Change[Any]) -> bool:
    """Whether more than the object's own status can be wrong now."""
    if seen.before is None or seen.after is None:
        return True
    return seen.spec_changed or seen.before.deleted != seen.after.deleted
