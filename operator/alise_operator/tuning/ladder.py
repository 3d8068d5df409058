"""The settings that could change next, from cheap to dear, each with its gain and its price. Pure.

Up the ladder: cap on active requests, eviction policy, level of the host tier, its size, KV dtype,
replicas. Down it the other way round, so that what costs accuracy or a restart is given back
first. A step that would not help against the pressure that is there is passed over, with the
reason: a denser level frees nothing in a tier that is half empty.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from statistics import median

from alise_core.crds.kv_cache_policy import KVCachePolicySpec, TierSizing
from alise_operator.tuning.memory import Direction, TunerMemory
from alise_operator.tuning.observed import Observed, PluginObserved, PodObserved
from alise_operator.tuning.platforms import (
    LEVEL_FACTORS,
    capacity_factor,
    refusal,
    same_dtype,
)
from alise_operator.tuning.pressure import PoolPressure
from alise_operator.tuning.settings import Knob, PoolSettings, Value

CAP_TARGET = 1.0
"""Of the high mark: usage that a cap aims at."""
_ROOM = 0.9
"""Of what a cap aims at: peaks below it are memory that a tight cap leaves unused."""
_IN_EFFECT = 1.02
_LEAST_CUT = 0.05
"""A cap that changes by less is not worth a change."""
_FULL_RATIO = 0.9
"""Of a tier that holds something: from here on what is stored pushes something out."""
_ALL_FOUND = 0.98
_MOST_ASKED = 2
"""Replicas are asked for at most so many times as many as there are."""


@dataclass(frozen=True, slots=True)
class Step:
    """One setting that could change.

    Attributes:
        knob: Which.
        direction: Up or down the ladder.
        before: Its value.
        after: The value that it would get.
        gain: What that is expected to give.
        price: What it costs.
        skip: Why it is no use now; empty for a step that could be taken.
        factor: KV capacity of the device after, by before.
    """

    knob: Knob
    direction: Direction
    before: Value
    after: Value
    gain: str = ""
    price: str = ""
    skip: str = ""
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What the ladder asks of a pool.

    Attributes:
        pods: How many are meant to serve.
        slots: The least of their engines' limits; ``None`` where some pod has no plugin scheduler.
        tier: Every pod has a host tier.
        used: Of the tiers, the median; ``None`` where that is not known.
        pushing_out: At least half of the tiers drop something for what is stored.
        missed: Something is looked for in the tiers and not found, or computed anew; also where
            nobody says.
        dtypes: That pods have, each once.
        pressure: Of the pool.
        start_bytes: Size of the tier with which pods are started; ``None`` where it is not known.
    """

    pods: int
    slots: int | None
    tier: bool
    used: float | None
    pushing_out: bool
    missed: bool
    dtypes: tuple[str, ...]
    pressure: PoolPressure
    start_bytes: int | None = None

    @property
    def tier_is_full(self) -> bool:
        """What is stored pushes something out."""
        return self.pushing_out or (self.used is not None and self.used >= _FULL_RATIO)

    @property
    def tier_is_short(self) -> bool:
        """More would be found in it if it held more."""
        return self.tier_is_full and self.missed


def facts_of(observed: Observed, pressure: PoolPressure) -> Facts:
    """Of a pool with at least one pod whose figures are trusted."""
    plugins = [pod.plugin for pod in observed.trusted]
    present = [plugin for plugin in plugins if plugin is not None]
    everywhere = len(present) == len(plugins)
    slots = [one.slots for one in present if one.slots and one.active_requests]
    used = [one.used_ratio for one in present if one.used_ratio is not None]
    return Facts(
        pods=len(observed.pods),
        slots=min(slots) if everywhere and len(slots) == len(plugins) else None,
        tier=everywhere and all(one.level is not None for one in present),
        used=median(used) if used else None,
        pushing_out=sum(map(_pushes_out, present)) * 2 >= len(plugins) > 0,
        missed=any(map(_misses, observed.trusted)),
        dtypes=_different(pod.dtype for pod in observed.pods),
        start_bytes=None if observed.workload is None else observed.workload.tier_bytes,
        pressure=pressure,
    )


