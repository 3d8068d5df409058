"""Rules that no life of a pool may break, whatever happens in it. Pure.

Each looks at a trace and gives a line for every time that it is broken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from alise_bench.tuner.sketch import SLOTS, TIER_BYTES
from alise_bench.tuner.traces import Look, Trace
from alise_operator.tuning.plan import SetDtype, SetTierBytes, Tune, Verdict
from alise_operator.tuning.settings import Knob, Value

HOUR = 3_600.0


@dataclass(frozen=True, slots=True)
class Return:
    """A setting that was left and came back.

    Attributes:
        knob: Which.
        value: That came back.
        away_seconds: From when it was left until it was back.
    """

    knob: Knob
    value: Value
    away_seconds: float


def returns(looks: list[Look]) -> Iterator[Return]:
    """Every A -> B -> A in what was desired."""
    for knob in Knob:
        seen: list[tuple[float, Value]] = []
        for look in looks:
            value = look.desired.value(knob)
            if not seen or seen[-1][1] != value:
                seen.append((look.at, value))
        for (_, one), (left, _), (back, again) in zip(seen, seen[1:], seen[2:], strict=False):
            if one == again:
                yield Return(knob, one, back - left)


def broken(trace: Trace) -> list[str]:
    """All rules."""
    window = trace.spec.pace.stabilization_seconds
    return [
        *came_back(trace.looks, window),
        *_overspent(trace),
        *_beyond_bounds(trace),
        *_said_too_little_or_asked_too_much(trace),
        *_two_at_a_time(trace),
        *_forgotten(trace),
    ]


def came_back(looks: list[Look], window_seconds: float) -> Iterator[str]:
    """No setting comes back within the stabilisation window."""
    for one in returns(looks):
        if one.away_seconds < window_seconds:
            yield f"{one.knob} came back to {one.value} after {one.away_seconds:.0f} s"


def _overspent(trace: Trace) -> Iterator[str]:
    """No hour has more changes than its budget, and no two are closer than the cooldown."""
    pace = trace.spec.pace
    times = [look.at for look in trace.looks if look.plan.verdict is Verdict.CHANGE]
    for at in times:
        count = sum(1 for one in times if at - HOUR < one <= at)
        if count > pace.max_changes_per_hour:
            yield f"{count} changes in the hour before {at:.0f}"
    for one, other in pairwise(times):
        if other - one < pace.cooldown_seconds:
            yield f"two changes within {other - one:.0f} s"


def _beyond_bounds(trace: Trace) -> Iterator[str]:
    """Nothing is set that the policy does not allow."""
    spec = trace.spec
    tier, least = spec.host_tier, spec.active_requests.min or 1
    most = max(TIER_BYTES, tier.max_bytes or 0)
    for action in trace.pool.actions:
        match action:
            case SetDtype(dtype=dtype) if dtype not in spec.dtypes.ladder:
                yield f"dtype {dtype} was set"
            case SetTierBytes(tier_bytes=size) if not TIER_BYTES <= size <= most:
                yield f"a tier of {size} bytes was set"
            case Tune(changes=changes):
                cap = changes.get("scheduler", {}).get("max_active_requests", least)
                told = changes.get("tier", {})
                fine = (
                    least <= int(cap) <= SLOTS
                    and told.get("level", tier.levels[0]) in tier.levels
                    and told.get("eviction", tier.eviction_policies[0]) in tier.eviction_policies
                    and TIER_BYTES <= int(told.get("capacity_bytes", TIER_BYTES)) <= most
                )
                if not fine:
                    yield f"{changes} was set"


def _said_too_little_or_asked_too_much(trace: Trace) -> Iterator[str]:
    """Every look has its words; no more than twice the pods are asked for."""
    for look in trace.looks:
        if not look.pods <= look.plan.wanted_replicas <= 2 * max(look.pods, trace.pods):
            yield f"{look.plan.wanted_replicas} replicas for {look.pods} pods"
        if not look.plan.message:
            yield f"nothing is said at {look.at:.0f}"


def _two_at_a_time(trace: Trace) -> Iterator[str]:
    """While a change restarts pods nothing else changes."""
    for one, following in pairwise(trace.looks):
        cold, then = one.plan.memory.cold, following.plan.memory.cold
        if cold is None:
            continue
        if following.plan.verdict is Verdict.CHANGE:
            yield f"a change while {cold.after} was on its way"
        if then is not None and then.after != cold.after:
            yield f"{then.after} was begun while {cold.after} was on its way"


def _forgotten(trace: Trace) -> Iterator[str]:
    """What is remembered survives being written down."""
    for look in trace.looks:
        if look.remembered != look.plan.memory:
            yield f"what is remembered at {look.at:.0f} reads differently"
