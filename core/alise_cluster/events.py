"""Tells Events: they are handed over at once and sent in the background, or dropped."""

import asyncio
from collections import deque

import structlog

from alise_cluster.client import ClusterClient
from alise_cluster.errors import NOT_FOUND, ApiError
from alise_cluster.event_book import EventBook, NewEvent, RepeatedEvent
from alise_cluster.resources import EVENTS, RawObject
from alise_core.clock import Clock, MonotonicClock
from alise_core.errors import AliseError

MOST_WAITING = 1_000


class EventRecorder:
    """Tells about objects what ``kubectl describe`` shows.

    Args:
        client: Of the cluster.
        component: Who tells: ``alise-operator``.
        instance: Which of them: the pod's name.
        clock: For rates and timestamps.

    Attributes:
        sent: Events that the server took.
        dropped: Events that were not told: too many, or the server did not take them.
    """

    def __init__(
        self, client: ClusterClient, component: str, instance: str, clock: Clock | None = None
    ) -> None:
        self._client = client
        self._book = EventBook(component, instance)
        self._clock = clock or MonotonicClock()
        self._waiting: deque[NewEvent | RepeatedEvent] = deque()
        self._wake = asyncio.Event()
        self._failed = False
        self.sent = 0
        self.dropped = 0
        self._log = structlog.get_logger("alise_cluster")

    def emit(self, regarding: RawObject, type_: str, reason: str, message: str) -> None:
        """Tell an Event; never waits, never fails.

        Args:
            regarding: The object that it is about, with ``apiVersion`` and ``kind``.
            type_: ``Normal`` or ``Warning``.
            reason: One word in CamelCase.
            message: For people; no secrets.
        """
        clock = self._clock
        event = self._book.tell(regarding, type_, reason, message, clock.now(), clock.unix())
        if event is None:
            self.dropped += 1
            return
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(event)
        self._wake.set()

    async def run(self) -> None:
        """Send what is handed over, until cancelled."""
        while True:
            await self._wake.wait()
            await self.flush()

    async def flush(self) -> None:
        """Send everything that waits now; what fails is dropped."""
        self._wake.clear()
        while self._waiting:
            event = self._waiting.popleft()
            try:
                await self._send(event)
            except AliseError as error:
                self.dropped += 1
                if not self._failed:
                    self._log.warning("event_not_told", reason=str(error))
                self._failed = True
            else:
                self.sent += 1
                self._failed = False

    async def _send(self, event: NewEvent | RepeatedEvent) -> None:
        if isinstance(event, RepeatedEvent):
            try:
                await self._client.merge(EVENTS, event.namespace, event.name, event.patch)
            except ApiError as error:
                if error.status != NOT_FOUND:  # else the server has forgotten it, after an hour
                    raise
            else:
                return
        await self._client.create(EVENTS, event.namespace, event.body)
