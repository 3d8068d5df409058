"""What of a pod decides whether it is given work. Pure.

Gateway and operator both go by it: what the one uses is what the other counts.
Source: docs/design/0011-kubernetes.md, "Rules that both obey".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alise_cluster.resources import RawObject, metadata

_OVER = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class PodState:
    """Of one pod.

    Attributes:
        address: Its IP; empty while it has none.
        phase: As Kubernetes says it; empty where it does not.
        has_ready_condition: Every readiness probe of it is content.
        is_terminating: It is being deleted.
    """

    address: str = ""
    phase: str = ""
    has_ready_condition: bool = False
    is_terminating: bool = False

    @property
    def is_over(self) -> bool:
        """It ran to its end and will serve nothing any more."""
        return self.phase in _OVER

    @property
    def is_leaving(self) -> bool:
        """It will not come back."""
        return self.is_terminating or self.is_over

    @property
    def is_ready(self) -> bool:
        """It runs and can serve."""
        return self.phase == "Running" and self.has_ready_condition

    @property
    def is_endpoint(self) -> bool:
        """Its ports may be given work."""
        return bool(self.address) and self.is_ready and not self.is_leaving


def pod_state(raw: RawObject) -> PodState:
    """Out of the API server's JSON; what is missing or absurd counts as not said."""
    status = raw.get("status")
    said: Mapping[str, Any] = status if isinstance(status, Mapping) else {}
    return PodState(
        address=_text(said.get("podIP")),
        phase=_text(said.get("phase")),
        has_ready_condition=_has_ready_condition(said.get("conditions")),
        is_terminating=metadata(raw).get("deletionTimestamp") is not None,
    )


def endpoint_name(address: str, port: int) -> str:
    """``IP:PORT``, with brackets where the address has colons."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _has_ready_condition(conditions: object) -> bool:
    if not isinstance(conditions, list):
        return False
    found = [item for item in conditions if isinstance(item, Mapping)]
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in found)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
