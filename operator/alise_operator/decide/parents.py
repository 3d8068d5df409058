"""Our entry in the ``status.parents`` of an InferencePool. Pure.

Each gateway that serves an InferencePool keeps one entry there and takes it away when it stops;
entries of others pass through as they are. Ours is known by its controller and its parent
together, so that two installations that serve one pool do not take each other's away.
Source: Gateway API Inference Extension, ``api/v1/inferencepool_types.go``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alise_core.crds.book import Stored
from alise_core.crds.inference_pool import InferencePoolSpec
from alise_core.crds.names import CONTROLLER_NAME
from alise_core.errors import AliseError
from alise_operator.decide.conditions import timestamp
from alise_operator.decide.pools import pool_that_refers_to, stands_alone
from alise_operator.decide.raw import mapping_at, sequence_at, text_at
from alise_operator.decide.scope import Scope
from alise_operator.decide.status import Json, Verdict

MOST_PARENTS = 32
"""What the API server takes."""
_CONDITIONS = (
    ("Accepted", "Accepted", "Served by ALISE"),
    ("ResolvedRefs", "ResolvedRefs", "ALISE chooses endpoints by itself"),
)


class TooManyParents(AliseError):
    """The list is full of other gateways' entries."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The gateway's Service, which is what serves the pool."""

    namespace: str
    name: str


def is_served(pool: Stored[InferencePoolSpec], scope: Scope) -> bool:
    """Whether gateways send requests to the pool's endpoints."""
    if pool.spec is None or pool.deleted:
        return False
    return stands_alone(scope, pool) or pool_that_refers_to(scope, pool.name) is not None


def parents_with(
    raw: Mapping[str, object], parent: Parent, unix: float, *, served: bool
) -> list[Json]:
    """The list as it ought to be: everybody else's entries in their order, ours where it was.

    Equal to what stands where nothing has to change.

    Args:
        raw: The InferencePool.
        parent: Who we are.
        unix: Now, in seconds since the epoch.
        served: Whether there should be an entry of ours; without it every one of ours goes.
    """
    wanted: list[Json] = []
    placed = not served
    for entry in _entries(raw):
        if not _is_ours(entry, raw, parent):
            wanted.append(entry)
        elif not placed and isinstance(entry, Mapping):
            placed = True
            wanted.append(_ours(raw, parent, entry, unix))
    if not placed:
        wanted.append(_ours(raw, parent, {}, unix))
    return wanted


def decide_parents(
    raw: Mapping[str, object], parent: Parent, unix: float, *, served: bool
) -> Verdict:
    """What the status of an InferencePool ought to say, as far as it is about us.

    Args:
        raw: The InferencePool.
        parent: Who we are.
        unix: Now, in seconds since the epoch.
        served: Whether gateways send requests to it.

    Raises:
        TooManyParents: There is no room for our entry.
    """
    parents = parents_with(raw, parent, unix, served=served)
    if parents == list(_entries(raw)):
        return Verdict({})
    if len(parents) > MOST_PARENTS:
        raise TooManyParents(
            f"status.parents has {MOST_PARENTS} entries of others: there is no room for ours; "
            "gateways that are gone should take theirs away"
        )
    return Verdict({"parents": parents})


def _entries(raw: Mapping[str, object]) -> Sequence[object]:
    entries = mapping_at(raw, "status").get("parents")
    return entries if isinstance(entries, list) else []


def _is_ours(entry: object, raw: Mapping[str, object], parent: Parent) -> bool:
    if not isinstance(entry, Mapping) or entry.get("controllerName") != CONTROLLER_NAME:
        return False
    ref = mapping_at(entry, "parentRef")
    namespace = text_at(ref, "namespace") or text_at(mapping_at(raw, "metadata"), "namespace")
    return (
        text_at(ref, "kind") == "Service"
        and text_at(ref, "name") == parent.name
        and namespace == parent.namespace
    )


def _ours(
    raw: Mapping[str, object], parent: Parent, old: Mapping[str, object], unix: float
) -> Json:
    generation = mapping_at(raw, "metadata").get("generation")
    standing = {text_at(each, "type"): each for each in sequence_at(old, "conditions")}
    return {
        "controllerName": CONTROLLER_NAME,
        "parentRef": {
            "group": "",
            "kind": "Service",
            "name": parent.name,
            "namespace": parent.namespace,
        },
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "reason": reason,
                "message": message,
                "observedGeneration": generation if isinstance(generation, int) else 0,
                "lastTransitionTime": _since(standing.get(kind, {}), unix),
            }
            for kind, reason, message in _CONDITIONS
        ],
    }


def _since(old: Mapping[str, object], unix: float) -> str:
    since = text_at(old, "lastTransitionTime")
    return since if since and text_at(old, "status") == "True" else timestamp(unix)
