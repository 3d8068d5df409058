"""A change that restarts pods, from its canary to its end, or back. Pure.

It goes on from what is seen, not from what was done: killed at any point, the same call with the
same memory gives the same actions again. While it is under way nothing else changes in the pool.
"""

from dataclasses import dataclass, replace

from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_operator.tuning.ladder import Step
from alise_operator.tuning.memory import Change, ColdChange, Direction, Phase, TunerMemory
from alise_operator.tuning.observed import Observed
from alise_operator.tuning.pace import KEEP_SECONDS
from alise_operator.tuning.plan import Action, Restart, SetDtype, SetTierBytes, Verdict, Why
from alise_operator.tuning.platforms import same_dtype
from alise_operator.tuning.settings import Knob
from alise_operator.tuning.targets import having

_STEPS = 4
"""Of the time within which a change has to be judged."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a restarting change stands now; fields as in ``Plan``."""

    verdict: Verdict
    why: Why
    message: str
    memory: TunerMemory
    actions: tuple[Action, ...] = ()


def begun(step: Step, now: float) -> ColdChange:
    """Up the ladder behind a canary; back to what was there before without one."""
    phase = Phase.CANARY if step.direction is Direction.UP else Phase.ROLLING
    before, after = str(step.before), str(step.after)
    return ColdChange(before, after, phase, now, direction=step.direction, knob=step.knob)


def first_action(cold: ColdChange) -> Restart:
    """What begins it."""
    return _action(cold, 1 if cold.phase is Phase.CANARY else None)


def wanted_starts(memory: TunerMemory) -> tuple[Restart, ...]:
    """What pods should start with, by what is remembered; nothing where nobody knows."""
    cold, settled = memory.cold, memory.desired
    if cold is not None:
        return (_undone(cold) if cold.phase is Phase.BACK else first_action(cold),)
    dtype = () if settled.dtype is None else (SetDtype(settled.dtype),)
    size = settled.tier_bytes
    return dtype if size is None else (*dtype, SetTierBytes(size, size))


def _action(cold: ColdChange, most_pods: int | None = None) -> Restart:
    if cold.knob is Knob.TIER_BYTES:
        return SetTierBytes(int(cold.after), int(cold.before), most_pods)
    return SetDtype(cold.after, most_pods)


def _undone(cold: ColdChange) -> Restart:
    return _action(replace(cold, before=cold.after, after=cold.before))


def _settled(memory: TunerMemory, cold: ColdChange, text: str) -> TunerMemory:
    """Over, with this value."""
    value = int(text) if cold.knob is Knob.TIER_BYTES else text
    return replace(memory, cold=None, desired=memory.desired.having(cold.knob, value))


def _asked(observed: Observed, knob: Knob) -> str | None:
    """What the workload starts pods with now."""
    workload = observed.workload
    if workload is None:
        return None
    if knob is Knob.DTYPE:
        return workload.dtype
    return None if workload.tier_bytes is None else str(workload.tier_bytes)


def watched(spec: KVCachePolicySpec, memory: TunerMemory, now: float) -> TunerMemory:
    """Whoever carries the change out has looked at it, and counts its time by itself.

    Waiting for a disruption budget, or a pause, counts as no time there. What is remembered here
    ends a change that nobody looks at. It moves on in steps: each is a write of the status.
    """
    cold = memory.cold
    if cold is None or now - cold.since < spec.canary.timeout_seconds / _STEPS:
        return memory
    return replace(memory, cold=replace(cold, since=now))


def advance(
    spec: KVCachePolicySpec, observed: Observed, memory: TunerMemory, cold: ColdChange, now: float
) -> Progress:
    """The next part of ``cold``, which ``memory`` holds."""
    asked = _asked(observed, cold.knob)
    if asked is not None and not any(same_dtype(asked, one) for one in (cold.before, cold.after)):
        free = replace(memory, cold=None, desired=memory.desired.having(cold.knob, None))
        return Progress(
            Verdict.HOLD,
            Why.USER_CHANGED,
            f"somebody set {asked} while {cold.after} was on its way: the tuner gives way",
            free,
        )
    if cold.phase is Phase.CANARY:
        return _canary(spec, observed, memory, cold, now)
    if cold.phase is Phase.ROLLING:
        return _rolling(spec, observed, memory, cold, now)
    return _back(spec, observed, memory, cold)


