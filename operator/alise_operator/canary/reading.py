"""Reads what owns a pool's pods, and those, at the API server.

The operator's copy of pods holds no command lines, and workloads are not watched: a change is
looked at every few seconds while there is one, and what is read then is the present.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alise_cluster.errors import FORBIDDEN, NOT_FOUND, ApiError
from alise_cluster.resources import PODS, REPLICA_SETS, RawObject, Resource
from alise_operator.canary.budgets import blocking
from alise_operator.canary.carrying import RESOURCES, Cluster
from alise_operator.canary.words import Refused
from alise_operator.canary.workload import Owner, Raw, owner_of
from alise_operator.decide.pods import parse_pod
from alise_operator.decide.raw import mapping_at, sequence_at, text_at

BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
_OLD_BUDGETS = Resource("policy", "v1beta1", "poddisruptionbudgets", "PodDisruptionBudget")
"""Before Kubernetes 1.21."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is there.

    Attributes:
        owner: Of all pods.
        workload: As the API server shows it.
        pods: Those selected that have not run to their end.
    """

    owner: Owner
    workload: Raw
    pods: tuple[Raw, ...]


class WorkloadReader:
    """Reads one pool after the other.

    Args:
        cluster: Where.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._replica_sets: dict[str, Raw] = {}

    async def sight(self, namespace: str, labels: Mapping[str, str]) -> Sight:
        """What owns the pods with these labels.

        Raises:
            Refused: That is not one thing that can be changed, or may not be read.
            ClusterError: The API server does not do its part.
        """
        if not labels:
            # As a selector of the API server's that would be all pods.
            raise Refused("the pool selects no pods")
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}
        listed = await self._get(PODS, namespace, query=query)
        pods = tuple(raw for raw in _items(listed) if _goes_on(raw))
        owner = owner_of(pods, await self._sets(namespace, pods))
        workload = await self._get(RESOURCES[owner.kind], namespace, owner.name)
        if text_at(mapping_at(workload, "metadata"), "uid") != owner.uid:
            raise Refused(f"{owner.kind} {owner.name} is another one by now")
        # What a single object says of itself is left out where it came in a list.
        kind = {"kind": str(owner.kind), "apiVersion": "apps/v1"}
        return Sight(owner, {**workload, **kind}, pods)

    async def blocked_by(self, sight: Sight, namespace: str) -> tuple[str, ...]:
        """PodDisruptionBudgets that allow no disruption of the pods now.

        Raises:
            Refused: They may not be read.
            ClusterError: The API server does not do its part.
        """
        resource = BUDGETS
        try:
            listed = await self._get(resource, namespace)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            resource = _OLD_BUDGETS
            listed = await self._get(resource, namespace)
        labels = [mapping_at(mapping_at(pod, "metadata"), "labels") for pod in sight.pods]
        return blocking(_items(listed), labels, empty_selects_all=resource is BUDGETS)

    async def _sets(self, namespace: str, pods: Iterable[Raw]) -> Mapping[str, Raw]:
        """Their ReplicaSets; what owns one does not change, so each is read once."""
        found = {}
        for uid, name in sorted({pair for pod in pods for pair in _set_of(pod)}):
            known = self._replica_sets.get(uid)
            if known is None:
                try:
                    known = await self._get(REPLICA_SETS, namespace, name)
                except ApiError as error:
                    if error.status != NOT_FOUND:
                        raise
                    continue
                if text_at(mapping_at(known, "metadata"), "uid") != uid:
                    continue
            found[uid] = _owners_only(known)
        kept = {uid: raw for uid, raw in self._replica_sets.items() if uid not in found}
        self._replica_sets = dict([*kept.items(), *found.items()][-_MOST_SETS:])
        return found

    async def _get(
        self,
        resource: Resource,
        namespace: str,
        name: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> RawObject:
        try:
            return await self._cluster.request("GET", resource.path(namespace, name), query=query)
        except ApiError as error:
            if error.status == FORBIDDEN:
                what = f"{resource.full_name} {name}" if name else resource.full_name
                raise Refused(f"the operator may not read {what}: {error.message}") from error
            raise


_MOST_SETS = 4_096


def _items(listed: RawObject) -> list[Raw]:
    return sequence_at(listed, "items")


def _goes_on(raw: Raw) -> bool:
    pod = parse_pod(raw)
    return pod is not None and not pod.state.is_over


def _set_of(pod: Raw) -> Iterable[tuple[str, str]]:
    for owner in sequence_at(mapping_at(pod, "metadata"), "ownerReferences"):
        if owner.get("controller") is True and text_at(owner, "kind") == "ReplicaSet":
            yield text_at(owner, "uid"), text_at(owner, "name")


def _owners_only(replica_set: Raw) -> Raw:
    references = sequence_at(mapping_at(replica_set, "metadata"), "ownerReferences")
    return {"metadata": {"ownerReferences": references}}
