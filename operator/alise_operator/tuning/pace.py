"""How often settings may change, and when one may be turned back. Pure.

Two rules keep a pool from swinging. A knob that was turned one way is not turned the other way for
``stabilizationSeconds``, so that no setting comes back within them. And a knob that had to be
turned up again soon after it was turned down needs twice as long a calm the next time.
"""

from collections.abc import Iterable
from dataclasses import replace

from alise_core.crds.kv_cache_policy import KVCachePolicySpec, PaceSpec, TierSizing
from alise_operator.tuning.ladder import Step
from alise_operator.tuning.memory import Change, Direction, TunerMemory
from alise_operator.tuning.plan import Why
from alise_operator.tuning.platforms import capacity_factor
from alise_operator.tuning.settings import Knob
from alise_operator.tuning.trend import FORESIGHT, restart_lead

HOUR = 3_600.0
REGRET_SECONDS = 2 * HOUR
"""A knob that is turned up within this time of being turned down was turned down too soon."""
_MOST_REGRETS = 3
DEAR = (Knob.DTYPE, Knob.REPLICAS)
_TIER = (Knob.EVICTION, Knob.LEVEL, Knob.TIER_BYTES)
DEAR_CALM = 6.0
"""Calm before a dear knob is turned back, by that of the others: a restart of every pod, or of
an accelerator, costs minutes."""
KEEP_SECONDS = 4 * HOUR

Bar = tuple[Why, str]


def barred(step: Step, memory: TunerMemory, pace: PaceSpec, now: float) -> Bar | None:
    """Why a knob may not be turned this way yet."""
    other = Direction.DOWN if step.direction is Direction.UP else Direction.UP
    last = memory.last(step.knob, other)
    if last is None or now - last.at >= pace.stabilization_seconds:
        return None
    left = pace.stabilization_seconds - (now - last.at)
    return (
        Why.STABILIZING,
        f"{step.knob} was turned {other} {now - last.at:.0f} s ago and stays for {left:.0f} s",
    )


def hot_enough(
    step: Step, spec: KVCachePolicySpec, memory: TunerMemory, pods: int, now: float
) -> Bar | None:
    """Why a dear step needs more evidence; hot knobs need none beyond the window.

    A restart takes a pod's share of the memory away. While the others have room for it, a minute or
    two of pressure are enough; later only what lasts is worth making things worse for.
    """
    if not is_dear(step.knob, spec):
        return None
    needed = spec.pace.cooldown_seconds + spec.pressure.horizon_seconds
    if step.knob is not Knob.REPLICAS and not has_room(memory, spec, pods):
        needed = max(needed, spec.pace.stabilization_seconds)
    since = now if memory.hot_since is None else memory.hot_since
    if now - since >= needed:
        return None
    return (
        Why.NOT_HOT_LONG,
        f"{step.knob} is dear: pressure has to last {needed:.0f} s and has for {now - since:.0f} s",
    )


def has_room(memory: TunerMemory, spec: KVCachePolicySpec, pods: int) -> bool:
    """One pod fewer would still not be under pressure."""
    if memory.trend is None:
        return False
    need = memory.trend.level / capacity_factor(memory.desired.dtype)
    return pods > 1 and need * pods / (pods - 1) < spec.pressure.high


def foreseen(memory: TunerMemory, spec: KVCachePolicySpec, pods: int) -> float:
    """Pressure by the time at which a change that begins now would be through."""
    if memory.outlook is None:
        return 0.0
    lead = FORESIGHT * restart_lead(pods, spec.canary.observe_seconds)
    return memory.outlook.after(lead) / capacity_factor(memory.desired.dtype)


def too_soon(direction: Direction, memory: TunerMemory, pace: PaceSpec, now: float) -> Bar | None:
    """Why no knob at all may be turned: cooldown, or the budget of the hour.

    Turning down may use half of the budget only, so that there is some left when pressure comes.
    """
    last = max((one.at for one in memory.changes), default=None)
    if last is not None and now - last < pace.cooldown_seconds:
        left = pace.cooldown_seconds - (now - last)
        return Why.COOLING_DOWN, f"the last change was {now - last:.0f} s ago: {left:.0f} s to go"
    recent = changes_within(memory, now)
    most = pace.max_changes_per_hour
    if direction is Direction.DOWN:
        most = max(1, most // 2)
    if recent < most:
        return None
    return Why.BUDGET_SPENT, f"{recent} changes in the last hour, of {most} for going {direction}"


def kept_back(
    step: Step, steps: Iterable[Step], memory: TunerMemory, pace: PaceSpec, now: float
) -> str:
    """Why a cheap step leaves the last change of the hour to a dear one that could be taken.

    The tier makes preemption cheaper and no room on the device: a pool that went through all of
    its settings must not have to wait an hour for what makes some. Empty where it does not.
    """
    if step.knob not in _TIER:
        return ""
    left = pace.max_changes_per_hour - changes_within(memory, now)
    dear = next((one for one in steps if one.knob is Knob.DTYPE and not one.skip), None)
    if left > 1 or dear is None:
        return ""
    return f"the last change of the hour is kept for {dear.knob} {dear.after}"


def changes_within(memory: TunerMemory, now: float) -> int:
    """Changes in the last hour."""
    return sum(1 for one in memory.changes if now - one.at < HOUR)


def is_dear(knob: Knob, spec: KVCachePolicySpec) -> bool:
    """Turning it restarts pods, or asks for some."""
    sizes = spec.host_tier.sizing is TierSizing.RESTART
    return knob in DEAR or (knob is Knob.TIER_BYTES and sizes)


def calm_needed(knob: Knob, memory: TunerMemory, spec: KVCachePolicySpec) -> float:
    """Seconds of calm before a knob is turned down."""
    factor = DEAR_CALM if is_dear(knob, spec) else 1.0
    return spec.pace.stabilization_seconds * factor * 2.0 ** memory.regrets_of(knob)


def longest_calm(memory: TunerMemory, spec: KVCachePolicySpec) -> float:
    """Seconds after which a calm is measured anew.

    Every knob that may be turned down has been by then. What was not would have brought pressure
    back at the calm's peak, and a peak that long ago says nothing of now: where load falls slowly,
    every calm begins with pressure just below the low mark.
    """
    needed = max(calm_needed(knob, memory, spec) for knob in Knob)
    return needed + spec.pace.stabilization_seconds


def noted(step: Step, memory: TunerMemory, pace: PaceSpec, now: float) -> TunerMemory:
    """A step is taken, or recommended."""
    keep = max(KEEP_SECONDS, pace.stabilization_seconds)
    regrets = dict(memory.regrets)
    down = memory.last(step.knob, Direction.DOWN)
    if step.direction is Direction.UP:
        soon = down is not None and now - down.at < REGRET_SECONDS + pace.stabilization_seconds
        count = min(_MOST_REGRETS, regrets.get(step.knob, 0) + 1) if soon else 0
        regrets[step.knob] = count
    kept = tuple((knob, count) for knob, count in sorted(regrets.items()) if count)
    change = Change(now, step.knob, step.direction, step.after)
    return replace(memory.with_change(change, keep), regrets=kept)
