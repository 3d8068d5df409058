"""Keeps a copy of a collection: list once, then watch, for ever.

::

    list (in pages) ── version ──> watch ── ends ──> watch from the last version seen
          ^                          │
          └────── 410: too old ──────┘        any other failure: wait, then go on where it was

What is known stays known through every failure: an API server that is away, or that answers 403 or
404, is no reason to forget objects. After a new listing only differences are told. A collection
that the server does not have (its CRD is not installed) counts as empty and is looked for from
time to time.

A dead connection is noticed by the kernel's keep-alive, by the end that the server was asked to
put to every watch, and by our own limit just beyond that end.

Source: client-go ``tools/cache/reflector.go``; Kubernetes documentation, "API concepts".
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from alise_cluster.cache import Change, ObjectCache, keep_all
from alise_cluster.client import ClusterClient
from alise_cluster.errors import (
    FORBIDDEN,
    NOT_FOUND,
    ApiError,
    Expired,
    Unreachable,
    api_error,
)
from alise_cluster.pacing import Backoff, Pacing
from alise_cluster.resources import RawObject, Resource, metadata
from alise_core.clock import Clock, MonotonicClock
from alise_core.crds.names import ObjectKey
from alise_core.errors import AliseError

PAGE_OBJECTS = 250
"""A page of pods is about a megabyte, which takes some milliseconds of the loop to read."""
WATCH_SECONDS = 120
"""After which the server ends a watch and we ask again from where it was."""
_GRACE_SECONDS = 10.0
"""A watch that the server has not ended this long after it should have is dead."""
_SHORT_WATCH_SECONDS = 1.0
"""A watch that ends sooner and brought nothing is a failure, and not asked for again at once."""
_UNTIL_MENDED = Backoff(first_seconds=0.5, most_seconds=60.0)
"""403 and 404 are mended by people, except those of a server that has just started: it answers them
for some seconds, until it has read its own roles and definitions."""
_VERSION_STAYS = frozenset({401, FORBIDDEN, 429, 500, 502, 503})
"""Answers that say nothing about the version that we asked to go on from."""


class Contact(StrEnum):
    """How a reflector stands with the API server."""

    STARTING = "starting"
    WATCHING = "watching"
    """Its copy is current, or being read again."""
    ABSENT = "absent"
    """The server does not have such a collection (404)."""
    FORBIDDEN = "forbidden"
    """We may not read it (403)."""
    FAILING = "failing"
    """The server is away, or answers with errors."""


_FAILURES = (Contact.FAILING.value, Contact.FORBIDDEN.value, Contact.ABSENT.value, "expired")


@dataclass(slots=True)
class ReflectorFigures:
    """For metrics.

    Attributes:
        lists: Complete listings.
        events: Differences told.
        errors: Failures, by ``Contact`` that they led to, or ``expired``.
        last_contact_unix: When the server was last heard; 0 for never.
    """

    lists: int = 0
    events: int = 0
    errors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_FAILURES, 0))
    last_contact_unix: float = 0.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection.

    Attributes:
        namespace: ``None`` for all namespaces.
        labels: Label selector, as ``kubectl`` takes it.
        fields: Field selector; ``metadata.name=X`` is what RBAC grants by ``resourceNames``.
    """

    namespace: str | None = None
    labels: str = ""
    fields: str = ""

    def query(self) -> dict[str, str]:
        """As the server takes it."""
        named = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: value for name, value in named.items() if value}


