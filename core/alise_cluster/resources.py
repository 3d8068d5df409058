"""Kinds of objects and their paths: pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from alise_core.crds.names import (
    GROUP,
    INFERENCE_POOL_GROUP,
    INFERENCE_POOL_VERSION,
    PLURALS,
    VERSION,
    Kind,
    ObjectKey,
)

RawObject = Mapping[str, Any]
"""An object as JSON has it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A collection of the API server.

    Attributes:
        group: Empty for the core group.
        version: For example ``v1``.
        plural: As it stands in paths.
        kind: Of its objects.
        namespaced: Its objects live in namespaces.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As ``apiVersion`` has it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """As permissions and ``kubectl`` name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str = ""
    ) -> str:
        """Path of the collection (of one namespace, of all with ``None``), or of one object."""
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if namespace is not None and self.namespaced:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
            if subresource:
                parts.append(subresource)
        return "/" + "/".join(parts)


PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICES = Resource("", "v1", "services", "Service")
EVENTS = Resource("", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")


def resource_of(kind: Kind) -> Resource:
    """The collection of a kind that ALISE reads."""
    if kind is Kind.INFERENCE_POOL:
        group, version = INFERENCE_POOL_GROUP, INFERENCE_POOL_VERSION
    else:
        group, version = GROUP, VERSION
    return Resource(group, version, PLURALS[kind], kind.value)


def metadata(raw: RawObject) -> RawObject:
    """The object's ``metadata``; empty where it is none."""
    found = raw.get("metadata")
    return found if isinstance(found, Mapping) else {}


def key_of(raw: RawObject) -> ObjectKey:
    """Which object it is."""
    meta = metadata(raw)
    return ObjectKey(str(meta.get("namespace", "")), str(meta.get("name", "")))
