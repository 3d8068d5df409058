"""Whether a pool's settings change now, which one, and why or why not. Pure.

``decide`` is called every few seconds with what is seen and what is remembered. It looks at one
thing after the other and stops at the first that decides: a pause, a change under way, settings
that are not as desired, figures that cannot be trusted, pressure, calm. One knob turns at a time.

The caller keeps ``plan.memory`` before it carries out ``plan.actions``; then it may die anywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from alise_core.crds.kv_cache_policy import KVCachePolicySpec, TuningMode
from alise_operator.tuning import cold as cold_change
from alise_operator.tuning.adopt import adopted
from alise_operator.tuning.commands import commands_for
from alise_operator.tuning.ladder import (
    Facts,
    Step,
    facts_of,
    loosened_cap,
    steps_down,
    steps_up,
)
from alise_operator.tuning.memory import Change, Direction, TunerMemory
from alise_operator.tuning.observed import Observed
from alise_operator.tuning.pace import (
    Bar,
    barred,
    calm_needed,
    foreseen,
    has_room,
    hot_enough,
    is_dear,
    kept_back,
    longest_calm,
    noted,
    too_soon,
)
from alise_operator.tuning.plan import Action, Plan, Tune, Verdict, Why
from alise_operator.tuning.platforms import capacity_factor
from alise_operator.tuning.pressure import PoolPressure, pool_pressure, why_no_demand
from alise_operator.tuning.settings import Knob
from alise_operator.tuning.targets import rung_of, tunes_for
from alise_operator.tuning.trend import seen


def decide(spec: KVCachePolicySpec, observed: Observed, memory: TunerMemory, now: float) -> Plan:
    """The plan for one pool.

    Args:
        spec: The policy that governs it.
        observed: What is seen of it.
        memory: ``plan.memory`` of the last time; ``TunerMemory()`` at first.
        now: Unix seconds.
    """
    memory = memory.caught_up(now, spec.rollback.max_hold_seconds)
    looked = _look(spec, observed, memory, now)
    plan = looked if isinstance(looked, Plan) else _Decision(spec, observed, looked, now).plan()
    desired = plan.memory.desired
    return replace(
        plan,
        rung=rung_of(spec, desired, plan.memory.base),
        wanted_replicas=max(len(observed.pods), desired.replicas or 0),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    memory: TunerMemory
    pressure: PoolPressure
    facts: Facts


def _look(
    spec: KVCachePolicySpec, observed: Observed, memory: TunerMemory, now: float
) -> "Plan | _Seen":
    """What has to be settled before pressure counts."""
    if observed.paused:
        return _hold(Why.PAUSED, "an annotation on the pool keeps the tuner away", _blind(memory))
    if not observed.pods:
        return _hold(Why.NO_PODS, "the pool has no pods", _blind(memory))
    automatic = spec.mode is TuningMode.AUTO
    if memory.cold is not None and automatic:
        part = cold_change.advance(spec, observed, _blind(memory), memory.cold, now)
        commands = commands_for(observed, part.actions)
        return Plan(part.verdict, part.why, part.message, part.memory, part.actions, None, commands)
    memory = adopted(spec, observed, memory, now)
    if automatic:
        told = tunes_for(spec, observed, memory.desired, spec.pressure.window_seconds)
        if told:
            return _converge(observed, memory, told)
    doubts = tuple(doubt.text for pod in observed.pods for doubt in pod.doubts)
    if len(observed.trusted) * 2 < len(observed.pods) or not observed.trusted:
        text = f"figures of {len(observed.trusted)} of {len(observed.pods)} pods can be trusted"
        return _hold(Why.NOT_TRUSTED, f"{text}: {'; '.join(doubts[:3])}", _blind(memory), doubts)
    capped = _is_capped(observed, memory)
    pressure = pool_pressure(observed, spec.pressure, capped=capped)
    return _Seen(_remembering(memory, pressure, spec, now), pressure, facts_of(observed, pressure))


class _Decision:
    """Up, down or neither, once the figures are good."""

    def __init__(
        self, spec: KVCachePolicySpec, observed: Observed, seen: _Seen, now: float
    ) -> None:
        self._spec, self._observed, self._now = spec, observed, now
        self._memory, self._pressure, self._facts = seen.memory, seen.pressure, seen.facts
        self._considered: list[str] = []

    def plan(self) -> Plan:
        """See ``decide``."""
        pressure, marks = self._pressure, self._spec.pressure
        # First what takes long: pressure that is foreseen for the next minutes would otherwise
        # have to last before the trend that leads to it is acted upon.
        if (step := self._early()) is not None:
            plan = step
        elif pressure.value >= marks.high:
            plan = self._up()
        elif pressure.high < marks.low:
            plan = self._down()
        else:
            text = f"between the marks {marks.low:g} and {marks.high:g}: {pressure.text}"
            plan = self._hold(Why.NO_PRESSURE, text)
        unheard = why_no_demand(self._observed, marks.window_seconds)
        doubts = (doubt.text for pod in self._observed.pods for doubt in pod.doubts)
        notes = (*((unheard,) if unheard else ()), *doubts)
        return replace(
            plan, pressure=pressure.value, considered=tuple(self._considered), notes=notes
        )

    def _up(self) -> Plan:
        loosened = loosened_cap(self._spec, self._memory.desired, self._facts)
        if loosened is not None and not self._bar(loosened):
            return self._take(loosened, Why.CAP_TOO_TIGHT, loosened.gain)
        waits: Bar | None = None
        steps = steps_up(self._spec, self._memory, self._facts, self._now)
        for step in steps:
            skip = step.skip or kept_back(step, steps, self._memory, self._spec.pace, self._now)
            if skip:
                self._considered.append(f"{step.knob}: {skip}")
                continue
            bar = self._bar(step)
            # A dearer knob is no way around one that only has to wait; a hot one is cheap.
            if bar is None and (waits is None or not is_dear(step.knob, self._spec)):
                return self._take(step, Why.PRESSURE, self._pressure.text)
            if bar is not None:
                self._considered.append(f"{_said(step)}: {bar[1]}")
            waits = waits or bar
        if waits is not None:
            return self._hold(waits[0], f"{self._pressure.text}; {waits[1]}")
        text = "nothing is left on the ladder"
        return self._hold(Why.NOTHING_LEFT, f"{self._pressure.text}; {text}")

    def _early(self) -> Plan | None:
        """What restarts pods, while there is room for it and the need is on its way."""
        spec, memory, pods = self._spec, self._memory, self._facts.pods
        coming = foreseen(memory, spec, pods)
        if coming < spec.pressure.high or not has_room(memory, spec, pods):
            return None
        steps = steps_up(spec, memory, self._facts, self._now)
        step = next(one for one in steps if one.knob is Knob.DTYPE)
        if step.skip or barred(step, memory, spec.pace, self._now):
            return None
        text = f"pressure rises, and goes on to {coming:.2f} as it does; {self._pressure.text}"
        return self._take(step, Why.FORESEEN, text)

    def _down(self) -> Plan:
        memory, marks = self._memory, self._spec.pressure
        steps = steps_down(self._spec, memory, self._facts)
        if not steps:
            return self._hold(Why.AT_BASE, f"no pressure, nothing to give back: {self._quiet()}")
        calm = self._now - (self._now if memory.calm_since is None else memory.calm_since)
        waits: Bar | None = None
        for step in steps:
            needed = calm_needed(step.knob, memory, self._spec)
            then = memory.calm_peak / step.factor
            if step.knob is Knob.DTYPE:
                coming = foreseen(memory, self._spec, self._facts.pods)
                then = max(then, coming / step.factor)
            most = marks.low if step.factor < 1 else marks.high
            bar: Bar | None = barred(step, memory, self._spec.pace, self._now)
            if then > most:
                text = f"pressure was up to {memory.calm_peak:.2f} and would be {then:.2f}"
                bar = (Why.WOULD_RETURN, text)
            elif calm < needed:
                bar = (Why.NOT_CALM_YET, f"calm for {calm:.0f} s of {needed:.0f} s")
            if bar is None:
                return self._take(step, Why.CALM, f"calm for {calm:.0f} s: {self._quiet()}")
            self._considered.append(f"{_said(step)}: {bar[1]}")
            waits = waits or bar
        if waits is None:
            raise AssertionError("every step was taken or waits")
        return self._hold(waits[0], f"{self._quiet()}; {waits[1]}")

    def _quiet(self) -> str:
        return self._pressure.text

    def _bar(self, step: Step) -> Bar | None:
        pace = self._spec.pace
        return barred(step, self._memory, pace, self._now) or hot_enough(
            step, self._spec, self._memory, self._facts.pods, self._now
        )

    def _take(self, step: Step, why: Why, text: str) -> Plan:
        memory = self._memory
        said = _said(step)
        recommended = self._spec.mode is TuningMode.RECOMMEND
        same = memory.recommended
        if recommended and same is not None and (same.knob, same.after) == (step.knob, step.after):
            return self._recommend(step, why, f"{said}: {text}", memory)
        # What makes room may be done as often as pressure asks for it, whichever way it turns.
        makes_room = why in {Why.PRESSURE, Why.FORESEEN, Why.CAP_TOO_TIGHT}
        way = Direction.UP if makes_room else Direction.DOWN
        soon = too_soon(way, memory, self._spec.pace, self._now)
        if soon is not None:
            return self._hold(soon[0], f"would set {said}: {text}; {soon[1]}")
        memory = noted(step, memory, self._spec.pace, self._now)
        if recommended:
            change = Change(self._now, step.knob, step.direction, step.after)
            memory = replace(memory, recommended=change)
            return self._recommend(step, why, f"{said}: {text}", memory)
        return self._change(step, why, f"{said}: {text}", memory)

    def _change(self, step: Step, why: Why, message: str, memory: TunerMemory) -> Plan:
        memory, actions = self._acting(step, memory)
        commands = commands_for(self._observed, actions)
        return Plan(Verdict.CHANGE, why, message, memory, actions, step, commands)

    def _recommend(self, step: Step, why: Why, message: str, memory: TunerMemory) -> Plan:
        _, actions = self._acting(step, memory)
        commands = commands_for(self._observed, actions)
        return Plan(Verdict.RECOMMEND, why, message, memory, (), step, commands)

    def _acting(self, step: Step, memory: TunerMemory) -> tuple[TunerMemory, tuple[Action, ...]]:
        """What is remembered once the step is decided, and what has to be done."""
        if step.knob is not Knob.REPLICAS and is_dear(step.knob, self._spec):
            cold = cold_change.begun(step, self._now)
            return replace(memory, cold=cold), (cold_change.first_action(cold),)
        memory = replace(memory, desired=memory.desired.having(step.knob, step.after))
        if step.knob is Knob.REPLICAS:
            asked = self._facts.pods if step.direction is Direction.UP else None
            base = memory.base.having(Knob.REPLICAS, memory.base.replicas or asked)
            if step.direction is Direction.DOWN:
                base = base.having(Knob.REPLICAS, None)
            return replace(memory, base=base), ()
        window = self._spec.pressure.window_seconds
        return memory, tunes_for(self._spec, self._observed, memory.desired, window)

    def _hold(self, why: Why, message: str) -> Plan:
        # A recommendation stands as long as the same step is asked for.
        asked = why in {Why.COOLING_DOWN, Why.BUDGET_SPENT}
        memory = self._memory if asked else replace(self._memory, recommended=None)
        return _hold(why, message, memory)


def _said(step: Step) -> str:
    """What a step does, gives and costs."""
    price = f"; price: {step.price}" if step.direction is Direction.UP else ""
    return f"{step.knob} {step.before} -> {step.after} ({step.gain}{price})"


def _remembering(
    memory: TunerMemory, pressure: PoolPressure, spec: KVCachePolicySpec, now: float
) -> TunerMemory:
    """Since when it has been hot, or calm, and how much came meanwhile."""
    marks = spec.pressure
    hot = memory.hot_since if memory.hot_since is not None else now
    since = memory.calm_since
    if since is not None and now - since >= longest_calm(memory, spec):
        since = None
    calm = now if since is None else since
    peak = max(0.0 if since is None else memory.calm_peak, pressure.high)
    is_calm = pressure.high < marks.low
    factor = capacity_factor(memory.desired.dtype)
    return replace(
        memory,
        trend=seen(memory.trend, pressure.need * factor, now),
        outlook=seen(memory.outlook, pressure.coming * factor, now),
        hot_since=hot if pressure.value >= marks.high else None,
        calm_since=calm if is_calm else None,
        calm_peak=peak if is_calm else 0.0,
    )


def _blind(memory: TunerMemory) -> TunerMemory:
    """Nobody knows whether it was calm meanwhile."""
    return replace(memory, hot_since=None, calm_since=None, calm_peak=0.0)


def _is_capped(observed: Observed, memory: TunerMemory) -> bool:
    cap = memory.desired.active_requests
    slots = [pod.plugin.slots for pod in observed.trusted if pod.plugin is not None]
    most = max((one for one in slots if one is not None), default=None)
    if cap is None or most is None:
        return False
    return cap * capacity_factor(memory.desired.dtype) < most


def _converge(observed: Observed, memory: TunerMemory, told: Iterable[Tune]) -> Plan:
    actions = tuple(told)
    names = ", ".join(action.pod for action in actions)
    return Plan(
        Verdict.CONVERGE,
        Why.NOT_AS_DESIRED,
        f"not as desired, told again: {names}",
        _blind(memory),
        actions,
        None,
        commands_for(observed, actions),
    )


def _hold(why: Why, message: str, memory: TunerMemory, notes: tuple[str, ...] = ()) -> Plan:
    return Plan(Verdict.HOLD, why, message, memory, notes=notes)
