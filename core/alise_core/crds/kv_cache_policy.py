"""``KVCachePolicy``: what the tuner may do to a pool's KV cache, and how carefully."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from alise_core.crds.base import PolicySpec, Ratio, Seconds, Spec, Text, at_most
from alise_core.crds.conditions import CONDITIONS, OBSERVED_GENERATION, Condition
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


class TierSizing(StrEnum):
    """How the size of a host tier is changed."""

    LIVE = "Live"
    RESTART = "Restart"


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


KV_CACHE_DTYPE = r"^[a-z0-9_]+$"
KvCacheDtype = Annotated[str, Field(min_length=1, max_length=64, pattern=KV_CACHE_DTYPE)]

UNQUANTIZED_DTYPES = ("auto", "bfloat16", "float16")


class DtypeSpec(Spec):
    """KV cache dtypes: changing one restarts pods, behind a canary."""

    platform: Platform | None = Field(
        default=None,
        description="What the pods compute on: only dtypes known to work there are used, and only "
        "unquantized ones without it.",
    )
    ladder: tuple[KvCacheDtype, ...] = Field(
        default=("auto",),
        min_length=1,
        max_length=8,
        description="vLLM's --kv-cache-dtype values that may be used, from the exact to the "
        "smallest. The first one is where a pool begins and returns to, so it is unquantized: "
        f"{', '.join(UNQUANTIZED_DTYPES)}.",
    )

    @rule(
        f"self.ladder.size() > 0 && self.ladder[0] in {list(UNQUANTIZED_DTYPES)}",
        field="ladder",
        message=f"must begin with an unquantized dtype: {', '.join(UNQUANTIZED_DTYPES)}",
    )
    def begins_unquantized(self) -> bool:
        """A pool can always return to what loses nothing."""
        return self.ladder[0] in UNQUANTIZED_DTYPES

    @rule(
        "self.ladder.all(a, self.ladder.exists_one(b, b == a))",
        field="ladder",
        message="must name each dtype once",
    )
    def rungs_are_distinct(self) -> bool:
        """A ladder that returns to a rung has no up and down."""
        return len(set(self.ladder)) == len(self.ladder)


class ActiveRequestsSpec(Spec):
    """The cap on requests that an engine runs at once."""

    min: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Requests that every engine may always run at once; the cap is not set below "
        "it, and never set without it.",
    )


class HostTierSpec(Spec):
    """KV in host memory (the plugin's tier)."""

    levels: tuple[TierLevel, ...] = Field(
        default=(TierLevel.NONE, TierLevel.INT8),
        min_length=1,
        max_length=3,
        description="How blocks may lie in host memory, from the exact to the smallest; the first "
        "is where a pool begins and returns to.",
    )
    eviction_policies: tuple[EvictionPolicy, ...] = Field(
        default=(EvictionPolicy.LRU, EvictionPolicy.EWT),
        min_length=1,
        max_length=3,
        description="Which ways to choose what leaves a full tier may be used; the first is where "
        "a pool begins and returns to. ewt: the longest expected wait leaves first.",
    )
    max_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Bytes of one pod's host memory to which its tier may grow; the size is left "
        "alone without it.",
    )
    sizing: TierSizing = Field(
        default=TierSizing.LIVE,
        description="Live: the size is changed while running; the pods' memory has to hold "
        "maxBytes. Restart: it is changed where pods are started from, together with their memory, "
        "one pod first.",
    )

    @rule(
        "self.levels.all(a, self.levels.exists_one(b, b == a))",
        field="levels",
        message="must name each level once",
    )
    def levels_are_distinct(self) -> bool:
        """As for dtypes."""
        return len(set(self.levels)) == len(self.levels)

    @rule(
        "self.evictionPolicies.all(a, self.evictionPolicies.exists_one(b, b == a))",
        field="evictionPolicies",
        message="must name each eviction policy once",
    )
    def eviction_policies_are_distinct(self) -> bool:
        """As for dtypes."""
        return len(set(self.eviction_policies)) == len(self.eviction_policies)


class PressureSpec(Spec):
    """When a pool is under pressure, and when it is not any more."""

    high: Ratio = Field(
        default=0.9,
        description="KV usage of a pool, present or predicted, as part of its capacity, above "
        "which memory is made.",
    )
    low: Ratio = Field(
        default=0.6,
        description="The same, below which exactness is given back. Between low and high nothing "
        "changes.",
    )
    window_seconds: Seconds = Field(
        default=30, description="Seconds over which measurements are averaged."
    )
    horizon_seconds: Seconds = Field(
        default=60, description="Seconds ahead for which usage is predicted from its slope."
    )

    @rule("self.low < self.high", field="low", message="must be below high", compared_with="high")
    def marks_ascend(self) -> bool:
        """Between them nothing changes, so that settings do not swing."""
        return self.low < self.high


class PaceSpec(Spec):
    """How often settings may change."""

    cooldown_seconds: Seconds = Field(
        default=60, description="Seconds after any change of a pool in which nothing else changes."
    )
    stabilization_seconds: Seconds = Field(
        default=600,
        description="Seconds for which a setting that was turned one way is not turned back; six "
        "times as long for what restarts pods.",
    )
    max_changes_per_hour: int = Field(
        default=6,
        ge=1,
        le=60,
        description="Changes of one pool within an hour; half of them at most give exactness back.",
    )


