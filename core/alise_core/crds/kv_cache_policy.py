"""``KVCachePolicy``: what the tuner may do to a pool's KV cache, and how carefully."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from alise_core.crds.base import Ratio, Seconds, Spec, TargetRef
from alise_core.crds.conditions import Condition
from alise_core.crds.rules import rule
from alise_core.crds.scheduling_policy import PolicyTargetStatus


class TuningMode(StrEnum):
    """How far the tuner goes."""

    RECOMMEND = "Recommend"
    AUTO = "Auto"


class TierLevel(StrEnum):
    """How blocks lie in host memory; from the exact to the smallest."""

    NONE = "none"
    INT8 = "int8"
    INT4 = "int4"


class EvictionPolicy(StrEnum):
    """Which blocks leave a full host tier first."""

    LRU = "lru"
    ARC = "arc"
    EWT = "ewt"


class Platform(StrEnum):
    """What the pods compute on: decides which dtypes are known to work."""

    CUDA_HOPPER = "cuda-hopper"
    CUDA_ADA = "cuda-ada"
    CUDA_AMPERE = "cuda-ampere"
    CUDA_BLACKWELL = "cuda-blackwell"
    ROCM = "rocm"
    CPU = "cpu"


KvCacheDtype = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9_]+$")]


class DtypeSpec(Spec):
    """KV cache dtypes: changing one restarts pods, behind a canary."""

    platform: Platform | None = Field(default=None)
    ladder: tuple[KvCacheDtype, ...] = Field(
        default=("auto",),
        min_length=1,
        max_length=8,
        description="vLLM's --kv-cache-dtype values that may be used, from the exact to the "
        "smallest. The first one is where a pool begins and returns to.",
    )


class ActiveRequestsSpec(Spec):
    """The cap on requests that an engine runs at once."""

    min: int | None = Field(
        default=None, ge=1, le=100_000, description="Not capped below this; never without it."
    )


class HostTierSpec(Spec):
    """KV in host memory (the plugin's tier)."""

    levels: tuple[TierLevel, ...] = Field(
        default=(TierLevel.NONE, TierLevel.INT8), min_length=1, max_length=3
    )
    eviction_policies: tuple[EvictionPolicy, ...] = Field(
        default=(EvictionPolicy.LRU, EvictionPolicy.EWT), min_length=1, max_length=3
    )
    max_bytes: int | None = Field(
        default=None, ge=0, description="The tier may grow to this; its size is left alone without."
    )


class PressureSpec(Spec):
    """When a pool is under pressure, and when it is not any more."""

    high: Ratio = Field(default=0.9)
    low: Ratio = Field(default=0.6)
    window_seconds: Seconds = Field(default=30)
    horizon_seconds: Seconds = Field(default=60)

    @rule("self.low < self.high", field="low", message="must be below high", compared_with="high")
    def marks_ascend(self) -> bool:
        """Between them nothing changes, so that settings do not swing."""
        return self.low < self.high


class PaceSpec(Spec):
    """How often settings may change."""

    cooldown_seconds: Seconds = Field(default=60)
    stabilization_seconds: Seconds = Field(default=600)
    max_changes_per_hour: int = Field(default=6, ge=1, le=60)


class QualityGate(Spec):
    """What a canary must not exceed, compared with a pod that was not changed."""

    max_mean_logprob_loss: float = Field(default=0.02, ge=0, le=10)
    max_kl: float = Field(default=0.02, ge=0, le=10)
    max_itl_ratio: float = Field(default=1.2, ge=1, le=10)
    max_preemption_ratio: float = Field(default=1.0, ge=0, le=10)
    require_prefix_caching: bool = Field(default=True)


class CanarySpec(Spec):
    """One pod first."""

    observe_seconds: Seconds = Field(default=300)
    timeout_seconds: Seconds = Field(default=1_800)
    gate: QualityGate = Field(default=QualityGate())


class RollbackSpec(Spec):
    """After a failed canary."""

    hold_seconds: Seconds = Field(default=3_600)
    max_hold_seconds: float = Field(default=86_400, gt=0, le=604_800)


class KVCachePolicySpec(Spec):
    """See the module."""

    target_refs: tuple[TargetRef, ...] = Field(default=(), max_length=16)
    mode: TuningMode = Field(default=TuningMode.RECOMMEND)
    active_requests: ActiveRequestsSpec = Field(default=ActiveRequestsSpec())
    host_tier: HostTierSpec = Field(default=HostTierSpec())
    dtypes: DtypeSpec = Field(default=DtypeSpec())
    pressure: PressureSpec = Field(default=PressureSpec())
    pace: PaceSpec = Field(default=PaceSpec())
    canary: CanarySpec = Field(default=CanarySpec())
    rollback: RollbackSpec = Field(default=RollbackSpec())


class LastAction(Spec):
    """What was done, or recommended, last."""

    time: datetime
    action: str
    reason: str
    command: str | None = Field(default=None, description="The same by hand.")


class PoolTuningStatus(Spec):
    """How one pool stands."""

    name: str
    rung: str = ""
    pressure: float | None = None
    last_action: LastAction | None = None
    waiting_for: str = Field(default="", description="Why nothing is done now.")


class KVCachePolicyStatus(Spec):
    """What the operator has found out."""

    observed_generation: int = Field(default=0, ge=0)
    conditions: tuple[Condition, ...] = ()
    targets: tuple[PolicyTargetStatus, ...] = ()
    pools: tuple[PoolTuningStatus, ...] = ()
    rung: str = Field(default="", description="Of the pool under most pressure; for the column.")
    pressure: str = Field(default="", description="Of the same pool; for the column.")
    last_action: str = Field(default="", description="For the column.")
