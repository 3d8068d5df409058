"""The objects of one kind by name, each with the last spec of it that was good.

In: raw objects as the API server sends them, whatever is in them. Out: what changed. An object
whose new spec is wrong keeps the old one in force as long as it is the same object (by uid); one
that was never right has no spec, which counts as absent.

Source: docs/design/0011-kubernetes.md, "Rules that both obey".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar, cast, overload

from alise_core.crds.base import Spec
from alise_core.crds.inference_pool import InferencePoolSpec
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.crds.model_pool import ModelPoolSpec
from alise_core.crds.names import Kind, ObjectKey
from alise_core.crds.scheduling_policy import SchedulingPolicySpec
from alise_core.crds.tenant import TenantSpec
from alise_core.crds.validate import SpecInvalid, parse_spec

S_co = TypeVar("S_co", bound=Spec, covariant=True)
S = TypeVar("S", bound=Spec)

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Stored(Generic[S_co]):
    """One object.

    Attributes:
        namespace: Where it is.
        name: Unique in its namespace.
        uid: Another object of the same name has another one.
        generation: Of its newest spec; 0 where the API server does not say.
        created: ``creationTimestamp``, RFC 3339 in UTC: its order as text is that of time.
        spec: The last good one; ``None`` where there never was any.
        problems: Of the newest spec; empty when that one is in force.
        annotations: As text.
        labels: As text.
        deleted: It has a ``deletionTimestamp``.
        status: As the API server sent it.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    created: str
    spec: S_co | None
    problems: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    deleted: bool = False
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> ObjectKey:
        """Its name in full."""
        return ObjectKey(self.namespace, self.name)

    @property
    def conditions(self) -> tuple[Mapping[str, Any], ...]:
        """``status.conditions``, those that are objects."""
        found = self.status.get("conditions")
        return tuple(item for item in _items(found) if isinstance(item, Mapping))


@dataclass(frozen=True, slots=True)
class Change(Generic[S_co]):
    """What an event did to one object.

    Attributes:
        before: ``None`` where the object is new.
        after: ``None`` where it is gone.
        problem: Why the object could not be taken at all; nothing changed then.
    """

    before: Stored[S_co] | None = None
    after: Stored[S_co] | None = None
    problem: str = ""

    @property
    def spec_changed(self) -> bool:
        """Another spec is in force than before."""
        before = self.before.spec if self.before else None
        return before != (self.after.spec if self.after else None)


class ObjectBook(Generic[S]):
    """All objects of one kind that were seen and not removed."""

    @overload
    def __init__(self: "ObjectBook[ModelPoolSpec]", kind: Literal[Kind.MODEL_POOL]) -> None: ...
    @overload
    def __init__(
        self: "ObjectBook[SchedulingPolicySpec]", kind: Literal[Kind.SCHEDULING_POLICY]
    ) -> None: ...
    @overload
    def __init__(
        self: "ObjectBook[KVCachePolicySpec]", kind: Literal[Kind.KV_CACHE_POLICY]
    ) -> None: ...
    @overload
    def __init__(self: "ObjectBook[TenantSpec]", kind: Literal[Kind.TENANT]) -> None: ...
    @overload
    def __init__(
        self: "ObjectBook[InferencePoolSpec]", kind: Literal[Kind.INFERENCE_POOL]
    ) -> None: ...
    @overload
    def __init__(self: "ObjectBook[Spec]", kind: Kind) -> None: ...
    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._objects: dict[ObjectKey, Stored[S]] = {}

    def put(self, raw_object: object) -> Change[S]:
        """Takes one object as it is now: added or modified."""
        key = _key(raw_object)
        if key is None:
            return Change(problem=f"{self.kind} without metadata.name is ignored")
        before = self._objects.get(key)
        after = self._stored(key, cast("Mapping[str, Any]", raw_object), before)
        self._objects[key] = after
        return Change(before, after)

    def remove(self, which: object) -> Change[S]:
        """Forgets one object: by ``ObjectKey``, by uid, or by the raw object that was deleted."""
        key = self._find(which)
        return Change(before=self._objects.pop(key) if key else None)

    def replace_all(self, raw_objects: Iterable[object]) -> list[Change[S]]:
        """Takes a complete list; what is not in it is gone."""
        raws = list(raw_objects)
        listed = {_key(raw) for raw in raws}
        gone = [self.remove(key) for key in self._objects.keys() - listed]
        return gone + [self.put(raw) for raw in raws]

    def get(self, key: ObjectKey) -> Stored[S] | None:
        """One object by its full name."""
        return self._objects.get(key)

    def items(self) -> tuple[Stored[S], ...]:
        """All of them, by namespace and name."""
        return tuple(self._objects[key] for key in sorted(self._objects))

    def __len__(self) -> int:
        return len(self._objects)

    def _stored(
        self, key: ObjectKey, raw: Mapping[str, Any], before: Stored[S] | None
    ) -> Stored[S]:
        metadata = raw["metadata"]
        uid = _text(metadata.get("uid"))
        problems: tuple[str, ...] = ()
        try:
            spec = cast("S | None", parse_spec(self.kind, raw.get("spec")))
        except SpecInvalid as error:
            problems = error.problems
            spec = before.spec if before and before.uid == uid else None
        generation = metadata.get("generation")
        return Stored(
            namespace=key.namespace,
            name=key.name,
            uid=uid,
            generation=generation if type(generation) is int else 0,
            created=_text(metadata.get("creationTimestamp")),
            spec=spec,
            problems=problems,
            annotations=_texts(metadata.get("annotations")),
            labels=_texts(metadata.get("labels")),
            deleted=metadata.get("deletionTimestamp") is not None,
            status=_mapping(raw.get("status")),
        )

    def _find(self, which: object) -> ObjectKey | None:
        if isinstance(which, str):
            return next((item.key for item in self._objects.values() if item.uid == which), None)
        key = which if isinstance(which, ObjectKey) else _key(which)
        return key if key in self._objects else None


def _key(raw: object) -> ObjectKey | None:
    metadata = _mapping(_mapping(raw).get("metadata"))
    name = _text(metadata.get("name"))
    return ObjectKey(_text(metadata.get("namespace")), name) if name else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else _NOTHING


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> Mapping[str, str]:
    found = _mapping(value).items()
    return {key: item for key, item in found if isinstance(key, str) and isinstance(item, str)}


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []
