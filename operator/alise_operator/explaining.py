"""``alise operator explain``: reads a pool and its policy from the cluster, and says how it stands.

Only reads, and only what a person may see with ``kubectl get``: no operator has to be reached.
"""

from collections.abc import Mapping
from typing import Any

from alise_cluster.client import ClusterClient
from alise_cluster.errors import FORBIDDEN, NOT_FOUND, UNAUTHORIZED, ApiError, ClusterError
from alise_cluster.resources import RawObject, Resource, metadata, resource_of
from alise_core.crds.book import ObjectBook, Stored
from alise_core.crds.governing import PoolRef, governing
from alise_core.crds.kv_cache_policy import KVCachePolicySpec, PoolTuningStatus
from alise_core.crds.names import Kind
from alise_core.errors import AliseError
from alise_operator.decide.raw import sequence_at, text_at
from alise_operator.tuning.explain import Explanation, Subject, explain

_POLICIES = resource_of(Kind.KV_CACHE_POLICY)
_POOL_KINDS = (Kind.MODEL_POOL, Kind.INFERENCE_POOL)
_MOST_NAMES = 20


class CannotExplain(AliseError):
    """There is nothing to explain, or it may not be seen; the text says what to do."""


async def explain_pool(client: ClusterClient, namespace: str, pool: str, now: float) -> Explanation:
    """How a pool stands.

    Args:
        client: Of the cluster, as whoever asks.
        namespace: Of the pool.
        pool: Name of a ModelPool, or of an InferencePool.
        now: Unix seconds.

    Raises:
        CannotExplain: No such pool, no policy, no permission, no report yet.
    """
    ref = await _find_pool(client, namespace, pool)
    policies = await _policies(client, namespace)
    policy = governing(ref, policies).winner
    if policy is None or policy.spec is None:
        raise CannotExplain(_why_no_policy(ref, policies))
    line = next(
        (one for one in sequence_at(policy.status, "pools") if text_at(one, "name") == pool), None
    )
    if line is None:
        raise CannotExplain(
            f"{policy.name} governs {ref.kind} {pool}, but its status says nothing of it yet: no "
            "operator leads here, or it has not looked since. See 'kubectl -n "
            f"{namespace} describe kvcachepolicy {policy.name}' and the operator's log"
        )
    subject = Subject(namespace, pool, policy.name, policy.conditions)
    return explain(subject, policy.spec, _line_of(line, policy), now)


async def _find_pool(client: ClusterClient, namespace: str, pool: str) -> PoolRef:
    for kind in _POOL_KINDS:
        try:
            await client.get(resource_of(kind), namespace, pool)
        except ClusterError as error:
            if not _is(error, NOT_FOUND):
                raise _refused(error, resource_of(kind), "get", namespace) from error
        else:
            return PoolRef(namespace, kind, pool)
    names = [text_at(metadata(raw), "name") for raw in await _list(client, _POOLS, namespace)]
    there = ", ".join(sorted(names)[:_MOST_NAMES]) or "none at all"
    raise CannotExplain(
        f"there is no ModelPool or InferencePool {pool!r} in namespace {namespace} "
        f"(ModelPools there: {there}); give --namespace for another one"
    )


_POOLS = resource_of(Kind.MODEL_POOL)


async def _policies(client: ClusterClient, namespace: str) -> tuple[Stored[KVCachePolicySpec], ...]:
    book: ObjectBook[KVCachePolicySpec] = ObjectBook(Kind.KV_CACHE_POLICY)
    for raw in await _list(client, _POLICIES, namespace):
        book.put(raw)
    return tuple(book.items())


async def _list(client: ClusterClient, resource: Resource, namespace: str) -> list[RawObject]:
    try:
        page = await client.request("GET", resource.path(namespace))
    except ClusterError as error:
        raise _refused(error, resource, "list", namespace) from error
    return [item for item in sequence_at(page, "items") if isinstance(item, Mapping)]


def _why_no_policy(ref: PoolRef, policies: tuple[Stored[KVCachePolicySpec], ...]) -> str:
    invalid = [item for item in policies if item.spec is None]
    if invalid:
        told = "; ".join(f"{item.name}: {', '.join(item.problems)}" for item in invalid)
        return f"no valid KVCachePolicy governs {ref.kind} {ref.name}: {told}"
    names = ", ".join(sorted(item.name for item in policies)) or "none"
    return (
        f"no KVCachePolicy governs {ref.kind} {ref.name}, so nothing is tuned there (policies in "
        f"{ref.namespace}: {names}); create one whose targetRefs name it, or that names no pool"
    )


def _line_of(raw: Mapping[str, Any], policy: Stored[KVCachePolicySpec]) -> PoolTuningStatus:
    known = {item.alias or name for name, item in PoolTuningStatus.model_fields.items()}
    try:
        return PoolTuningStatus.model_validate({k: v for k, v in raw.items() if k in known})
    except ValueError as error:
        raise CannotExplain(
            f"the status of {policy.name} is not understood: it may be another version's. Use the "
            "alise of the operator's version"
        ) from error


def _refused(error: ClusterError, resource: Resource, verb: str, namespace: str) -> CannotExplain:
    if _is(error, FORBIDDEN) or _is(error, UNAUTHORIZED):
        return CannotExplain(
            f"you may not {verb} {resource.plural} in namespace {namespace}: {error}. Check with "
            f"'kubectl auth can-i {verb} {resource.plural} -n {namespace}'"
        )
    if _is(error, NOT_FOUND):
        return CannotExplain(
            f"this cluster knows no {resource.plural}.{resource.group}: install the chart, or take "
            "another --context"
        )
    return CannotExplain(f"{resource.plural} in namespace {namespace} cannot be read: {error}")


def _is(error: ClusterError, status: int) -> bool:
    return isinstance(error, ApiError) and error.status == status