def _canary(
    spec: KVCachePolicySpec, observed: Observed, memory: TunerMemory, cold: ColdChange, now: float
) -> Progress:
    window, gate = spec.pressure.window_seconds, observed.gate
    if gate is not None and same_dtype(gate.value, cold.after):
        if not gate.passed:
            return _fail(spec, memory, cold, f"the canary failed: {gate.text}", now)
        if having(observed, cold.knob, cold.after, window):
            rolling = replace(cold, phase=Phase.ROLLING, since=now, done=1)
            return Progress(
                Verdict.CONVERGE,
                Why.ROLLING,
                f"the canary with {cold.after} passed: {gate.text}",
                replace(memory, cold=rolling),
                (_action(cold),),
            )
    waited = now - cold.since
    if waited > spec.canary.timeout_seconds:
        text = f"the canary with {cold.after} was not judged within {waited:.0f} s"
        return _fail(spec, memory, cold, text, now)
    runs = (
        "runs and is watched" if having(observed, cold.knob, cold.after, window) else "is starting"
    )
    text = f"a canary with {cold.after} {runs}, for {waited:.0f} s now"
    return Progress(Verdict.CONVERGE, Why.CANARY, text, memory, (_action(cold, 1),))


def _rolling(
    spec: KVCachePolicySpec, observed: Observed, memory: TunerMemory, cold: ColdChange, now: float
) -> Progress:
    have = having(observed, cold.knob, cold.after, spec.pressure.window_seconds)
    if have == len(observed.pods):
        return _finish(spec, memory, cold, now)
    gate = observed.gate
    if gate is not None and not gate.passed and same_dtype(gate.value, cold.after):
        return _fail(spec, memory, cold, gate.text, now)
    if have > cold.done:
        cold = replace(cold, done=have, since=now)
    waited = now - cold.since
    text = f"{have} of {len(observed.pods)} pods have {cold.after}"
    if waited > spec.canary.timeout_seconds:
        text = f"{text}, and none more for {waited:.0f} s"
        # Back to what was exact has nowhere safer to go: it waits and says so.
        if cold.direction is Direction.UP:
            return _fail(spec, memory, cold, text, now)
    return Progress(
        Verdict.CONVERGE, Why.ROLLING, text, replace(memory, cold=cold), (_action(cold),)
    )


def _back(
    spec: KVCachePolicySpec, observed: Observed, memory: TunerMemory, cold: ColdChange
) -> Progress:
    have = having(observed, cold.knob, cold.before, spec.pressure.window_seconds)
    if have == len(observed.pods):
        return Progress(
            Verdict.HOLD,
            Why.ROLLED_BACK,
            f"all pods have {cold.before} again; {cold.why}",
            _settled(memory, cold, cold.before),
        )
    return Progress(
        Verdict.CONVERGE,
        Why.ROLLING_BACK,
        f"{have} of {len(observed.pods)} pods have {cold.before} again; {cold.why}",
        memory,
        (_undone(cold),),
    )


def _fail(
    spec: KVCachePolicySpec, memory: TunerMemory, cold: ColdChange, text: str, now: float
) -> Progress:
    hold = spec.rollback
    memory = memory.with_hold(cold.after, now, hold.hold_seconds, hold.max_hold_seconds)
    back = replace(cold, phase=Phase.BACK, since=now, done=0, why=text)
    return Progress(
        Verdict.CONVERGE,
        Why.ROLLING_BACK,
        text,
        replace(memory, cold=back),
        (_undone(cold),),
    )


def _finish(spec: KVCachePolicySpec, memory: TunerMemory, cold: ColdChange, now: float) -> Progress:
    # The change counts from its end on: one in the list, not two.
    begun_as = memory.last(cold.knob, cold.direction)
    others = tuple(one for one in memory.changes if one is not begun_as)
    holds = tuple(one for one in memory.holds if one.value != cold.after)
    memory = replace(_settled(memory, cold, cold.after), changes=others, holds=holds)
    change = Change(now, cold.knob, cold.direction, memory.desired.value(cold.knob))
    keep = max(KEEP_SECONDS, spec.pace.stabilization_seconds)
    return Progress(
        Verdict.HOLD,
        Why.ROLLED_OUT,
        f"all pods have {cold.after}",
        memory.with_change(change, keep),
    )