def steps_up(
    spec: KVCachePolicySpec, memory: TunerMemory, facts: Facts, now: float
) -> tuple[Step, ...]:
    """All of them, from cheap to dear; those that are no use have ``skip``."""
    settings, dtype = memory.desired, _dtype_up(spec, memory, facts, now)
    size = _bytes_up(spec, settings, facts)
    if spec.host_tier.sizing is TierSizing.RESTART and not size.skip:
        size = _restarted(size, dtype, memory, facts, now)
    return (
        _cap_up(spec, settings, facts),
        _eviction_up(spec, settings, facts),
        _level_up(spec, settings, facts),
        size,
        dtype,
        _replicas_up(spec, settings, facts),
    )


def steps_down(spec: KVCachePolicySpec, memory: TunerMemory, facts: Facts) -> tuple[Step, ...]:
    """What could be given back, from dear to cheap; knobs that are at their base are left out."""
    return tuple(
        step for knob in reversed(Knob) if (step := _down(knob, spec, memory, facts)) is not None
    )


def loosened_cap(spec: KVCachePolicySpec, settings: PoolSettings, facts: Facts) -> Step | None:
    """A higher cap where it is the cap that keeps requests waiting, and memory is free."""
    cap, slots, pressure = settings.active_requests, facts.slots, facts.pressure
    if cap is None or slots is None or cap >= slots or pressure.preempting:
        return None
    if pressure.peak >= _ROOM * CAP_TARGET * spec.pressure.high:
        return None
    room = CAP_TARGET * spec.pressure.high / max(pressure.peak, _LEAST_CUT)
    after = min(slots, floor(cap * min(room, 2.0)))
    if after <= cap * (1 + _LEAST_CUT):
        return None
    gain = f"requests wait for the cap while the KV cache peaks at {pressure.peak:.0%}"
    return Step(Knob.ACTIVE_REQUESTS, Direction.DOWN, cap, after, gain, "none")


def _cap_up(spec: KVCachePolicySpec, settings: PoolSettings, facts: Facts) -> Step:
    cap, least, pressure = settings.active_requests, spec.active_requests.min, facts.pressure

    def step(after: int | None = None, *, skip: str = "") -> Step:
        gain = "what runs fits at its mean length, so that less is preempted and computed twice"
        return Step(
            Knob.ACTIVE_REQUESTS, Direction.UP, cap, after, gain, "more requests wait", skip
        )

    if least is None:
        return step(skip="activeRequests.min is not set: never capped")
    if facts.slots is None or cap is None:
        return step(skip="not all pods have the plugin's scheduler")
    if not pressure.preempting:
        return step(skip="nothing is preempted: a cap would only make requests wait")
    in_force = cap * capacity_factor(settings.dtype) < facts.slots
    if in_force and pressure.running > _IN_EFFECT * cap * capacity_factor(settings.dtype):
        # A cap puts nobody back: it is in effect once enough of those that ran are done.
        return step(skip=f"the cap of {cap} is not in effect yet: {pressure.running:.0f} run")
    share = CAP_TARGET * spec.pressure.high / max(pressure.usage, 0.5)
    fits = pressure.running * share / capacity_factor(settings.dtype)
    after = max(least, min(cap, floor(fits)))
    if after >= cap * (1 - _LEAST_CUT):
        return step(skip=f"it is {cap} and would become {after}")
    return step(after)


def _eviction_up(spec: KVCachePolicySpec, settings: PoolSettings, facts: Facts) -> Step:
    allowed = [str(one) for one in spec.host_tier.eviction_policies]
    gain = "of what leaves the full tier less is wanted again"
    step = _tier_up(Knob.EVICTION, allowed, settings, facts)
    # It costs nothing, so the last one allowed is taken at once.
    return step if step.skip else replace(step, after=allowed[-1], gain=gain, price="none")


def _level_up(spec: KVCachePolicySpec, settings: PoolSettings, facts: Facts) -> Step:
    allowed = [str(one) for one in spec.host_tier.levels]
    step = _tier_up(Knob.LEVEL, allowed, settings, facts)
    if step.skip:
        return step
    ratio = LEVEL_FACTORS[str(step.after)] / LEVEL_FACTORS[str(step.before)]
    gain = f"{ratio:.2f} times the KV in the same host memory"
    return replace(step, gain=gain, price="rounding of what is loaded back")


