"""How reading a cluster is going, for metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Watched(StrEnum):
    """What is read from a cluster."""

    MODEL_POOLS = "ModelPool"
    INFERENCE_POOLS = "InferencePool"
    SCHEDULING_POLICIES = "SchedulingPolicy"
    TENANTS = "Tenant"
    PODS = "Pod"
    PEERS = "Peer"
    """Pods of the gateway."""
    SECRETS = "Secret"


@dataclass(frozen=True, slots=True)
class WatchFigures:
    """Of one kind.

    Attributes:
        connected: Everything of it that should be read is current.
        objects: That are known.
        lists: Complete listings so far.
        errors: Failures so far, by what they led to.
        last_contact_unix: When the API server was last heard; 0 for never.
    """

    connected: bool = False
    objects: int = 0
    lists: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    last_contact_unix: float = 0.0


@dataclass(frozen=True, slots=True)
class ClusterFigures:
    """Of a whole cluster.

    Attributes:
        watches: By what is read.
        endpoints: Addresses that can be sent requests, ready or not.
        problems: Objects' faults that were found.
        share_count: Gateways that share the backends.
    """

    watches: Mapping[Watched, WatchFigures] = field(default_factory=dict)
    endpoints: int = 0
    problems: int = 0
    share_count: int = 1
