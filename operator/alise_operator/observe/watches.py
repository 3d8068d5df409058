"""Keeps the catalogue fed: one reflector per collection."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from alise_cluster.cache import Change
from alise_cluster.client import ClusterClient
from alise_cluster.pacing import Pacing
from alise_cluster.reflector import Contact, Reflector, Selection
from alise_cluster.resources import PODS, RawObject, resource_of
from alise_core.clock import Clock
from alise_core.crds.names import GROUP, Kind
from alise_operator.decide.scope import WorkKey
from alise_operator.observe.catalogue import Catalogue

_POD_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "labels",
    "deletionTimestamp",
    "ownerReferences",
)
_POD_STATUS = ("phase", "podIP", "conditions")


class Watches:
    """Copies of all collections that the operator looks at.

    Args:
        client: Of the cluster.
        namespace: ``None`` for all namespaces.
        catalogue: Is told every difference.
        on_touched: Called with the objects whose status may be wrong now.
        clock: For durations.
        pacing: How to wait.
    """

    def __init__(
        self,
        client: ClusterClient,
        namespace: str | None,
        catalogue: Catalogue,
        on_touched: Callable[[Iterable[WorkKey]], None],
        clock: Clock,
        pacing: Pacing | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._on_touched = on_touched
        selection = Selection(namespace)
        self.reflectors = [
            Reflector(
                client,
                resource_of(kind),
                selection,
                on_change=self._listener(kind),
                clock=clock,
                pacing=pacing,
            )
            for kind in Kind
            if kind is not Kind.INFERENCE_POOL or catalogue.serving.inference_pools
        ]
        self.reflectors.append(
            Reflector(
                client,
                PODS,
                selection,
                on_change=self._on_pods,
                trim=trim_pod,
                clock=clock,
                pacing=pacing,
            )
        )

    async def run(self) -> None:
        """List and watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self.reflectors:
                group.create_task(reflector.run(), name=f"watch-{reflector.resource.plural}")

    async def synced(self) -> None:
        """Wait until every collection was read once: what is missing then does not exist."""
        for reflector in self.reflectors:
            await reflector.synced.wait()

    def problem(self) -> str:
        """Why not everything was read yet; empty once it was."""
        waiting = [each for each in self.reflectors if not each.synced.is_set()]
        return "; ".join(each.problem or f"{each.resource.plural}: not read" for each in waiting)

    def connected(self) -> frozenset[str]:
        """The collections whose copy is current."""
        return frozenset(
            each.resource.plural for each in self.reflectors if each.contact is Contact.WATCHING
        )

    def _listener(self, kind: Kind) -> Callable[[Sequence[Change]], None]:
        return lambda changes: self._on_touched(self._catalogue.apply(kind, changes))

    def _on_pods(self, changes: Sequence[Change]) -> None:
        self._on_touched(self._catalogue.apply_pods(changes))


def trim_pod(raw: RawObject) -> RawObject:
    """What is looked at of a pod, which is a small part of it."""
    meta, status = _mapping(raw.get("metadata")), _mapping(raw.get("status"))
    annotations = _mapping(meta.get("annotations"))
    containers = status.get("containerStatuses")
    return {
        "metadata": {name: meta[name] for name in _POD_METADATA if name in meta}
        | {"annotations": {k: v for k, v in annotations.items() if k.startswith(GROUP)}},
        "status": {name: status[name] for name in _POD_STATUS if name in status}
        | {
            "containerStatuses": [
                {"restartCount": _mapping(each).get("restartCount", 0)}
                for each in (containers if isinstance(containers, list) else ())
            ]
        },
    }


def _mapping(value: object) -> RawObject:
    return value if isinstance(value, dict) else {}
