"""What the tuner knows of a pool at one moment: frozen figures, each with its age. Pure.

``window`` fills in what comes from an engine's metrics, the shell the rest. A figure that is not
known is ``None``, never a zero: the tuner acts on nothing that it has not seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class DoubtKind(StrEnum):
    """Why a pod's figures are not acted on."""

    MISSING = "missing"
    STALE = "stale"
    RESTARTED = "restarted"
    GAPS = "gaps"
    CONTRADICTORY = "contradictory"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Doubt:
    """One reason not to trust a pod's figures; the text names figure and value."""

    kind: DoubtKind
    text: str


@dataclass(frozen=True, slots=True)
class PluginObserved:
    """What the engine plugin shows of one pod; rates are per second over the window.

    Attributes:
        age_seconds: Since it was read.
        active_requests: The cap in force; ``None`` without the plugin's scheduler.
        slots: The engine's own limit (``--max-num-seqs``).
        level: Of the host tier; ``None`` without a tier.
        eviction: Of the host tier.
        tier_bytes: Of the host tier.
        used_ratio: Share of the tier that holds something.
        evicted_tokens_per_second: Dropped from the tier for others.
        refused_tokens_per_second: Not stored for lack of room.
        restored_tokens_per_second: Loaded back for requests that had been preempted.
        recomputed_tokens_per_second: Of preempted requests, computed anew.
    """

    age_seconds: float = 0.0
    active_requests: int | None = None
    slots: int | None = None
    level: str | None = None
    eviction: str | None = None
    tier_bytes: int | None = None
    used_ratio: float | None = None
    evicted_tokens_per_second: float | None = None
    refused_tokens_per_second: float | None = None
    restored_tokens_per_second: float | None = None
    recomputed_tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class PodObserved:
    """One engine over the window.

    Attributes:
        name: Of the pod.
        age_seconds: Of the newest sample; ``None`` where there never was one.
        covered_seconds: Of the window, without gaps, since the engine's last start.
        usage_ratio: Share of KV blocks that requests hold, mean over the window.
        usage_peak_ratio: Its highest value.
        usage_slope: Its change per second.
        running: Requests in the batch, mean.
        waiting: Requests outside it, mean; the preempted are among them.
        waiting_for_capacity: Those that vLLM says wait for room; ``None`` where it does not say.
        preemptions_per_second: vLLM counts one when its victim next produces a token, so that the
            rate lags behind by as long as victims wait.
        finished_per_second: Requests that ended.
        prefix_hit_ratio: Prompt tokens found in the device's cache.
        offload_hit_ratio: Prompt tokens looked up in the host tier and found there.
        allocation_failures_per_second: Of the host tier.
        ttft_p99_seconds: Upper bound of the histogram's bucket, interpolated.
        itl_p50_seconds: The same.
        capacity_tokens: Of the KV cache.
        dtype: Of the KV cache.
        prefix_caching: Whether it is on.
        models: That it serves, as it says.
        plugin: What the plugin shows; ``None`` where the pod has none.
        paused: An annotation keeps the tuner away.
        doubts: Why not to act on these figures; empty when they are good.
    """

    name: str
    age_seconds: float | None = None
    covered_seconds: float = 0.0
    usage_ratio: float | None = None
    usage_peak_ratio: float | None = None
    usage_slope: float | None = None
    running: float | None = None
    waiting: float | None = None
    waiting_for_capacity: float | None = None
    preemptions_per_second: float | None = None
    finished_per_second: float | None = None
    prefix_hit_ratio: float | None = None
    offload_hit_ratio: float | None = None
    allocation_failures_per_second: float | None = None
    ttft_p99_seconds: float | None = None
    itl_p50_seconds: float | None = None
    capacity_tokens: int | None = None
    dtype: str | None = None
    prefix_caching: bool | None = None
    models: tuple[str, ...] = ()
    plugin: PluginObserved | None = None
    paused: bool = False
    doubts: tuple[Doubt, ...] = ()

    @property
    def is_trusted(self) -> bool:
        """Its figures may be acted on."""
        return not self.doubts


@dataclass(frozen=True, slots=True)
class DemandObserved:
    """What the gateways predict for the pool, all of them together.

    Attributes:
        peak_tokens: The most KV tokens that those who wait or run will hold at one time (p50).
        high_tokens: What that does not exceed in about nine of ten cases.
        age_seconds: Of the oldest gateway's figure.
        waiting: Requests in the gateways' queues, by class.
        gateways: How many were heard.
        missing: How many should have been and were not.
    """

    peak_tokens: float
    high_tokens: float
    age_seconds: float
    waiting: Mapping[str, float] = field(default_factory=dict)
    gateways: int = 1
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Workload:
    """What owns the pods, as far as a dtype is changed there.

    Attributes:
        kind: ``Deployment`` or ``StatefulSet``.
        name: Of the object.
        container: Place of vLLM's container in the pod template.
        dtype_argument: Place of ``--kv-cache-dtype=...`` in its args; ``None`` where it has none.
        dtype: What the template asks for now; ``None`` where that is not understood.
        tier_bytes: The size of the plugin's tier there; ``None`` where it has none, that is not
            understood, or nobody may change it.
        listed: The argument is a word of its own in ``args``, or would become one.
    """

    kind: str
    name: str
    container: int = 0
    dtype_argument: int | None = None
    dtype: str | None = None
    listed: bool = True
    tier_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the canary's gate found; the text has the figures.

    Attributes:
        value: The dtype that it was about, or the size of the tier in bytes.
    """

    value: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Observed:
    """A pool at one moment.

    Attributes:
        namespace: Of the pool.
        pool: Its name.
        pods: All that are meant to serve, those that are not heard of included.
        demand: What the gateways predict; ``None`` where none was heard.
        no_demand: Why it is not known; empty where no gateway was heard.
        workload: What owns the pods; ``None`` where that is not known or not one thing.
        gate: Of the canary that is under way, once it has been judged.
        paused: An annotation on the pool keeps the tuner away.
    """

    namespace: str
    pool: str
    pods: tuple[PodObserved, ...] = ()
    demand: DemandObserved | None = None
    no_demand: str = ""
    workload: Workload | None = None
    gate: GateResult | None = None
    paused: bool = False

    @property
    def trusted(self) -> tuple[PodObserved, ...]:
        """Pods whose figures may be acted on."""
        return tuple(pod for pod in self.pods if pod.is_trusted)
