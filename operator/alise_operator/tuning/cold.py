"""A change that restarts pods, from its canary to its end, or back. Pure.

It goes on from what is seen, not from what was done: killed at any point, the same call with the
same memory gives the same actions again. While it is under way nothing else changes in the pool.
"""

from dataclasses import dataclass, replace

from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_operator.tuning.memory import Change, ColdChange, Direction, Phase, TunerMemory
from alise_operator.tuning.observed import Observed
from alise_operator.tuning.pace import KEEP_SECONDS
from alise_operator.tuning.plan import Action, SetDtype, Verdict, Why
from alise_operator.tuning.platforms import same_dtype
from alise_operator.tuning.settings import Knob
from alise_operator.tuning.targets import having_dtype

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


def begun(before: str, after: str, direction: Direction, now: float) -> ColdChange:
    """Towards less exact KV behind a canary; back to what was there before without one."""
    phase = Phase.CANARY if direction is Direction.UP else Phase.ROLLING
    return ColdChange(before, after, phase, now, direction=direction)


def first_action(cold: ColdChange) -> SetDtype:
    """What begins it."""
    return SetDtype(cold.after, 1 if cold.phase is Phase.CANARY else None)


def wanted_dtype(memory: TunerMemory) -> SetDtype | None:
    """What pods should start with, by what is remembered; ``None`` where nobody knows."""
    cold, settled = memory.cold, memory.desired.dtype
    if cold is None:
        return None if settled is None else SetDtype(settled)
    if cold.phase is Phase.BACK:
        return SetDtype(cold.before)
    return first_action(cold)


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
    asked = None if observed.workload is None else observed.workload.dtype
    if asked is not None and not any(same_dtype(asked, one) for one in (cold.before, cold.after)):
        free = replace(memory, cold=None, desired=memory.desired.having(Knob.DTYPE, None))
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
    if gate is not None and same_dtype(gate.dtype, cold.after):
        if not gate.passed:
            return _fail(spec, memory, cold, f"the canary failed: {gate.text}", now)
        if having_dtype(observed, cold.after, window):
            rolling = replace(cold, phase=Phase.ROLLING, since=now, done=1)
            return Progress(
                Verdict.CONVERGE,
                Why.ROLLING,
                f"the canary with {cold.after} passed: {gate.text}",
                replace(memory, cold=rolling),
                (SetDtype(cold.after),),
            )
    waited = now - cold.since
    if waited > spec.canary.timeout_seconds:
        text = f"the canary with {cold.after} was not judged within {waited:.0f} s"
        return _fail(spec, memory, cold, text, now)
    runs = "runs and is watched" if having_dtype(observed, cold.after, window) else "is starting"
    text = f"a canary with {cold.after} {runs}, for {waited:.0f} s now"
    return Progress(Verdict.CONVERGE, Why.CANARY, text, memory, (SetDtype(cold.after, 1),))


def _rolling(
    spec: KVCachePolicySpec, observed: Observed, memory: TunerMemory, cold: ColdChange, now: float
) -> Progress:
    have = having_dtype(observed, cold.after, spec.pressure.window_seconds)
    if have == len(observed.pods):
        return _finish(spec, memory, cold, now)
    gate = observed.gate
    if gate is not None and not gate.passed and same_dtype(gate.dtype, cold.after):
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
        Verdict.CONVERGE, Why.ROLLING, text, replace(memory, cold=cold), (SetDtype(cold.after),)
    )


def _back(
    spec: KVCachePolicySpec, observed: Observed, memory: TunerMemory, cold: ColdChange
) -> Progress:
    have = having_dtype(observed, cold.before, spec.pressure.window_seconds)
    if have == len(observed.pods):
        settled = memory.desired.having(Knob.DTYPE, cold.before)
        return Progress(
            Verdict.HOLD,
            Why.ROLLED_BACK,
            f"all pods have {cold.before} again; {cold.why}",
            replace(memory, cold=None, desired=settled),
        )
    return Progress(
        Verdict.CONVERGE,
        Why.ROLLING_BACK,
        f"{have} of {len(observed.pods)} pods have {cold.before} again; {cold.why}",
        memory,
        (SetDtype(cold.before),),
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
        (SetDtype(cold.before),),
    )


def _finish(spec: KVCachePolicySpec, memory: TunerMemory, cold: ColdChange, now: float) -> Progress:
    # The change counts from its end on: one in the list, not two.
    begun_as = memory.last(Knob.DTYPE, cold.direction)
    others = tuple(one for one in memory.changes if one is not begun_as)
    settled = memory.desired.having(Knob.DTYPE, cold.after)
    holds = tuple(one for one in memory.holds if one.dtype != cold.after)
    memory = replace(memory, cold=None, desired=settled, changes=others, holds=holds)
    change = Change(now, Knob.DTYPE, cold.direction, cold.after)
    keep = max(KEEP_SECONDS, spec.pace.stabilization_seconds)
    return Progress(
        Verdict.HOLD,
        Why.ROLLED_OUT,
        f"all pods have {cold.after}",
        memory.with_change(change, keep),
    )
