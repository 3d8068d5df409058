"""How much KV memory a pool needs, as a share of what it has. Pure.

Usage alone cannot say it: it ends at 1, and a cap on requests lowers it while the need stays. So
those who wait are counted with the memory that a running request holds on average, where it is
memory that keeps them waiting. What comes is seen in the gateways' predicted demand, and in the
slope of usage where no gateway was heard. A pool's pressure is the median of its pods': one hot
pod is a matter of placement.
"""

from dataclasses import dataclass
from statistics import median

from alise_core.crds.kv_cache_policy import PressureSpec
from alise_operator.tuning.observed import DemandObserved, Observed, PodObserved

MOST_PRESSURE = 10.0
"""More says no more; keeps a lying engine from asking for a thousand pods."""
_MOST_RISE = 0.15
"""A slope over half a minute is no forecast of more than this."""
_FULL = 0.9
"""Of the high mark: from this peak on it is memory that keeps requests waiting."""
PREEMPTED_RATIO = 0.01
"""Preemptions per finished request from which a pod preempts; the gateway widens its quantile at
the same (docs/scheduling.md)."""
_STALE_WINDOWS = 2.0


@dataclass(frozen=True, slots=True)
class PoolPressure:
    """What a pool needs.

    Attributes:
        value: KV memory needed over KV memory there; the median pod's, or the predicted one.
        high: The same with answers as long as their p90, for deciding that pressure is gone.
        need: KV memory needed now by the capacity, without what is predicted.
        coming: The same, or the predicted peak where that is more.
        usage: Of the median pod.
        running: Requests that a pod runs, median.
        peak: Highest usage of the median pod.
        preempting: At least half of the pods preempt.
        hot: Pods above the high mark.
        text: The figures in words.
    """

    value: float
    high: float
    need: float
    coming: float
    usage: float
    running: float
    peak: float
    preempting: bool
    hot: tuple[str, ...]
    text: str


def pool_pressure(observed: Observed, spec: PressureSpec, *, capped: bool) -> PoolPressure:
    """The pressure of a pool with at least one pod whose figures are trusted.

    Args:
        observed: The pool.
        spec: Marks and horizon.
        capped: The tuner holds requests back, so that usage says less than usual.
    """
    pods = observed.trusted
    demand = usable_demand(observed, spec.window_seconds)
    coming = _coming(demand, capacity_of(observed))
    needs = {pod.name: pod_need(pod, spec, capped=capped) for pod in pods}
    if coming is None:
        needs = {pod.name: needs[pod.name] + _rise(pod, spec.horizon_seconds) for pod in pods}
    preempting = sum(map(is_preempting, pods)) * 2 >= len(pods)
    value = median(needs.values())
    parts = [f"KV need {value:.2f} of capacity (median of {len(pods)} pods)"]
    high = now = value
    if coming is not None:
        parts.append(f"predicted {coming[0]:.2f} (p90 {coming[1]:.2f})")
        value, high = max(value, coming[0]), max(high, *coming)
    if preempting:
        parts.append("requests are preempted")
        value, high = max(value, spec.high), max(high, spec.high)
    hot = tuple(sorted(name for name, need in needs.items() if need >= spec.high))
    if hot and value < spec.high:
        parts.append(f"hot alone: {', '.join(hot)}")
    return PoolPressure(
        value=min(value, MOST_PRESSURE),
        high=min(high, MOST_PRESSURE),
        need=min(now, MOST_PRESSURE),
        coming=min(now if coming is None else max(now, coming[0]), MOST_PRESSURE),
        usage=median(pod.usage_ratio or 0.0 for pod in pods),
        running=median(pod.running or 0.0 for pod in pods),
        peak=median(pod.usage_peak_ratio or 0.0 for pod in pods),
        preempting=preempting,
        hot=hot,
        text="; ".join(parts),
    )


def pod_need(pod: PodObserved, spec: PressureSpec, *, capped: bool) -> float:
    """KV memory that a pod's requests need, those outside its batch included, by its capacity."""
    usage, running, waiting = pod.usage_ratio or 0.0, pod.running or 0.0, pod.waiting or 0.0
    full = (pod.usage_peak_ratio or 0.0) >= _FULL * spec.high
    if running <= 0 or not (full or capped or is_preempting(pod)):
        # The batch limit keeps them waiting, or nobody does: more memory would help nobody.
        return usage
    return usage * (running + waiting) / running


def is_preempting(pod: PodObserved) -> bool:
    """More than one request in a hundred loses its memory."""
    preempted, finished = pod.preemptions_per_second or 0.0, pod.finished_per_second or 0.0
    return preempted > 0 and preempted > PREEMPTED_RATIO * finished


def usable_demand(observed: Observed, window_seconds: float) -> DemandObserved | None:
    """The gateways' prediction where it is fresh, complete and possible."""
    demand = observed.demand
    if demand is None or demand.missing or demand.age_seconds > _STALE_WINDOWS * window_seconds:
        return None
    possible = 0 <= demand.peak_tokens <= demand.high_tokens
    return demand if possible else None


def why_no_demand(observed: Observed, window_seconds: float) -> str:
    """Why the prediction is not used; empty where it is."""
    demand = observed.demand
    if usable_demand(observed, window_seconds) is not None:
        return ""
    if demand is None:
        why = observed.no_demand or "no gateway was heard"
        return f"{why}: nothing is known of what comes but the slope of usage"
    if demand.missing:
        return f"{demand.missing} gateways were not heard: the predicted demand is left out"
    if demand.age_seconds > _STALE_WINDOWS * window_seconds:
        return f"the predicted demand is {demand.age_seconds:.0f} s old and left out"
    return (
        f"the predicted demand contradicts itself (p50 {demand.peak_tokens:g}, "
        f"p90 {demand.high_tokens:g} tokens) and is left out"
    )


def _coming(demand: DemandObserved | None, capacity: float) -> tuple[float, float] | None:
    """The predicted peak by the capacity: its median, and what it hardly exceeds."""
    if demand is None or not capacity:
        return None
    return demand.peak_tokens / capacity, demand.high_tokens / capacity


def _rise(pod: PodObserved, horizon_seconds: float) -> float:
    return min(_MOST_RISE, max(0.0, pod.usage_slope or 0.0) * horizon_seconds)


def capacity_of(observed: Observed) -> float:
    """KV tokens of all pods; those that do not say are taken to be like the others."""
    said = [pod.capacity_tokens for pod in observed.pods if pod.capacity_tokens]
    return sum(said) * len(observed.pods) / len(said) if said else 0.0