class QualityGate(Spec):
    """What a canary must not exceed, compared with a pod that was not changed."""

    max_mean_logprob_loss: float = Field(
        default=0.02,
        ge=0,
        le=10,
        description="How much lower the mean log-probability of fixed probe texts may be, in nats "
        "per token.",
    )
    max_kl: float = Field(
        default=0.02,
        ge=0,
        le=10,
        description="Mean divergence of the answers' token distributions, in nats.",
    )
    max_itl_ratio: float = Field(
        default=1.2,
        ge=1,
        le=10,
        description="Time between two tokens, as a multiple of the unchanged pod's.",
    )
    max_preemption_ratio: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="Preemptions per finished request, as a multiple of the unchanged pod's.",
    )
    require_prefix_caching: bool = Field(
        default=True,
        description="Whether the canary must still cache prefixes where the unchanged pod does.",
    )


class CanarySpec(Spec):
    """One pod first."""

    observe_seconds: Seconds = Field(
        default=300, description="Seconds for which the canary is watched under load."
    )
    timeout_seconds: Seconds = Field(
        default=1_800,
        description="Seconds after which a canary that could not be judged is rolled back. Not "
        "below observeSeconds.",
    )
    gate: QualityGate = Field(
        default=QualityGate(),
        description="What the canary must not exceed, compared with a pod that was not changed.",
    )

    @rule(
        "self.timeoutSeconds >= self.observeSeconds",
        field="timeoutSeconds",
        message="must not be below observeSeconds",
        compared_with="observeSeconds",
    )
    def can_be_judged_in_time(self) -> bool:
        """Otherwise no canary ever passes."""
        return self.timeout_seconds >= self.observe_seconds


class RollbackSpec(Spec):
    """After a failed canary."""

    hold_seconds: Seconds = Field(
        default=3_600,
        description="Seconds for which a setting whose canary failed is not tried again; doubled "
        "with every further failure.",
    )
    max_hold_seconds: float = Field(
        default=86_400,
        gt=0,
        le=604_800,
        description="Seconds beyond which that time does not grow. Not below holdSeconds.",
    )

    @rule(
        "self.maxHoldSeconds >= self.holdSeconds",
        field="maxHoldSeconds",
        message="must not be below holdSeconds",
        compared_with="holdSeconds",
    )
    def hold_is_bounded(self) -> bool:
        """The bound cannot be below what it bounds."""
        return self.max_hold_seconds >= self.hold_seconds


class KVCachePolicySpec(PolicySpec):
    """What the tuner may change in the pools, when, and how carefully."""

    mode: TuningMode = Field(
        default=TuningMode.RECOMMEND,
        description="Recommend: say what would be done, change nothing. Auto: do it.",
    )
    active_requests: ActiveRequestsSpec = Field(
        default=ActiveRequestsSpec(),
        description="The cap on requests that an engine runs at once; changed while running.",
    )
    host_tier: HostTierSpec = Field(
        default=HostTierSpec(),
        description="KV in host memory (the plugin's tier); levels and eviction are changed while "
        "running.",
    )
    dtypes: DtypeSpec = Field(
        default=DtypeSpec(),
        description="KV cache dtypes; changing one restarts pods, behind a canary.",
    )
    pressure: PressureSpec = Field(
        default=PressureSpec(),
        description="When a pool is under pressure, and when it is not any more.",
    )
    pace: PaceSpec = Field(default=PaceSpec(), description="How often settings may change.")
    canary: CanarySpec = Field(
        default=CanarySpec(), description="How a change that restarts pods is tried on one of them."
    )
    rollback: RollbackSpec = Field(
        default=RollbackSpec(), description="What follows when a canary has failed."
    )


class LastAction(Spec):
    """What was done, or recommended, last."""

    time: datetime = Field(description="When.")
    action: Text = Field(description="What.")
    reason: Text = Field(description="Why, with the figures.")
    command: Text | None = Field(default=None, description="The same by hand.")


class PoolTuningStatus(Spec):
    """How one pool stands."""

    name: Text = Field(description="Name of the pool.")
    rung: Text = Field(default="", description="The settings that hold now.")
    pressure: float | None = Field(
        default=None, description="Predicted and present KV usage, as part of the capacity."
    )
    last_action: LastAction | None = Field(
        default=None, description="What was done, or recommended, last."
    )
    waiting_for: Text = Field(default="", description="Why nothing is done now.")
    decision: Text = Field(default="", description="What was decided last, and the figures behind.")
    considered: Annotated[tuple[Text, ...], at_most(16)] = Field(
        default=(), max_length=16, description="What could be changed and was not, and why."
    )
    notes: Annotated[tuple[Text, ...], at_most(16)] = Field(
        default=(), max_length=16, description="Figures that are missing or not trusted."
    )
    wanted_replicas: int = Field(
        default=0, ge=0, description="Replicas that are asked for; 0 while none are."
    )
    memory: Annotated[str, at_most(16_384)] = Field(
        default="",
        max_length=16_384,
        description="What the tuner goes on from after a restart of the operator, in its own "
        "notation: nothing to rely on.",
    )


class KVCachePolicyStatus(Spec):
    """What the operator has found out."""

    observed_generation: int = OBSERVED_GENERATION
    conditions: tuple[Condition, ...] = CONDITIONS
    targets: Annotated[tuple[PolicyTargetStatus, ...], at_most(256)] = Field(
        default=(), max_length=256, description="The pools that this policy is for."
    )
    pools: Annotated[tuple[PoolTuningStatus, ...], at_most(256)] = Field(
        default=(), max_length=256, description="How the pools stand that it governs."
    )
    rung: Text = Field(
        default="", description="Settings of the pool under most pressure, for people."
    )
    pressure: Text = Field(default="", description="Pressure of the same pool, for people.")
    last_action: Text = Field(
        default="", description="What was done, or recommended, last in any pool, for people."
    )
