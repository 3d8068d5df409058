"""What matters of a pod. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alise_cluster.pods import pod_state
from alise_cluster.resources import RawObject, metadata

_KEPT_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "labels",
    "creationTimestamp",
    "deletionTimestamp",
)
_KEPT_STATUS = ("podIP", "phase")


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod.

    Attributes:
        namespace: Where it is.
        name: Unique there.
        uid: Another pod of the same name has another one.
        created: RFC 3339.
        address: Its IP; empty while it has none.
        labels: As text.
        is_ready: Running, and every readiness probe of it is content.
        is_leaving: It is being deleted, or has run to its end: it will not come back.
    """

    namespace: str
    name: str
    uid: str = ""
    created: str = ""
    address: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    is_ready: bool = False
    is_leaving: bool = False


def trim_pod(raw: RawObject) -> RawObject:
    """The few fields that ``read_pod`` reads: a pod is some kilobytes, of thousands of pods."""
    meta, status = metadata(raw), _mapping(raw.get("status"))
    conditions = status.get("conditions")
    kept: dict[str, Any] = {name: status[name] for name in _KEPT_STATUS if name in status}
    if isinstance(conditions, list):
        kept["conditions"] = [
            {"type": "Ready", "status": item.get("status")}
            for item in conditions
            if isinstance(item, Mapping) and item.get("type") == "Ready"
        ]
    return {
        "metadata": {name: meta[name] for name in _KEPT_METADATA if name in meta},
        "status": kept,
    }


def read_pod(raw: RawObject) -> Pod:
    """Understand a pod; what is missing or absurd counts as not said."""
    meta, state = metadata(raw), pod_state(raw)
    labels = _mapping(meta.get("labels"))
    return Pod(
        namespace=_text(meta.get("namespace")),
        name=_text(meta.get("name")),
        uid=_text(meta.get("uid")),
        created=_text(meta.get("creationTimestamp")),
        address=state.address,
        labels={key: value for key, value in labels.items() if isinstance(value, str)},
        is_ready=state.is_ready,
        is_leaving=state.is_leaving,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
