"""Which Events are worth telling: repeated ones are counted, floods are thinned. Pure.

An Event that was told already within ``FORGET_SECONDS`` gets a higher count instead of a new
object. Each object and reason has a bucket of ``BURST`` tellings that fills up again slowly; what
finds it empty is dropped.

Source: client-go ``tools/record/events_cache.go``.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alise_cluster.leases import micro_time
from alise_cluster.resources import EVENTS, RawObject, metadata

FORGET_SECONDS = 600.0
BURST = 25.0
REFILL_PER_SECOND = 1 / 60
_MOST_REMEMBERED = 2_048
_MOST_MESSAGE_CHARS = 1_024
"""The API server refuses more."""


@dataclass(frozen=True, slots=True)
class EventKey:
    """What makes two Events the same."""

    uid: str
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class _Told:
    name: str
    count: int
    first_unix: float
    at: float


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(frozen=True, slots=True)
class NewEvent:
    """To be created."""

    namespace: str
    body: RawObject


@dataclass(frozen=True, slots=True)
class RepeatedEvent:
    """To be patched; created anew where it is gone."""

    namespace: str
    name: str
    patch: RawObject
    body: RawObject


class EventBook:
    """Remembers what was told.

    Args:
        component: Who tells: ``alise-operator``.
        instance: Which of them: the pod's name.
    """

    def __init__(self, component: str, instance: str) -> None:
        self._component = component
        self._instance = instance
        self._told: OrderedDict[EventKey, _Told] = OrderedDict()
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._serial = 0

    def tell(
        self, regarding: RawObject, type_: str, reason: str, message: str, now: float, unix: float
    ) -> NewEvent | RepeatedEvent | None:
        """What to send for an Event; ``None`` for nothing.

        Args:
            regarding: The object that it is about.
            type_: ``Normal`` or ``Warning``.
            reason: One word in CamelCase.
            message: For people; cut.
            now: Monotonic seconds.
            unix: Seconds since the epoch.
        """
        meta = metadata(regarding)
        message = message[:_MOST_MESSAGE_CHARS]
        key = EventKey(str(meta.get("uid", "")), type_, reason, message)
        if not self._may_tell((key.uid, reason), now):
            return None
        told = self._told.pop(key, None)
        repeated = told is not None and now - told.at < FORGET_SECONDS
        if told is None or not repeated:
            told = _Told(self._name(regarding, unix), 0, unix, now)
        told.count, told.at = told.count + 1, now
        self._told[key] = told
        _limit(self._told)
        namespace = str(meta.get("namespace") or "default")
        body = self._body(regarding, key, told, namespace, unix)
        if not repeated:
            return NewEvent(namespace, body)
        patch = {name: body[name] for name in ("count", "lastTimestamp", "message")}
        return RepeatedEvent(namespace, told.name, patch, body)

    def _may_tell(self, key: tuple[str, str], now: float) -> bool:
        bucket = self._buckets.pop(key, None) or _Bucket(BURST, now)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) * REFILL_PER_SECOND)
        bucket.at = now
        self._buckets[key] = bucket
        _limit(self._buckets)
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True

    def _name(self, regarding: RawObject, unix: float) -> str:
        # As the official clients do: the object's name and a number that does not come again.
        self._serial += 1
        name = str(metadata(regarding).get("name", "unknown"))[:200]
        return f"{name}.{int(unix * 1e6):x}{self._serial:x}"

    def _body(
        self, regarding: RawObject, key: EventKey, told: _Told, namespace: str, unix: float
    ) -> dict[str, Any]:
        meta = metadata(regarding)
        reference = {
            "apiVersion": regarding.get("apiVersion"),
            "kind": regarding.get("kind"),
            "namespace": meta.get("namespace"),
            "name": meta.get("name"),
            "uid": meta.get("uid"),
        }
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"namespace": namespace, "name": told.name},
            "involvedObject": {field: value for field, value in reference.items() if value},
            "type": key.type,
            "reason": key.reason,
            "message": key.message,
            "count": told.count,
            "firstTimestamp": _second(told.first_unix),
            "lastTimestamp": _second(unix),
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }


def _second(unix: float) -> str:
    return micro_time(unix).partition(".")[0] + "Z"


def _limit(remembered: OrderedDict[Any, Any]) -> None:
    while len(remembered) > _MOST_REMEMBERED:
        remembered.popitem(last=False)


def reference_to(api_version: str, kind: str, meta: Mapping[str, Any]) -> RawObject:
    """Enough of an object to tell an Event about it: items of listings lack kind and version."""
    return {"apiVersion": api_version, "kind": kind, "metadata": meta}
