"""The state of a fake Kubernetes API server: objects, versions, history. Pure.

What is imitated as the real one does it (``e2e/cluster`` has a real one): one version counter for
everything; create, replace and merge-patch with conflicts; the status subresource; generations;
selectors; listings in pages out of one snapshot; a history that watches read and that can be
compacted. What is not: schemas, defaults, admission, finalizers, managed fields.
"""

import copy
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Raw = dict[str, Any]
Path = tuple[str, str, str]
"""Group, version, plural."""


class Refused(Exception):
    """What the server answers instead: becomes a ``Status``."""

    def __init__(
        self, code: int, reason: str, message: str, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.headers = {} if retry_after is None else {"retry-after": str(retry_after)}

    def status(self) -> Raw:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }


@dataclass(frozen=True)
class Served:
    """A collection that the server has."""

    group: str
    version: str
    plural: str
    kind: str
    has_status: bool = True

    @property
    def path(self) -> Path:
        return (self.group, self.version, self.plural)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True)
class Entry:
    """One line of the history."""

    version: int
    path: Path
    type: str
    object: Raw
    before: Raw | None


@dataclass(frozen=True)
class Chosen:
    """Which objects of a collection."""

    namespace: str | None = None
    labels: str = ""
    fields: str = ""

    def holds(self, raw: Raw) -> bool:
        meta = raw["metadata"]
        if self.namespace is not None and meta.get("namespace") != self.namespace:
            return False
        labels = meta.get("labels") or {}
        if not all(_label_holds(term, labels) for term in _terms(self.labels)):
            return False
        return all(_field_holds(term, raw) for term in _terms(self.fields))


def _terms(selector: str) -> list[str]:
    return [term.strip() for term in selector.split(",") if term.strip()]


def _label_holds(term: str, labels: Mapping[str, str]) -> bool:
    if "!=" in term:
        name, _, value = term.partition("!=")
        return labels.get(name.strip()) != value.strip()
    if "=" in term:
        name, _, value = term.replace("==", "=").partition("=")
        return labels.get(name.strip()) == value.strip()
    return term[1:] not in labels if term.startswith("!") else term in labels


def _field_holds(term: str, raw: Raw) -> bool:
    name, _, value = term.partition("=")
    found: Any = raw
    for part in name.strip().split("."):
        found = found.get(part, {}) if isinstance(found, dict) else {}
    return bool(found == value.strip())


