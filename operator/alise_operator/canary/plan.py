"""From what is seen of a workload to the next step of a change, or back. Pure.

One call is one look. It keeps nothing: where the change stands is in the record on the workload,
which every patch carries along. So a step is taken wholly or not at all, a look is repeated without
harm, and whoever takes over goes on where it stood. Every way ends with the owner's brakes in
place and no change under way: all pods have it, or none.

Before a pod is taken down all others are ready and no disruption budget is used up. Going back
waits for nobody, since what is wrong stays in service meanwhile, but takes one pod at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_operator.canary.brakes import (
    Brake,
    brake_patch,
    holding,
    one_by_one,
    refuse_strategy,
)
from alise_operator.canary.record import (
    RECORD_ANNOTATION,
    Phase,
    Record,
    Underway,
    record_from,
)
from alise_operator.canary.seen import Goal, Judged, Seen, SeenPod
from alise_operator.canary.words import Refused
from alise_operator.canary.workload import (
    Fields,
    changed_fields,
    fields_of,
    has_settings,
    keeper_of,
    others_fingerprint,
    template_patch,
    vllm_container,
    without_ours,
)
from alise_operator.decide.raw import text_at

LEAST_PODS = 2
MOST_RESTARTS = 3


class State(StrEnum):
    """Where a change stands; values are also reasons of Events and conditions."""

    IDLE = "Idle"
    REFUSED = "Refused"
    WAITING = "Waiting"
    HELD = "Held"
    PAUSED = "Paused"
    CANARY_STARTING = "CanaryStarting"
    OBSERVING = "Observing"
    PASSED = "Passed"
    ROLLING = "Rolling"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    ABANDONED = "Abandoned"
    DONE = "Done"


@dataclass(frozen=True, slots=True)
class Patch:
    """A strategic merge patch of the workload, good for the version it names only."""

    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DeletePod:
    """A pod that never got ready and that its controller would wait for for ever."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Measure:
    """Go on comparing: the answer comes as ``Seen.judged``."""

    canary: str
    controls: tuple[str, ...]


Effect = Patch | DeletePod | Measure


@dataclass(frozen=True, slots=True)
class Look:
    """What one look came to.

    Attributes:
        state: Where the change stands.
        text: The same in words, with figures.
        effects: At most one patch; nothing else depends on its having worked.
        judged: What is known of the canary, for whoever decides what is wanted.
        degraded: A change failed, or is going back.
        about: Name of the goal that this is about, which need not be the one wanted now.
    """

    state: State
    text: str
    effects: tuple[Effect, ...] = ()
    judged: Judged | None = None
    degraded: bool = False
    about: str = ""


def look(spec: KVCachePolicySpec, goal: Goal | None, seen: Seen, now: float) -> Look:
    """The next step.

    Args:
        spec: Of the policy that governs the pool.
        goal: What is wanted; ``None`` where nothing is, which takes back what is under way.
        seen: The workload as it is.
        now: Unix seconds: they are compared with those of an earlier process.
    """
    return _Looking(spec, goal, seen, now).look()


