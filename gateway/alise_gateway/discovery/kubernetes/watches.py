"""Reads the cluster: one reflector for each kind, and one for each Secret that is named.

Secrets are read one by one, by name, so that RBAC can grant exactly those. Which ones is known only
from other objects, so their reflectors come and go (``follow_secrets``).
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from alise_cluster.cache import Change
from alise_cluster.client import ClusterClient
from alise_cluster.pacing import Pacing
from alise_cluster.reflector import Contact, Reflector, ReflectorFigures, Selection
from alise_cluster.resources import (
    PODS,
    SECRETS,
    RawObject,
    Resource,
    metadata,
    resource_of,
)
from alise_core.clock import Clock
from alise_core.crds.names import Kind, ObjectKey
from alise_gateway.discovery.kubernetes.key_secrets import (
    Readable,
    Secret,
    Secrets,
    read_secret,
    trim_secret,
)
from alise_gateway.discovery.kubernetes.pods import trim_pod
from alise_gateway.domain.cluster_figures import Watched, WatchFigures
from alise_gateway.settings_kubernetes import KubernetesSettings

OnChanges = Callable[[Watched, Sequence[Change]], None]

_CUSTOM = {
    Watched.MODEL_POOLS: Kind.MODEL_POOL,
    Watched.INFERENCE_POOLS: Kind.INFERENCE_POOL,
    Watched.SCHEDULING_POLICIES: Kind.SCHEDULING_POLICY,
    Watched.TENANTS: Kind.TENANT,
}


@dataclass(slots=True)
class _Running:
    reflector: Reflector
    task: asyncio.Task[None]


class Watches:
    """See the module.

    Args:
        client: Of the cluster.
        settings: Where to look.
        clock: For durations.
        pacing: How to wait after failures.
        on_changes: Called on the loop with what differs.
        on_stand: Called when how some watch stands has changed.
    """

    def __init__(
        self,
        client: ClusterClient,
        settings: KubernetesSettings,
        clock: Clock,
        *,
        on_changes: OnChanges,
        on_stand: Callable[[], None],
        pacing: Pacing | None = None,
    ) -> None:
        self.namespace = None if settings.all_namespaces else settings.namespace or client.namespace
        self._client = client
        self._settings = settings
        self._clock = clock
        self._pacing = pacing
        self._on_changes = on_changes
        self._on_stand = on_stand
        self._moved = asyncio.Event()
        self._kinds: dict[Watched, _Running] = {}
        self._secrets: dict[ObjectKey, _Running] = {}
        self._secret_figures = ReflectorFigures()
        self._ending: set[asyncio.Task[None]] = set()
        self._stopped = False

    def start(self) -> None:
        """Begin to read."""
        here = Selection(self.namespace)
        for watched, kind in _CUSTOM.items():
            if watched is not Watched.INFERENCE_POOLS or self._settings.serve_inference_pools:
                self._follow(watched, resource_of(kind), here, _trim_custom)
        self._follow(Watched.PODS, PODS, here, trim_pod)
        if self._settings.peers_selector and self._settings.pod_name:
            peers = Selection(self._client.namespace, labels=self._settings.peers_selector)
            self._follow(Watched.PEERS, PODS, peers, trim_pod)

    async def stop(self) -> None:
        """End all reading; may be called without ``start``."""
        self._stopped = True
        running = [*self._kinds.values(), *self._secrets.values()]
        self._kinds, self._secrets = {}, {}
        tasks = {item.task for item in running} | self._ending
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def follow_secrets(self, names: Iterable[ObjectKey]) -> None:
        """Read these Secrets from now on, and no others; none once ``stop`` was called."""
        wanted = set() if self._stopped else set(names)
        for name in self._secrets.keys() - wanted:
            task = self._secrets.pop(name).task
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            task.cancel()
        for name in wanted - self._secrets.keys():
            which = Selection(name.namespace, fields=f"metadata.name={name.name}")
            self._secrets[name] = self._run(
                Watched.SECRETS, SECRETS, which, trim_secret, self._secret_figures
            )

    def secrets(self) -> Secrets:
        """What is known of the Secrets that are read."""
        return {name: _read(name, item.reflector) for name, item in self._secrets.items()}

    def objects(self, watched: Watched) -> list[RawObject]:
        """What is known of one kind."""
        running = self._kinds.get(watched)
        return [] if running is None else list(running.reflector.objects.values())

    async def settle(self) -> None:
        """Wait until everything was read once, Secrets included, or is known to be not there."""
        while self.unsettled():
            self._moved.clear()
            await self._moved.wait()

    def unsettled(self) -> list[str]:
        """What was not read yet, and why, for people."""
        found = []
        for watched, item in self._kinds.items():
            if not item.reflector.synced.is_set():
                found.append(f"{watched}: {item.reflector.problem or 'no answer yet'}")
        for name, item in self._secrets.items():
            # One that may not be read is its owner's problem, and holds nobody up.
            stands = item.reflector.synced.is_set() or item.reflector.contact is Contact.FORBIDDEN
            if not stands:
                found.append(f"Secret {name}: {item.reflector.problem or 'no answer yet'}")
        return found

    def figures(self) -> dict[Watched, WatchFigures]:
        """For metrics."""
        found = {
            watched: _figures([item.reflector], item.reflector.figures)
            for watched, item in self._kinds.items()
        }
        secrets = [item.reflector for item in self._secrets.values()]
        found[Watched.SECRETS] = _figures(secrets, self._secret_figures)
        return found

    def _follow(
        self,
        watched: Watched,
        resource: Resource,
        selection: Selection,
        trim: Callable[[RawObject], RawObject],
    ) -> None:
        figures = ReflectorFigures()
        self._kinds[watched] = self._run(watched, resource, selection, trim, figures)

    def _run(
        self,
        watched: Watched,
        resource: Resource,
        selection: Selection,
        trim: Callable[[RawObject], RawObject],
        figures: ReflectorFigures,
    ) -> _Running:
        reflector = Reflector(
            self._client,
            resource,
            selection,
            on_change=lambda changes: self._on_changes(watched, changes),
            trim=trim,
            clock=self._clock,
            pacing=self._pacing,
            figures=figures,
            on_stand=self._stand,
        )
        name = f"watch-{watched}-{selection.fields}"
        return _Running(reflector, asyncio.create_task(reflector.run(), name=name))

    def _stand(self) -> None:
        self._moved.set()
        self._on_stand()


def _trim_custom(raw: RawObject) -> RawObject:
    """Without what other controllers write: it is a large part, and nothing here reads it."""
    kept = {name: value for name, value in raw.items() if name != "status"}
    meta = metadata(raw)
    kept["metadata"] = {name: meta[name] for name in meta if name != "managedFields"}
    return kept


def _read(name: ObjectKey, reflector: Reflector) -> Secret:
    raw = reflector.objects.get(name)
    if raw is not None:
        return read_secret(raw)
    if reflector.contact is Contact.FORBIDDEN:
        return Secret(Readable.FORBIDDEN)
    return Secret(Readable.MISSING if reflector.synced.is_set() else Readable.UNKNOWN)


def _figures(reflectors: Sequence[Reflector], counted: ReflectorFigures) -> WatchFigures:
    content = {Contact.WATCHING, Contact.ABSENT}
    return WatchFigures(
        connected=all(item.contact in content for item in reflectors),
        objects=sum(len(item.objects) for item in reflectors),
        lists=counted.lists,
        errors=dict(counted.errors),
        last_contact_unix=counted.last_contact_unix,
    )