class Store:
    """Every object, by collection."""

    def __init__(self) -> None:
        self.version = 100
        self.oldest_version = 100
        """Watches that begin before this are answered 410."""
        self.served: dict[Path, Served] = {}
        self.history: list[Entry] = []
        self._objects: dict[Path, dict[tuple[str, str], Raw]] = {}
        self._snapshots: dict[str, tuple[int, list[Raw]]] = {}
        self.on_entry: Callable[[Entry], None] = lambda entry: None

    def serve(self, served: Served) -> None:
        """Have a collection, as after its CRD was installed."""
        self.served[served.path] = served
        self._objects.setdefault(served.path, {})

    def stop_serving(self, path: Path) -> None:
        """Have it no more; its objects are gone without a word."""
        self.served.pop(path, None)
        self._objects.pop(path, None)

    def collection(self, path: Path) -> Served:
        found = self.served.get(path)
        if found is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        return found

    def get(self, path: Path, namespace: str, name: str) -> Raw:
        found = self._objects[self.collection(path).path].get((namespace, name))
        if found is None:
            raise Refused(404, "NotFound", f'{self.served[path].full_name} "{name}" not found')
        return found

    def select(self, path: Path, chosen: Chosen) -> list[Raw]:
        objects = self._objects[self.collection(path).path]
        return [raw for _, raw in sorted(objects.items()) if chosen.holds(raw)]

    def page(self, path: Path, chosen: Chosen, limit: int, token: str) -> Raw:
        """A listing or a part of it; the parts of one listing are of one version."""
        if token:
            found = self._snapshots.pop(token, None)
            if found is None:
                raise Refused(410, "Expired", "The provided continue parameter is too old")
            version, left = found
        else:
            version, left = self.version, self.select(path, chosen)
        meta: Raw = {"resourceVersion": str(version)}
        if limit and len(left) > limit:
            proceed = uuid.uuid4().hex
            self._snapshots[proceed] = (version, left[limit:])
            meta |= {"continue": proceed, "remainingItemCount": len(left) - limit}
            left = left[:limit]
        served = self.served[path]
        # Items of listings carry neither kind nor apiVersion.
        items = [
            {name: value for name, value in raw.items() if name not in {"kind", "apiVersion"}}
            for raw in left
        ]
        return {
            "kind": f"{served.kind}List",
            "apiVersion": served.api_version,
            "metadata": meta,
            "items": items,
        }

    def create(self, path: Path, namespace: str, raw: Raw) -> Raw:
        served = self.collection(path)
        raw = copy.deepcopy(raw)
        meta = raw.setdefault("metadata", {})
        name = meta.get("name") or meta.get("generateName", "") + uuid.uuid4().hex[:5]
        if (namespace, name) in self._objects[path]:
            raise Refused(409, "AlreadyExists", f'{served.full_name} "{name}" already exists')
        raw |= {"apiVersion": served.api_version, "kind": served.kind}
        meta |= {"name": name, "namespace": namespace, "generation": 1}
        meta.setdefault("uid", str(uuid.uuid4()))
        meta.setdefault(
            "creationTimestamp",
            f"2026-01-01T00:{self.version % 3600 // 60:02d}:{self.version % 60:02d}Z",
        )
        return self._put(path, "ADDED", raw, None)

    def replace(self, path: Path, namespace: str, name: str, raw: Raw, subresource: str) -> Raw:
        before = self.get(path, namespace, name)
        self._check_version(path, before, raw.get("metadata") or {})
        return self._change(path, before, copy.deepcopy(raw), subresource)

    def merge(self, path: Path, namespace: str, name: str, patch: Raw, subresource: str) -> Raw:
        before = self.get(path, namespace, name)
        self._check_version(path, before, patch.get("metadata") or {})
        return self._change(path, before, merged(before, patch), subresource)

    def upsert(self, path: Path, namespace: str, raw: Raw) -> Raw:
        """Put an object there as it is, status included; what is not said of it stays."""
        name = raw["metadata"]["name"]
        before = self._objects[self.collection(path).path].get((namespace, name))
        if before is None:
            return self.create(path, namespace, raw)
        changed = copy.deepcopy(before)
        changed["metadata"] |= copy.deepcopy(raw["metadata"])
        changed |= {k: copy.deepcopy(v) for k, v in raw.items() if k != "metadata"}
        if changed.get("spec") != before.get("spec"):
            changed["metadata"]["generation"] += 1
        return before if changed == before else self._put(path, "MODIFIED", changed, before)

    def delete(self, path: Path, namespace: str, name: str) -> Raw:
        before = self.get(path, namespace, name)
        del self._objects[path][namespace, name]
        self.version += 1
        last = copy.deepcopy(before)
        last["metadata"]["resourceVersion"] = str(self.version)
        self._note(Entry(self.version, path, "DELETED", last, before))
        return last

    def compact(self) -> None:
        """Forget the history and every listing that is not read to its end."""
        self.oldest_version = self.version
        self.history.clear()
        self._snapshots.clear()

    def touch(self) -> int:
        """A newer version, as other collections' changes make it."""
        self.version += 1
        return self.version

    def since(self, version: int, path: Path, chosen: Chosen) -> Iterator[tuple[str, Raw]]:
        """The events of a watch that begins after a version."""
        for entry in self.history:
            if entry.version > version and entry.path == path:
                event = event_for(entry, chosen)
                if event is not None:
                    yield event

    def _change(self, path: Path, before: Raw, raw: Raw, subresource: str) -> Raw:
        served = self.collection(path)
        changed = copy.deepcopy(before)
        if subresource == "status":
            changed["status"] = raw.get("status", {})
        else:
            kept = before.get("status") if served.has_status else raw.get("status")
            changed = {**raw, "kind": before["kind"], "apiVersion": before["apiVersion"]}
            if kept is not None:
                changed["status"] = kept
            for field in ("name", "namespace", "uid", "creationTimestamp", "generation"):
                changed["metadata"][field] = before["metadata"][field]
            if changed.get("spec") != before.get("spec"):
                changed["metadata"]["generation"] += 1
        changed["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
        if changed == before:
            return before
        return self._put(path, "MODIFIED", changed, before)

    def _put(self, path: Path, type_: str, raw: Raw, before: Raw | None) -> Raw:
        self.version += 1
        meta = raw["metadata"]
        meta["resourceVersion"] = str(self.version)
        self._objects[path][meta["namespace"], meta["name"]] = raw
        self._note(Entry(self.version, path, type_, raw, before))
        return raw

    def _note(self, entry: Entry) -> None:
        self.history.append(entry)
        self.on_entry(entry)

    def _check_version(self, path: Path, before: Raw, meta: Raw) -> None:
        full_name, name = self.served[path].full_name, before["metadata"]["name"]
        for field in ("resourceVersion", "uid"):
            if meta.get(field) not in {None, before["metadata"][field]}:
                raise Refused(
                    409,
                    "Conflict",
                    f'Operation cannot be fulfilled on {full_name} "{name}": the object has been '
                    "modified; please apply your changes to the latest version and try again",
                )


def event_for(entry: Entry, chosen: Chosen) -> tuple[str, Raw] | None:
    """What a watch is told: objects come into a selection and leave it too."""
    was = entry.before is not None and chosen.holds(entry.before)
    holds = entry.type != "DELETED" and chosen.holds(entry.object)
    if holds:
        return ("MODIFIED" if was else "ADDED"), entry.object
    return ("DELETED", entry.object) if was else None


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
