"""From what is desired for a pool to what each of its pods has to be told. Pure."""

from collections import Counter
from collections.abc import Iterable
from math import floor

from alise_core.crds.kv_cache_policy import KVCachePolicySpec, TierSizing
from alise_operator.tuning.observed import DoubtKind, Observed, PodObserved
from alise_operator.tuning.plan import Tune
from alise_operator.tuning.platforms import capacity_factor, same_dtype
from alise_operator.tuning.settings import HOT, Knob, PoolSettings, Value

PLACES = {
    Knob.ACTIVE_REQUESTS: ("scheduler", "max_active_requests"),
    Knob.EVICTION: ("tier", "eviction"),
    Knob.LEVEL: ("tier", "level"),
    Knob.TIER_BYTES: ("tier", "capacity_bytes"),
}
"""Part and key of the plugin's settings. Source: docs/engine.md, engine/README.md."""


def seen_on(pod: PodObserved, knob: Knob) -> Value:
    """What a pod has now, the cap by the capacity of the first dtype."""
    if knob is Knob.DTYPE:
        return pod.dtype
    plugin = pod.plugin
    if plugin is None or knob is Knob.REPLICAS:
        return None
    if knob is Knob.ACTIVE_REQUESTS:
        cap = plugin.active_requests
        if cap is None or cap == plugin.slots:
            return cap
        return max(1, floor(cap / capacity_factor(pod.dtype)))
    found: Value = getattr(plugin, knob)
    return found


def meant_for(pod: PodObserved, knob: Knob, desired: PoolSettings, least_cap: int) -> Value:
    """What a pod should have; ``None`` where it cannot have it or nothing is desired."""
    plugin, value = pod.plugin, desired.value(knob)
    if plugin is None or value is None:
        return None
    if knob is not Knob.ACTIVE_REQUESTS:
        return value if plugin.level is not None else None
    if plugin.active_requests is None or not isinstance(value, int):
        return None
    wanted = max(least_cap, floor(value * capacity_factor(pod.dtype)))
    return wanted if plugin.slots is None else min(plugin.slots, wanted)


def tunes_for(
    spec: KVCachePolicySpec, observed: Observed, desired: PoolSettings, window_seconds: float
) -> tuple[Tune, ...]:
    """What pods whose settings are not as desired are to be told.

    Paused pods are left alone, and so are those whose plugin was not heard of for a window: there
    is nobody to tell.
    """
    least = spec.active_requests.min or 1
    told = []
    for pod in observed.pods:
        plugin = pod.plugin
        foreign = any(doubt.kind is DoubtKind.FOREIGN for doubt in pod.doubts)
        if plugin is None or pod.paused or foreign or plugin.age_seconds > window_seconds:
            continue
        changes: dict[str, dict[str, int | str]] = {}
        for knob in HOT:
            wanted = meant_for(pod, knob, desired, least)
            seen = plugin.active_requests if knob is Knob.ACTIVE_REQUESTS else seen_on(pod, knob)
            if wanted is not None and wanted != seen and may_turn(spec, knob):
                part, key = PLACES[knob]
                changes.setdefault(part, {})[key] = wanted
        if changes:
            told.append(Tune(pod.name, changes))
    return tuple(told)


def may_turn(spec: KVCachePolicySpec, knob: Knob) -> bool:
    """The policy lets the tuner change this in a running engine."""
    if knob is Knob.ACTIVE_REQUESTS:
        return spec.active_requests.min is not None
    if knob is Knob.TIER_BYTES:
        live = spec.host_tier.sizing is TierSizing.LIVE
        return live and spec.host_tier.max_bytes is not None
    return True


def majority(observed: Observed, knob: Knob) -> Value:
    """What most pods have; of a dtype only what all have that were heard."""
    values = [value for pod in _heard(observed) if (value := seen_on(pod, knob)) is not None]
    if not values:
        return None
    if knob is Knob.DTYPE:
        return values[0] if all(same_dtype(str(one), str(values[0])) for one in values) else None
    counts = Counter(values)
    most = max(counts.values())
    return min((one for one, count in counts.items() if count == most), key=str)


def having(observed: Observed, knob: Knob, value: str, window_seconds: float) -> int:
    """Pods that run now with what restarts pods: a dtype, or a size of the tier."""
    if knob is Knob.TIER_BYTES:
        plugins = (pod.plugin for pod in observed.pods if pod.plugin is not None)
        fresh = (one for one in plugins if one.age_seconds <= window_seconds)
        return sum(one.tier_bytes == int(value) for one in fresh)
    return having_dtype(observed, value, window_seconds)


def having_dtype(observed: Observed, dtype: str, window_seconds: float) -> int:
    """Pods that run with a dtype now."""
    return sum(
        same_dtype(pod.dtype, dtype)
        for pod in observed.pods
        if pod.age_seconds is not None and pod.age_seconds <= window_seconds
    )


def rung_of(spec: KVCachePolicySpec, desired: PoolSettings, base: PoolSettings) -> str:
    """The dearest setting that is not at its base, as ``knob=value``."""
    for knob in reversed(Knob):
        value = desired.value(knob)
        if value is not None and value != _bottom(spec, knob, base):
            return f"{knob}={value}"
    return "base"


def _bottom(spec: KVCachePolicySpec, knob: Knob, base: PoolSettings) -> Value:
    if knob is Knob.EVICTION:
        return str(spec.host_tier.eviction_policies[0])
    if knob is Knob.LEVEL:
        return str(spec.host_tier.levels[0])
    return None if knob is Knob.REPLICAS else base.value(knob)


def _heard(observed: Observed) -> Iterable[PodObserved]:
    return (pod for pod in observed.pods if pod.age_seconds is not None and not pod.paused)
