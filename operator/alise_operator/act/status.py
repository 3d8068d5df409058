"""Writes a status where it differs, and tells the Events that belong to the change.

Nothing is sent while nothing differs. A status that does not hold, because the API server stores
something else than was sent or somebody else writes the same fields, is written again only after
a while: two writers that disagree must not turn into a loop.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from alise_cluster.client import ClusterClient
from alise_cluster.errors import NOT_FOUND, ApiError
from alise_cluster.event_book import reference_to
from alise_cluster.events import EventRecorder
from alise_cluster.resources import RawObject, metadata, resource_of
from alise_cluster.status import change_status, merge_patch
from alise_core.clock import Clock
from alise_operator.decide.announcements import Announcement
from alise_operator.decide.raw import mapping_at
from alise_operator.decide.scope import WorkKey
from alise_operator.decide.status import Verdict
from alise_operator.metrics import OperatorMetrics

Decide = Callable[[RawObject], Verdict]
"""From the object as it stands to what its status ought to say."""


@dataclass(frozen=True, slots=True)
class _Written:
    uid: str
    version: str
    patch: RawObject
    at: float


class StatusWriter:
    """The only one that writes statuses.

    Args:
        client: Of the cluster.
        recorder: Tells Events.
        metrics: Counts both.
        clock: Says when a status that does not hold may be written again.
        hold_seconds: After which that is.
    """

    def __init__(
        self,
        client: ClusterClient,
        recorder: EventRecorder,
        metrics: OperatorMetrics,
        clock: Clock,
        hold_seconds: float,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._written: dict[WorkKey, _Written] = {}
        self._log = structlog.get_logger("alise_operator")

    async def write(self, key: WorkKey, seen: RawObject, decide: Decide) -> bool:
        """Bring a status into the form that ``decide`` wants.

        Args:
            key: The object.
            seen: The object as it was seen last.
            decide: Asked again with the newest object where another writer was faster.

        Returns: Whether something was written.

        Raises:
            ClusterError: It could not be written.
        """
        told: tuple[Announcement, ...] = ()
        sent: _Written | None = None

        def wanted(raw: RawObject) -> RawObject | None:
            nonlocal told, sent
            standing = mapping_at(raw, "status")
            verdict = decide(raw)
            whole: Mapping[str, Any] = {**standing, **verdict.status}
            patch = merge_patch(standing, whole)
            if not patch or self._is_held_back(key, raw, patch):
                return None
            told, sent = verdict.announcements, self._as_written(raw, patch)
            return whole

        try:
            written = await change_status(self._client, resource_of(key.kind), seen, wanted)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return False  # deleted since it was seen
            raise
        if written and sent is not None:
            self._written[key] = sent
            self._metrics.status_writes.labels(key.kind.value).inc()
            self._log.debug("status_written", object=str(key), fields=sorted(sent.patch))
            self._tell(key, seen, told)
        return written

    def forget(self, key: WorkKey) -> None:
        """The object is gone."""
        self._written.pop(key, None)

    def _is_held_back(self, key: WorkKey, raw: RawObject, patch: RawObject) -> bool:
        """Whether exactly this was written already and either is not seen yet or did not hold."""
        last = self._written.get(key)
        meta = metadata(raw)
        if last is None or last.patch != patch or last.uid != meta.get("uid"):
            return False
        if last.version == meta.get("resourceVersion"):
            return True
        if self._clock.now() - last.at >= self._hold_seconds:
            return False
        self._log.warning(
            "status_does_not_hold",
            object=str(key),
            fields=sorted(patch),
            remedy="somebody else writes these fields, or the CRDs are older than the operator",
        )
        return True

    def _as_written(self, raw: RawObject, patch: RawObject) -> _Written:
        meta = metadata(raw)
        uid, version = str(meta.get("uid", "")), str(meta.get("resourceVersion", ""))
        return _Written(uid, version, patch, self._clock.now())

    def _tell(self, key: WorkKey, seen: RawObject, told: Iterable[Announcement]) -> None:
        resource = resource_of(key.kind)
        regarding = reference_to(resource.api_version, resource.kind, metadata(seen))
        for each in told:
            self._metrics.events.labels(each.type.value).inc()
            self._recorder.emit(regarding, each.type.value, each.reason, each.message)
