"""What the tuner sets: one value per knob, for a pool. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

Value = int | str | None
"""Of a knob; ``None`` where it cannot be turned or is not known."""


class Knob(StrEnum):
    """What can be turned, from cheap to dear. A name is also a field of ``PoolSettings``."""

    ACTIVE_REQUESTS = "active_requests"
    EVICTION = "eviction"
    LEVEL = "level"
    TIER_BYTES = "tier_bytes"
    DTYPE = "dtype"
    REPLICAS = "replicas"


HOT = (Knob.ACTIVE_REQUESTS, Knob.EVICTION, Knob.LEVEL, Knob.TIER_BYTES)
"""Changed in a running engine; ``DTYPE`` restarts pods, ``REPLICAS`` is only asked for."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """One value per knob.

    Attributes:
        active_requests: Most requests that one engine runs at once, where its KV cache has the
            first dtype of the ladder; a pod with a smaller dtype gets more in proportion.
        eviction: Which blocks leave a full host tier first.
        level: How blocks lie in the host tier.
        tier_bytes: Host memory of the tier, per pod.
        dtype: vLLM's ``--kv-cache-dtype``.
        replicas: Pods that are asked for; ``None`` asks for nothing.
    """

    active_requests: int | None = None
    eviction: str | None = None
    level: str | None = None
    tier_bytes: int | None = None
    dtype: str | None = None
    replicas: int | None = None

    def value(self, knob: Knob) -> Value:
        """Of one knob."""
        found: Value = getattr(self, knob)
        return found

    def having(self, knob: Knob, value: Value) -> "PoolSettings":
        """The same with one knob turned."""
        return replace(self, **{str(knob): value})  # type: ignore[arg-type]

    def as_json(self) -> dict[str, Value]:
        """What is known, by name."""
        return {str(knob): self.value(knob) for knob in Knob if self.value(knob) is not None}


def settings_of(raw: object) -> PoolSettings:
    """Read back what ``as_json`` gave; what is no such thing is left out."""
    if not isinstance(raw, Mapping):
        return PoolSettings()
    numbers = {Knob.ACTIVE_REQUESTS, Knob.TIER_BYTES, Knob.REPLICAS}
    found: dict[str, Value] = {}
    for knob in Knob:
        value = raw.get(str(knob))
        wanted = int if knob in numbers else str
        if isinstance(value, wanted) and not isinstance(value, bool):
            found[str(knob)] = value
    return PoolSettings(**found)  # type: ignore[arg-type]
