"""Who holds a Lease, and what to do about it: pure.

The holder's clock is never compared with ours. What counts is when *we* last saw the record change:
a record that has not changed for its whole duration, by our own clock, has no holder any more. So
clocks may differ by any amount, as long as they run at about the same speed.

Source: client-go ``tools/leaderelection``; its ``LeaseLock`` is what we are compatible with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from alise_cluster.resources import LEASES, RawObject, metadata


@dataclass(frozen=True, slots=True)
class LeaseDurations:
    """How fast a new holder is found, against how much an API server's hiccup matters.

    Attributes:
        lease_seconds: Without a sign of the holder for this long, others may take over.
        renew_seconds: A holder that could not renew for this long steps down; well below the above.
        retry_seconds: Between two attempts.

    Raises:
        ValueError: They do not descend.
    """

    lease_seconds: float = 15.0
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease_seconds > self.renew_seconds > self.retry_seconds > 0:
            raise ValueError("lease_seconds > renew_seconds > retry_seconds > 0 must hold")


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says.

    Attributes:
        holder: Identity; empty when it was released.
        lease_seconds: As its holder wrote it.
        acquired: As its holder wrote it; a text, because it is only copied.
        renewed: As its holder wrote it; a text, because only its change means something.
        transitions: Changes of the holder.
        version: Of the object; a write with an older one is refused.
    """

    holder: str = ""
    lease_seconds: float = 0.0
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0
    version: str = ""


class Step(StrEnum):
    """What to do with a Lease now."""

    CREATE = "create"
    ACQUIRE = "acquire"
    """Nobody holds it, or its holder has fallen silent."""
    RENEW = "renew"
    """It is ours."""
    WAIT = "wait"


class LeaseMemory:
    """What was seen of a Lease, and when."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self._seen_at = float("-inf")

    def see(self, record: LeaseRecord | None, now: float) -> None:
        """Note what the Lease says (``None``: there is none) at our monotonic time ``now``."""
        if record is None or self.record is None or _sign(record) != _sign(self.record):
            self._seen_at = now
        self.record = record

    def next_step(self, identity: str, now: float) -> Step:
        """What ``identity`` should do."""
        record = self.record
        if record is None:
            return Step.CREATE
        if record.holder == identity:
            return Step.RENEW
        if not record.holder or now >= self._seen_at + record.lease_seconds:
            return Step.ACQUIRE
        return Step.WAIT


def _sign(record: LeaseRecord) -> tuple[str, str, str]:
    return (record.holder, record.renewed, record.acquired)


def read_lease(raw: RawObject) -> LeaseRecord:
    """Understand a Lease; whatever is missing or absurd counts as not said."""
    spec = raw.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    return LeaseRecord(
        holder=_text(spec, "holderIdentity"),
        lease_seconds=float(_count(spec, "leaseDurationSeconds")),
        acquired=_text(spec, "acquireTime"),
        renewed=_text(spec, "renewTime"),
        transitions=_count(spec, "leaseTransitions"),
        version=_text(metadata(raw), "resourceVersion"),
    )


def write_lease(
    namespace: str, name: str, step: Step, memory: LeaseMemory, claim: LeaseRecord
) -> RawObject:
    """The object that puts ``claim`` into force.

    Args:
        namespace: Of the Lease.
        name: Of the Lease.
        step: Why it is written.
        memory: What it said before.
        claim: Holder, duration and times; transitions and version come from ``memory``.
    """
    before = memory.record or LeaseRecord()
    changes_hands = step is Step.ACQUIRE
    meta: dict[str, Any] = {"namespace": namespace, "name": name}
    if before.version:
        meta["resourceVersion"] = before.version
    spec: dict[str, Any] = {
        "holderIdentity": claim.holder,
        "leaseDurationSeconds": max(1, round(claim.lease_seconds)),
        "acquireTime": before.acquired if step is Step.RENEW else claim.acquired,
        "renewTime": claim.renewed,
        "leaseTransitions": before.transitions + (1 if changes_hands else 0),
    }
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": meta,
        "spec": {name: value for name, value in spec.items() if value != ""},
    }


def micro_time(unix: float) -> str:
    """A moment as ``metav1.MicroTime`` has it."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _text(fields: RawObject, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _count(fields: RawObject, name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
