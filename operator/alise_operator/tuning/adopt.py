"""Taking over what a pool has: at first, and wherever somebody else decides. Pure.

In mode Auto the tuner takes over what it finds when it knows nothing, and a dtype that somebody
set meanwhile; everything else it keeps as desired. In mode Recommend it decides nothing, so what
is desired is what is there.
"""

from dataclasses import replace

from alise_core.crds.kv_cache_policy import KVCachePolicySpec, TierSizing, TuningMode
from alise_operator.tuning.ladder import place_of
from alise_operator.tuning.memory import Change, Direction, TunerMemory
from alise_operator.tuning.observed import Observed
from alise_operator.tuning.pace import KEEP_SECONDS
from alise_operator.tuning.platforms import same_dtype
from alise_operator.tuning.settings import HOT, Knob, Value
from alise_operator.tuning.targets import majority


def adopted(
    spec: KVCachePolicySpec, observed: Observed, memory: TunerMemory, now: float
) -> TunerMemory:
    """What is remembered after a look at what the pods have."""
    for knob in (*HOT, Knob.DTYPE):
        seen = majority(observed, knob)
        had = memory.desired.value(knob)
        if seen is None or _equal(knob, had, seen):
            continue
        if had is None:
            memory = replace(memory, desired=memory.desired.having(knob, seen))
            if memory.base.value(knob) is None:
                base = _own_limit(observed) if knob is Knob.ACTIVE_REQUESTS else None
                memory = replace(memory, base=memory.base.having(knob, base or seen))
        elif spec.mode is TuningMode.RECOMMEND or _is_started_with(knob, spec):
            memory = _by_somebody(spec, memory, knob, seen, now)
    if spec.mode is TuningMode.RECOMMEND and memory.cold is not None:
        memory = replace(memory, cold=None)
    return memory


def _is_started_with(knob: Knob, spec: KVCachePolicySpec) -> bool:
    """Changed where pods are started from, and not in a running engine: what they have counts."""
    sizes = spec.host_tier.sizing is TierSizing.RESTART
    return knob is Knob.DTYPE or (knob is Knob.TIER_BYTES and sizes)


def _own_limit(observed: Observed) -> int | None:
    """What the engines were started with: a cap that is found was set by somebody."""
    found = [pod.plugin.slots for pod in observed.pods if pod.plugin is not None]
    return min((slots for slots in found if slots is not None), default=None)


def _by_somebody(
    spec: KVCachePolicySpec, memory: TunerMemory, knob: Knob, seen: Value, now: float
) -> TunerMemory:
    """A person turned the knob: it counts like a change of ours, and its recommendation is done."""
    had, asked = memory.desired.value(knob), memory.recommended
    memory = replace(memory, desired=memory.desired.having(knob, seen))
    if asked is not None and asked.knob is knob:
        memory = replace(memory, recommended=None)
        if _equal(knob, asked.after, seen):
            return memory
    change = Change(now, knob, _direction(spec, knob, had, seen), seen)
    return memory.with_change(change, max(KEEP_SECONDS, spec.pace.stabilization_seconds))


def _direction(spec: KVCachePolicySpec, knob: Knob, had: Value, seen: Value) -> Direction:
    up = _rank(spec, knob, seen) > _rank(spec, knob, had)
    return Direction.UP if up else Direction.DOWN


def _rank(spec: KVCachePolicySpec, knob: Knob, value: Value) -> float:
    """How far up the ladder a value is."""
    if isinstance(value, int):
        return -value if knob is Knob.ACTIVE_REQUESTS else value
    if knob is Knob.DTYPE:
        place = place_of(value, spec.dtypes.ladder)
        return -1 if place is None else place
    tier = spec.host_tier
    names = [str(one) for one in (tier.levels if knob is Knob.LEVEL else tier.eviction_policies)]
    return names.index(value) if value in names else -1


def _equal(knob: Knob, one: Value, other: Value) -> bool:
    if knob is Knob.DTYPE and one is not None and other is not None:
        return same_dtype(str(one), str(other))
    return one == other
