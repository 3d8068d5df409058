"""Carries out what a look came to, at the API server.

A strategic merge patch, since that merges containers and volumes by name, and names the version
that was looked at: whoever wrote in between is looked at first. A refusal is no failure: the next
look starts from what is there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from alise_cluster.errors import CONFLICT, FORBIDDEN, NOT_FOUND, ApiError
from alise_cluster.resources import DEPLOYMENTS, PODS, STATEFUL_SETS, RawObject
from alise_operator.canary.plan import DeletePod, Effect, Patch
from alise_operator.canary.workload import FIELD_MANAGER, WorkloadKind

STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
RESOURCES = {
    WorkloadKind.DEPLOYMENT: DEPLOYMENTS,
    WorkloadKind.STATEFUL_SET: STATEFUL_SETS,
}


class Cluster(Protocol):
    """As much of ``ClusterClient`` as is needed."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: RawObject | None = None,
        content_type: str = ...,
    ) -> RawObject:
        """One exchange."""


@dataclass(frozen=True, slots=True)
class Undone:
    """Something was not done.

    Attributes:
        text: Why, for a person.
        lasting: It will not work at the next look either, as things are.
    """

    text: str
    lasting: bool


async def carry_out(
    cluster: Cluster, kind: WorkloadKind, namespace: str, name: str, effects: Iterable[Effect]
) -> Undone | None:
    """Carry out patches and deletions; measuring is the caller's.

    Returns: What was not done; ``None`` where all was.

    Raises:
        ApiError: The server refuses for another reason than that the world has changed.
        Unreachable: It does not answer.
    """
    path = RESOURCES[kind].path(namespace, name)
    try:
        for effect in effects:
            if isinstance(effect, Patch):
                await cluster.request(
                    "PATCH",
                    path,
                    query={"fieldManager": FIELD_MANAGER},
                    body=effect.body,
                    content_type=STRATEGIC_MERGE_PATCH,
                )
            elif isinstance(effect, DeletePod):
                await cluster.request(
                    "DELETE",
                    PODS.path(namespace, effect.name),
                    # Its successor has the same name.
                    body={"preconditions": {"uid": effect.uid}},
                )
    except ApiError as error:
        if error.status in {CONFLICT, NOT_FOUND}:
            return Undone(f"{kind} {name} changed meanwhile", lasting=False)
        if error.status == FORBIDDEN:
            text = f"the operator may not change {kind} {name}: {error.message}"
            return Undone(text, lasting=True)
        raise
    return None