def _tier_up(knob: Knob, allowed: Sequence[str], settings: PoolSettings, facts: Facts) -> Step:
    before = settings.value(knob)

    def skipped(why: str) -> Step:
        return Step(knob, Direction.UP, before, None, skip=why)

    if not facts.tier:
        return skipped("not all pods have a host tier")
    if before not in allowed:
        return skipped(f"it is {before}, which the policy does not list: left alone")
    place = allowed.index(str(before))
    if place + 1 == len(allowed):
        return skipped(f"{before} is the last that the policy allows")
    if not facts.tier_is_short:
        return skipped(_not_short(facts))
    return Step(knob, Direction.UP, before, allowed[place + 1])


def _bytes_up(spec: KVCachePolicySpec, settings: PoolSettings, facts: Facts) -> Step:
    most, before = spec.host_tier.max_bytes, settings.tier_bytes

    def step(after: int | None = None, *, skip: str = "") -> Step:
        gain = "room for more KV that would be computed again"
        return Step(
            Knob.TIER_BYTES, Direction.UP, before, after, gain, "host memory of the pods", skip
        )

    if most is None:
        return step(skip="hostTier.maxBytes is not set: its size is left alone")
    if not facts.tier or not before:
        return step(skip="not all pods have a host tier")
    if before >= most:
        return step(skip=f"it has {before} bytes, and the policy allows {most}")
    if not facts.tier_is_short:
        return step(skip=_not_short(facts))
    return step(min(most, 2 * before))


def _restarted(size: Step, dtype: Step, memory: TunerMemory, facts: Facts, now: float) -> Step:
    """The same where every pod restarts for it."""
    skip = _held(str(size.after), memory, now) or ""
    if facts.start_bytes is None:
        skip = "what starts the pods' tiers, with which size, is not known or may not be changed"
    elif not dtype.skip:
        # A smaller KV makes room in the tier too, and on the device.
        skip = f"it restarts every pod, and dtype {dtype.after} is worth that more"
    before = facts.start_bytes or size.before
    return replace(size, before=before, price="every pod restarts; host memory", skip=skip)


def _held(value: str, memory: TunerMemory, now: float) -> str | None:
    held = next((one for one in memory.holds if one.value == value and one.until > now), None)
    if held is None:
        return None
    return f"{value} failed {held.failures} times, not again for {held.until - now:.0f} s"


def _dtype_up(spec: KVCachePolicySpec, memory: TunerMemory, facts: Facts, now: float) -> Step:
    before, ladder = memory.desired.dtype, spec.dtypes.ladder

    def skipped(why: str) -> Step:
        return Step(Knob.DTYPE, Direction.UP, before, None, skip=why)

    place = place_of(before, ladder)
    if len(facts.dtypes) > 1:
        return skipped(f"pods have different dtypes ({', '.join(facts.dtypes)}): left alone")
    if before is None or place is None:
        known = "not known" if before is None else f"{before}, which dtypes.ladder does not list"
        return skipped(f"the pods' dtype is {known}: left alone")
    reasons = []
    for dtype in ladder[place + 1 :]:
        factor = capacity_factor(dtype) / capacity_factor(before)
        why = refusal(dtype, spec.dtypes.platform) or _held(dtype, memory, now)
        if why is None and factor <= 1:
            why = f"{dtype} is not smaller than {before}"
        if why is None:
            gain, price = f"{factor:.2f} times the KV cache", "every pod restarts; accuracy"
            return Step(Knob.DTYPE, Direction.UP, before, dtype, gain, price, factor=factor)
        reasons.append(why)
    return skipped("; ".join(reasons) or f"{before} is the last of dtypes.ladder")


def _replicas_up(spec: KVCachePolicySpec, settings: PoolSettings, facts: Facts) -> Step:
    share = facts.pressure.value / (CAP_TARGET * spec.pressure.high)
    after = min(_MOST_ASKED * facts.pods, max(facts.pods + 1, ceil(facts.pods * share)))
    skip = ""
    if settings.replicas is not None and after <= settings.replicas:
        skip = f"{settings.replicas} are asked for already"
    gain = "more KV memory, and compute"
    return Step(
        Knob.REPLICAS, Direction.UP, settings.replicas, after, gain, "more accelerators", skip
    )