class _Looking:
    def __init__(self, spec: KVCachePolicySpec, goal: Goal | None, seen: Seen, now: float) -> None:
        self.spec, self.goal, self.seen, self.now = spec, goal, seen, now
        self.written = record_from(seen.record_text)
        self.record = self.written.caught_up(now, spec.rollback)

    def look(self) -> Look:
        underway = self.record.underway
        if underway is None:
            return replace(self._idle(), about="" if self.goal is None else self.goal.name)
        found = self._disturbed(underway) or self._undisturbed(underway)
        return replace(found, about=underway.name)

    def _disturbed(self, underway: Underway) -> Look | None:
        edit = self._edited(underway)
        if edit:
            return self._abandon(underway, edit)
        if self.seen.paused:
            return self._pause(underway)
        if self.record != self.written or underway.paused_at is not None:
            return self._resume(underway)
        return None

    def _undisturbed(self, underway: Underway) -> Look:
        if underway.phase is Phase.BACK:
            return self._back(underway)
        if not self._wants(underway):
            return self._fail(underway, "it is not wanted any more", hold=False)
        steps = {
            Phase.CANARY: self._canary,
            Phase.PASSED: self._passed,
            Phase.ROLLING: self._rolling,
        }
        return self._rebrake(underway) or steps[underway.phase](underway)

    # --- nothing under way

    def _idle(self) -> Look:
        goal, seen = self.goal, self.seen
        if goal is None:
            return Look(State.IDLE, "nothing is wanted")
        held = self.record.held(goal.name, self.now)
        if held is not None:
            left = held.until - self.now
            text = f"{goal.name} failed {held.failures} times, held for {left:.0f} s more"
            return Look(State.HELD, f"{text}: {held.why}", degraded=True)
        try:
            container = vllm_container(seen.template)
            before = fields_of(seen.template, container)
            if has_settings(before, goal.settings):
                return self._there(goal, before)
            refuse_strategy(seen.kind, seen.spec)
            after = changed_fields(seen.template, container, goal.settings, goal.tier)
        except Refused as refused:
            return Look(State.REFUSED, str(refused))
        why = self._why_not(container, before, after)
        if why:
            return Look(State.REFUSED, why)
        wait = self._wait()
        if wait:
            return Look(State.WAITING, wait)
        return self._begin(goal, container, before, after)

    def _there(self, goal: Goal, fields: Fields) -> Look:
        have, count = len(self.seen.changed(fields)), len(self.seen.pods)
        if have == count:
            return Look(State.DONE, f"all {count} pods have {goal.name}")
        refuse_strategy(self.seen.kind, self.seen.spec)
        return Look(State.WAITING, f"{have} of {count} pods have {goal.name}")

    def _why_not(self, container: str, before: Fields, after: Fields) -> str:
        if self.seen.replicas < LEAST_PODS:
            return (
                f"it has {self.seen.replicas} pods: a change needs {LEAST_PODS}, one to serve "
                "and to be compared with while the other starts"
            )
        return keeper_of(self.seen.workload, container, before, after) or ""

    def _wait(self) -> str:
        if self.seen.paused:
            return "it is paused by an annotation"
        unsettled = self.seen.unsettled()
        if unsettled:
            return unsettled
        if self.seen.blocked_by:
            names = ", ".join(self.seen.blocked_by)
            return f"PodDisruptionBudget {names} allows no disruption now"
        return ""

    def _begin(self, goal: Goal, container: str, before: Fields, after: Fields) -> Look:
        seen = self.seen
        brake = holding(seen.kind, seen.brake, seen.replicas, 1)
        underway = Underway(
            name=goal.name,
            phase=Phase.CANARY if goal.canary else Phase.ROLLING,
            since=self.now,
            pods=1,
            container=container,
            before=before,
            after=after,
            others=others_fingerprint(seen.template, container),
            own_brake=seen.brake,
            brake=brake,
        )
        state = State.CANARY_STARTING if goal.canary else State.ROLLING
        patch = self._patch(replace(self.record, underway=underway), brake, before, after)
        return Look(state, f"one pod gets {goal.name}", (patch,))

    # --- one pod has it

    def _canary(self, underway: Underway) -> Look:
        changed = self.seen.changed(underway.after)
        waited = self.now - underway.since
        broken = _broken(changed)
        if broken:
            return self._fail(underway, f"canary {broken}")
        judged = self.seen.judged
        ready = [pod for pod in changed if pod.ready]
        if ready and judged is not None and judged.pod_uid in {pod.uid for pod in ready}:
            return self._verdict(underway, judged)
        if waited > self.spec.canary.timeout_seconds:
            state = "was not judged" if ready else "did not get ready"
            trouble = "; ".join(pod.trouble for pod in changed if pod.trouble)
            trouble = self.seen.so_far if ready else trouble
            text = f"the canary {state} within {waited:.0f} s"
            return self._fail(underway, f"{text}{f' ({trouble})' if trouble else ''}")
        if not ready:
            return Look(State.CANARY_STARTING, f"one pod gets {underway.name}: {self._slow()}")
        controls = tuple(pod.name for pod in self.seen.pods if pod not in changed and pod.ready)
        text = f"pod {ready[0].name} has {underway.name} and is compared, for {waited:.0f} s now"
        text = f"{text}: {self.seen.so_far}" if self.seen.so_far else text
        return Look(State.OBSERVING, text, (Measure(ready[0].name, controls),))

    def _slow(self) -> str:
        return self.seen.unsettled() or "it is ready"

    def _verdict(self, underway: Underway, judged: Judged) -> Look:
        if not judged.passed:
            failed = self._fail(underway, f"the canary failed: {judged.text}")
            return replace(failed, judged=judged)
        passed = replace(underway, phase=Phase.PASSED, since=self.now, text=judged.text)
        patch = self._patch(replace(self.record, underway=passed), underway.brake)
        return Look(State.PASSED, f"the canary passed: {judged.text}", (patch,), judged)

    def _passed(self, underway: Underway) -> Look:
        changed = self.seen.changed(underway.after)
        judged = Judged(changed[0].uid if changed else "", True, underway.text)
        most = self.goal.most_pods if self.goal is not None else None
        waited = self.now - underway.since
        if most is not None and most <= underway.pods:
            if waited > self.spec.canary.timeout_seconds:
                return self._fail(underway, f"it was not wanted further within {waited:.0f} s")
            return Look(State.PASSED, f"the canary passed: {underway.text}", judged=judged)
        rolling = replace(underway, phase=Phase.ROLLING, since=self.now)
        patch = self._patch(replace(self.record, underway=rolling), underway.brake)
        return Look(State.ROLLING, self._progress(underway), (patch,), judged)

    # --- the others follow

    def _rolling(self, underway: Underway) -> Look:
        seen = self.seen
        changed = seen.changed(underway.after)
        waited = self.now - underway.since
        broken = _broken(changed)
        if broken:
            return self._fail(underway, broken)
        if len(changed) == seen.replicas and not seen.unsettled():
            return self._finish(underway, State.DONE, f"all pods have {underway.name}")
        text = self._progress(underway)
        wait = self._wait()
        stuck = wait or ("" if len(changed) >= underway.pods else "its controller is at work")
        if not stuck:
            pods = min(underway.pods + 1, seen.replicas)
            more = replace(underway, pods=pods, since=self.now)
            return self._brake(more, State.ROLLING, text)
        # A budget that is used up is somebody's wish and no fault of the change; and what goes
        # back to exact KV without a canary has nowhere safer to go.
        patient = bool(seen.blocked_by) or (self.goal is not None and not self.goal.canary)
        if waited > self.spec.canary.timeout_seconds and not patient:
            return self._fail(underway, f"{text}, and none more for {waited:.0f} s: {stuck}")
        return Look(State.ROLLING, f"{text}; {stuck}")

    def _progress(self, underway: Underway) -> str:
        have = sum(pod.ready for pod in self.seen.changed(underway.after))
        return f"{have} of {self.seen.replicas} pods have {underway.name}"

    # --- all go back

    def _fail(self, underway: Underway, why: str, *, hold: bool = True) -> Look:
        seen = self.seen
        brake = one_by_one(seen.kind, underway.own_brake, underway.brake)
        back = replace(underway, phase=Phase.BACK, since=self.now, text=why, brake=brake)
        record = replace(self.record, underway=back)
        if hold:
            record = record.failed(underway.name, why, self.now, self.spec.rollback)
        patch = self._patch(record, brake, underway.after, underway.before)
        return Look(State.ROLLING_BACK, f"{underway.name} is taken back: {why}", (patch,),
                    degraded=True)  # fmt: skip

    def _back(self, underway: Underway) -> Look:
        seen = self.seen
        changed = seen.changed(underway.after)
        unsettled = seen.unsettled()
        if not changed and not unsettled:
            text = f"all pods are as before; {underway.name} was taken back: {underway.text}"
            return replace(self._finish(underway, State.ROLLED_BACK, text), degraded=True)
        text = f"{len(changed)} pods still have {underway.name}; {underway.text}"
        # A StatefulSet's controller waits for a pod that never gets ready before it replaces it.
        stuck = tuple(
            DeletePod(pod.name, pod.uid)
            for pod in changed
            if not pod.ready and "controller" not in unsettled
        )
        return Look(State.ROLLING_BACK, text, stuck[:1], degraded=True)

    # --- somebody else

    def _wants(self, underway: Underway) -> bool:
        return self.goal is not None and self.goal.name == underway.name

    def _edited(self, underway: Underway) -> str:
        seen = self.seen
        if others_fingerprint(seen.template, underway.container) != underway.others:
            return "somebody changed the pod template"
        meant = underway.before if underway.phase is Phase.BACK else underway.after
        if fields_of(seen.template, underway.container) != meant:
            return "somebody changed the arguments or the memory"
        if seen.brake != underway.brake:
            return "somebody changed the update strategy"
        return ""

    def _abandon(self, underway: Underway, edit: str) -> Look:
        """Their change stays; of ours everything is taken back that is still as we put it."""
        seen = self.seen
        now = fields_of(seen.template, underway.container)
        settings = self.goal.settings if self._wants(underway) and self.goal is not None else ()
        fields = without_ours(now, underway.before, underway.after, settings)
        brake = {
            name: underway.own_brake.get(name) if value == underway.brake.get(name) else value
            for name, value in seen.brake.items()
        }
        record = replace(self.record, underway=None)
        record = record.failed(underway.name, edit, self.now, self.spec.rollback)
        text = f"{edit} while {underway.name} was on its way: the change is given up"
        return Look(State.ABANDONED, text, (self._patch(record, brake, now, fields),))

    def _pause(self, underway: Underway) -> Look:
        text = f"paused by an annotation while {underway.name} was on its way"
        if underway.paused_at is not None and self.record == self.written:
            return Look(State.PAUSED, text)
        paused = replace(underway, paused_at=self.now)
        patch = self._patch(replace(self.record, underway=paused), underway.brake)
        return Look(State.PAUSED, text, (patch,))

    def _resume(self, underway: Underway) -> Look:
        """Time that it stood still does not count; a time from the future is put right."""
        since, paused = underway.since, underway.paused_at
        if paused is not None:
            since = min(self.now, since + self.now - paused)
        going = replace(underway, since=since, paused_at=None)
        patch = self._patch(replace(self.record, underway=going), underway.brake)
        return Look(State.WAITING, f"{underway.name} goes on", (patch,))

    def _rebrake(self, underway: Underway) -> Look | None:
        """An autoscaler has changed the number of pods: a partition counts from its end."""
        pods = min(underway.pods, self.seen.replicas)
        brake = holding(self.seen.kind, underway.own_brake, self.seen.replicas, pods)
        if brake == underway.brake:
            return None
        return self._brake(replace(underway, pods=pods), State.WAITING, "the pods became others")

    # --- patches

    def _brake(self, underway: Underway, state: State, text: str) -> Look:
        brake = holding(self.seen.kind, underway.own_brake, self.seen.replicas, underway.pods)
        record = replace(self.record, underway=replace(underway, brake=brake))
        return Look(state, text, (self._patch(record, brake),))

    def _finish(self, underway: Underway, state: State, text: str) -> Look:
        record = replace(self.record, underway=None)
        if state is State.DONE:
            record = record.forgiven(underway.name)
        return Look(state, text, (self._patch(record, underway.own_brake),))

    def _patch(
        self,
        record: Record,
        brake: Brake,
        before: Fields | None = None,
        after: Fields | None = None,
    ) -> Patch:
        seen = self.seen
        spec = dict(brake_patch(seen.kind, seen.brake, brake))
        if before is not None and after is not None and before != after:
            container = record.underway.container if record.underway else self._container()
            spec["template"] = template_patch(seen.template, container, before, after)
        metadata = {
            # Whoever wrote in between is looked at first.
            "resourceVersion": text_at(seen.metadata, "resourceVersion"),
            "annotations": {RECORD_ANNOTATION: record.to_json()},
        }
        return Patch({"metadata": metadata, **({"spec": spec} if spec else {})})

    def _container(self) -> str:
        return self.record.underway.container if self.record.underway else ""


def _broken(changed: tuple[SeenPod, ...]) -> str:
    for pod in changed:
        if not pod.ready and pod.restarts >= MOST_RESTARTS:
            return f"pod {pod.name} ended {pod.restarts} times{pod.trouble and f' ({pod.trouble})'}"
    return ""