class Reflector:
    """One collection, or a part of it.

    Args:
        client: Where it lives.
        resource: Which collection.
        selection: Which of its objects.
        on_change: Called on the loop with the differences of one read, in order.
        trim: Makes objects smaller before they are kept; see ``ObjectCache``.
        clock: For durations and the time of the last contact.
        pacing: How to wait.
        backoff: How long, after failures.
        figures: Where to count; several may share one.
        on_stand: Called when ``contact`` has changed, and after the first listing.

    Attributes:
        contact: How it stands with the server.
        synced: Set once there was a listing, or it was clear that there is nothing to list.
        figures: For metrics.
        problem: What keeps it from reading, for people; ``None`` while nothing does.
    """

    def __init__(  # noqa: PLR0913  what, whence and whither
        self,
        client: ClusterClient,
        resource: Resource,
        selection: Selection = Selection(),
        *,
        on_change: Callable[[Sequence[Change]], None],
        trim: Callable[[RawObject], RawObject] = keep_all,
        clock: Clock | None = None,
        pacing: Pacing | None = None,
        backoff: Backoff | None = None,
        figures: ReflectorFigures | None = None,
        on_stand: Callable[[], None] | None = None,
    ) -> None:
        self.resource = resource
        self.selection = selection
        self.contact = Contact.STARTING
        self.synced = asyncio.Event()
        self.figures = figures or ReflectorFigures()
        self.problem: str | None = None
        self._client = client
        self._on_change = on_change
        self._on_stand = on_stand or _nobody_cares
        self._told = 0
        self._clock = clock or MonotonicClock()
        self._pacing = pacing or Pacing()
        self._backoff = backoff or Backoff()
        self._cache = ObjectCache(trim)
        self._path = resource.path(selection.namespace)
        self._version: str | None = None
        self._failures = 0
        self._log = structlog.get_logger("alise_cluster").bind(
            resource=resource.full_name, namespace=selection.namespace or "*"
        )

    @property
    def objects(self) -> Mapping[ObjectKey, RawObject]:
        """Everything that is known now; live, not to be changed."""
        return self._cache.objects

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
            except Expired as error:
                self._version = None
                self._count("expired")
                # The first time at once; a server that goes on like this is waited for.
                if self._failures:
                    await self._pause(self._backoff, error)
                else:
                    self._failures = 1
            except ApiError as error:
                await self._on_refused(error)
            except AliseError as error:
                await self._on_failure(error)

    async def _list(self) -> None:
        items: list[RawObject] = []
        query = {**self.selection.query(), "limit": str(PAGE_OBJECTS)}
        restarted = False
        while True:
            try:
                page = await self._client.request("GET", self._path, query=query)
            except Expired:
                # The rest of the pages is gone; the whole in one answer cannot be.
                if restarted:
                    raise
                restarted, items, query = True, [], self.selection.query()
                continue
            found = page.get("items")
            items += self._cache.trimmed(found if isinstance(found, list) else [])
            proceed = metadata(page).get("continue")
            if not proceed:
                break
            query = {**query, "continue": str(proceed)}
        self._version = str(metadata(page).get("resourceVersion", ""))
        self.figures.lists += 1
        self._heard()
        self._tell(self._cache.replace(items))
        if not self.synced.is_set():
            self.synced.set()
            self._on_stand()

    async def _watch(self) -> None:
        # Spread, or many watches that began together would end together for ever.
        seconds = int(WATCH_SECONDS * (1.0 + self._pacing.chance()))
        query = {
            **self.selection.query(),
            "resourceVersion": self._version or "",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        began, before = self._clock.now(), self._told
        try:
            await self._client.watch(
                self._path, query, self._on_events, seconds + _GRACE_SECONDS, self._heard
            )
        finally:
            lasted = self._clock.now() - began >= _SHORT_WATCH_SECONDS
            if lasted or self._told > before:
                self._failures = 0
        if not lasted and self._told == before:
            raise Unreachable("the watch ended at once")
        self._heard()

    def _on_events(self, events: list[RawObject]) -> None:
        changes: list[Change] = []
        for event in events:
            raw = event.get("object")
            raw = raw if isinstance(raw, Mapping) else {}
            if event.get("type") == "ERROR":
                self._tell(changes)
                raise api_error(0, raw)
            changes += self._cache.apply(str(event.get("type")), raw)
            self._version = str(metadata(raw).get("resourceVersion") or self._version)
        self._heard()
        self._tell(changes)

    def _tell(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        self._told += len(changes)
        self.figures.events += len(changes)
        try:
            self._on_change(changes)
        except Exception:
            # The boundary of a background loop: the next differences may be understood again.
            self._log.exception("cluster_change_failed", changes=len(changes))

    def _heard(self) -> None:
        self.figures.last_contact_unix = self._clock.unix()
        if self.contact is not Contact.WATCHING:
            if self.contact is not Contact.STARTING:
                self._log.info("collection_read_again", was=self.contact.value)
            self.contact, self.problem = Contact.WATCHING, None
            self._on_stand()

    async def _on_refused(self, error: ApiError) -> None:
        if error.status not in _VERSION_STAYS:
            self._version = None
        if error.status == FORBIDDEN:
            self._stand(Contact.FORBIDDEN, self._missing_permission(error))
        elif error.status == NOT_FOUND:
            self.synced.set()
            self._stand(Contact.ABSENT, f"{self.resource.full_name} is not installed")
        else:
            await self._on_failure(error)
            return
        await self._pause(_UNTIL_MENDED, error)

    async def _on_failure(self, error: AliseError) -> None:
        self._stand(Contact.FAILING, str(error))
        await self._pause(self._backoff, error)

    async def _pause(self, backoff: Backoff, error: AliseError) -> None:
        self._failures += 1
        delay = backoff.delay(self._failures, self._pacing.chance())
        asked = error.retry_after_seconds if isinstance(error, ApiError) else None
        await self._pacing.sleep(max(delay, asked or 0.0))

    def _stand(self, contact: Contact, problem: str) -> None:
        self._count(contact.value)
        before, self.contact, self.problem = self.contact, contact, problem
        if before is contact:
            return
        self._on_stand()
        if contact is Contact.ABSENT:
            self._log.info("collection_not_installed", problem=problem)
        elif contact is Contact.FORBIDDEN:
            self._log.warning("collection_forbidden", problem=problem)
        else:
            # That the whole server is away is told once, by the client.
            self._log.debug("collection_failing", problem=problem)

    def _count(self, error: str) -> None:
        self.figures.errors[error] += 1

    def _missing_permission(self, error: ApiError) -> str:
        where = "all namespaces" if self.selection.namespace is None else self.selection.namespace
        name = self.selection.fields.partition("metadata.name=")[2]
        what = f"{self.resource.full_name} {name}" if name else self.resource.full_name
        return f"may not get, list and watch {what} in {where}: {error.message}"


def _nobody_cares() -> None:
    """Until somebody does."""
