"""What is compared: settings that never change, the tuner, and a tuner that knows what comes."""

from dataclasses import dataclass, field
from enum import StrEnum

from alise_bench.tuner.profiles import TIER_BYTES
from alise_core.crds.kv_cache_policy import KVCachePolicySpec


class Control(StrEnum):
    """Who changes settings."""

    NOBODY = "nobody"
    TUNER = "tuner"
    ALONE = "alone"
    """The tuner, without the gateways' predicted demand."""
    ORACLE = "oracle"
    """The tuner, told the largest need of the next three hours."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a pod starts with.

    Attributes:
        dtype: Of the KV cache.
        level: Of the host tier; ``None`` is no tier.
        eviction: Of the host tier.
        tier_bytes: Of the host tier.
    """

    dtype: str = "auto"
    level: str | None = None
    eviction: str = "lru"
    tier_bytes: int = TIER_BYTES


@dataclass(frozen=True, slots=True)
class Row:
    """One way to run the pool."""

    name: str
    summary: str
    start: Start = field(default_factory=Start)
    control: Control = Control.NOBODY


BASELINE = "static auto"
TUNER = "tuner"
ORACLE = "oracle"
_WITH_TIER = Start(level="none")

ROWS = (
    Row(BASELINE, "exact KV, no host tier"),
    Row("static fp8", "fp8 KV, no host tier", Start(dtype="fp8")),
    Row("static int8 tier", "exact KV, host tier at int8", Start(level="int8")),
    Row(
        "all at max",
        "fp8 KV, host tier at int4, twice the size, evicting by expected wait",
        Start("fp8", "int4", "ewt", 2 * TIER_BYTES),
    ),
    Row(TUNER, "begins with exact KV and an exact tier", _WITH_TIER, Control.TUNER),
    Row(
        "tuner, no demand",
        "the same where no gateway is heard: what comes is seen in the slope of usage",
        _WITH_TIER,
        Control.ALONE,
    ),
    Row(
        ORACLE,
        "the tuner, told the largest need of the next three hours",
        _WITH_TIER,
        Control.ORACLE,
    ),
)

SPEC = KVCachePolicySpec.model_validate(
    {
        "mode": "Auto",
        "activeRequests": {"min": 8},
        "hostTier": {
            "levels": ["none", "int8", "int4"],
            "evictionPolicies": ["lru", "ewt"],
            "maxBytes": 2 * TIER_BYTES,
        },
        "dtypes": {"platform": "cuda-hopper", "ladder": ["auto", "fp8"]},
    }
)
"""The policy of the tuner's rows: everything allowed, all paces and marks as they ship."""
