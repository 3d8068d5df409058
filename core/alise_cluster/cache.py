"""A copy of a collection: listings and watch events in, differences out. Pure.

::

    listing  -> replace: ADDED, MODIFIED and DELETED for what differs, nothing for what does not
    event    -> apply:   one difference, or none where it says what is known already

An object that was deleted and made anew under the same name (another uid) is DELETED, then ADDED:
who holds something for an object must not take the new one for the old.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from alise_cluster.resources import RawObject, key_of, metadata
from alise_core.crds.names import ObjectKey


class ChangeKind(StrEnum):
    """What became of an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        kind: What became of it.
        key: Which object.
        object: As it is now; as it was last, where it was deleted.
        before: As it was; ``None`` where it is new.
    """

    kind: ChangeKind
    key: ObjectKey
    object: RawObject
    before: RawObject | None = None


def keep_all(raw: RawObject) -> RawObject:
    """Trims nothing."""
    return raw


class ObjectCache:
    """The objects of one collection, by name.

    Args:
        trim: Makes an object smaller before it is kept; must leave ``metadata``'s name, namespace,
            uid and resourceVersion.
    """

    def __init__(self, trim: Callable[[RawObject], RawObject] = keep_all) -> None:
        self._trim = trim
        self._objects: dict[ObjectKey, RawObject] = {}

    @property
    def objects(self) -> Mapping[ObjectKey, RawObject]:
        """Everything there is; live, not to be changed."""
        return self._objects

    def trimmed(self, raws: Iterable[RawObject]) -> list[RawObject]:
        """What ``replace`` takes, out of one page of a listing."""
        return [self._trim(raw) for raw in raws]

    def replace(self, listing: Iterable[RawObject]) -> list[Change]:
        """Take over a complete listing of trimmed objects."""
        found = {key_of(raw): raw for raw in listing}
        changes = [
            Change(ChangeKind.DELETED, key, raw, raw)
            for key, raw in self._objects.items()
            if key not in found
        ]
        for change in changes:
            del self._objects[change.key]
        for key, raw in found.items():
            changes += self._put(key, raw)
        return changes

    def apply(self, kind: str, raw: RawObject) -> list[Change]:
        """Take over one watch event of type ADDED, MODIFIED or DELETED; others change nothing."""
        key = key_of(raw)
        if kind == ChangeKind.DELETED:
            before = self._objects.pop(key, None)
            return [] if before is None else [Change(ChangeKind.DELETED, key, before, before)]
        if kind not in {ChangeKind.ADDED, ChangeKind.MODIFIED}:
            return []
        return self._put(key, self._trim(raw))

    def _put(self, key: ObjectKey, raw: RawObject) -> list[Change]:
        before = self._objects.get(key)
        self._objects[key] = raw
        if before is None:
            return [Change(ChangeKind.ADDED, key, raw)]
        old, new = metadata(before), metadata(raw)
        if old.get("uid") != new.get("uid"):
            return [
                Change(ChangeKind.DELETED, key, before, before),
                Change(ChangeKind.ADDED, key, raw),
            ]
        if old.get("resourceVersion") == new.get("resourceVersion"):
            return []
        return [Change(ChangeKind.MODIFIED, key, raw, before)]