def _down(knob: Knob, spec: KVCachePolicySpec, memory: TunerMemory, facts: Facts) -> Step | None:
    before = memory.desired.value(knob)
    after, factor = _base_of(knob, spec, memory, facts), 1.0
    if after == before or (after is None and knob is not Knob.REPLICAS):
        return None
    if knob is Knob.TIER_BYTES and spec.host_tier.sizing is TierSizing.RESTART:
        before = facts.start_bytes
        if before == after:
            return None
    if knob is Knob.DTYPE:
        factor = capacity_factor(str(after)) / capacity_factor(str(before))
    if knob is Knob.REPLICAS:
        factor = (memory.base.replicas or facts.pods) / max(1, facts.pods)
    return Step(knob, Direction.DOWN, before, after, _GIVEN_BACK[knob], "", factor=factor)


def _base_of(knob: Knob, spec: KVCachePolicySpec, memory: TunerMemory, facts: Facts) -> Value:
    """Where a knob returns to, one place at a time; ``None`` where it is left alone."""
    before = memory.desired.value(knob)
    if knob is Knob.REPLICAS:
        return None
    if knob is Knob.ACTIVE_REQUESTS:
        may = spec.active_requests.min is not None and before is not None
        return facts.slots if may else None
    if knob is Knob.TIER_BYTES:
        may = spec.host_tier.max_bytes is not None and facts.tier
        if spec.host_tier.sizing is TierSizing.RESTART:
            may = may and facts.start_bytes is not None
        return memory.base.tier_bytes if may else None
    if knob is Knob.DTYPE:
        alike = before is not None and len(facts.dtypes) == 1
        place = place_of(str(before), spec.dtypes.ladder) if alike else None
        return spec.dtypes.ladder[0] if place else before
    if not facts.tier:
        return None
    allowed = [
        str(one)
        for one in (
            spec.host_tier.levels if knob is Knob.LEVEL else spec.host_tier.eviction_policies
        )
    ]
    place = allowed.index(str(before)) if before in allowed else 0
    if not place:
        return before
    return allowed[0] if knob is Knob.EVICTION else allowed[place - 1]


_GIVEN_BACK = {
    Knob.ACTIVE_REQUESTS: "the engine's own limit again",
    Knob.EVICTION: "the policy that it began with",
    Knob.LEVEL: "what is stored is exacter",
    Knob.TIER_BYTES: "host memory is given back",
    Knob.DTYPE: "exact KV again",
    Knob.REPLICAS: "no further replicas are asked for",
}


def place_of(dtype: str | None, ladder: Sequence[str]) -> int | None:
    """Where a dtype stands on a ladder; ``None`` where it does not."""
    found: Iterator[int] = (place for place, one in enumerate(ladder) if same_dtype(dtype, one))
    return next(found, None)


def _different(dtypes: Iterable[str | None]) -> tuple[str, ...]:
    found: list[str] = []
    for dtype in dtypes:
        if dtype is not None and not any(same_dtype(dtype, one) for one in found):
            found.append(dtype)
    return tuple(found)


def _pushes_out(plugin: PluginObserved) -> bool:
    return (plugin.evicted_tokens_per_second or 0.0) > 0 or (
        plugin.refused_tokens_per_second or 0.0
    ) > 0


def _misses(pod: PodObserved) -> bool:
    anew = None if pod.plugin is None else pod.plugin.recomputed_tokens_per_second
    if pod.offload_hit_ratio is None and anew is None:
        return True
    found = pod.offload_hit_ratio
    return bool(anew) or (found is not None and found < _ALL_FOUND)


def _not_short(facts: Facts) -> str:
    if facts.tier_is_full:
        return "what is pushed out of the tier is not asked for again: more room is no use"
    used = "not known" if facts.used is None else f"{facts.used:.0%}"
    return f"the tier's fill is {used} and nothing is pushed out of it: more room is no use"
