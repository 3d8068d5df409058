"""A plan as the policy's status tells it: a line, conditions, Events. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from alise_core.crds.conditions import ConditionType, Reason
from alise_core.crds.governing import PoolRef
from alise_core.crds.kv_cache_policy import LastAction, PoolTuningStatus
from alise_operator.decide.announcements import Announcement, EventType
from alise_operator.decide.conditions import Finding, false, true
from alise_operator.decide.tuning import TuningReport
from alise_operator.tuning.plan import Plan, Verdict, Why

_TEXT_CHARS = 1_024
_MOST_LINES = 16
_NEWS = (Verdict.CHANGE, Verdict.RECOMMEND)
_BAD = (Why.ROLLING_BACK, Why.ROLLED_BACK)


def report_of(
    pool: PoolRef, plan: Plan, before: LastAction | None, problems: tuple[str, ...], unix: float
) -> TuningReport:
    """What is told of one look.

    Args:
        pool: Which.
        plan: What was decided.
        before: The last action that stands in the status.
        problems: What could not be done.
        unix: Now.
    """
    action = before
    if plan.verdict in _NEWS and plan.step is not None:
        said = f"{plan.step.knob} {plan.step.before} -> {plan.step.after}"
        verb = "recommended: " if plan.verdict is Verdict.RECOMMEND else ""
        action = _unless_same(
            before,
            LastAction(
                time=datetime.fromtimestamp(int(unix), UTC),
                action=f"{verb}{said}"[:_TEXT_CHARS],
                reason=plan.message[:_TEXT_CHARS],
                command=_whole_commands(plan.commands) or None,
            ),
        )
    waits = plan.verdict is Verdict.HOLD or plan.why is Why.WAITING
    waiting = plan.message if waits else ""
    status = PoolTuningStatus(
        name=pool.name,
        rung=plan.rung[:_TEXT_CHARS],
        pressure=None if plan.pressure is None else round(plan.pressure, 2),
        last_action=action,
        waiting_for=f"{plan.why}: {waiting}"[:_TEXT_CHARS] if waiting else "",
        decision=f"{plan.verdict}: {plan.message}"[:_TEXT_CHARS],
        considered=_lines(plan.considered),
        notes=_lines(plan.notes),
        wanted_replicas=plan.memory.desired.replicas or 0,
        memory=plan.memory.to_json(),
    )
    return TuningReport(
        pool,
        status,
        _findings(plan, problems),
        _news(plan, action, before, problems),
        pressure=plan.pressure,
    )


def _whole_commands(commands: Sequence[str]) -> str:
    """Those that fit; half a command is none that a person should run."""
    said = ""
    for place, command in enumerate(commands):
        longer = f"{said}; {command}" if said else command
        left = f"  # and {len(commands) - place} more, for the other pods"
        if len(longer) > _TEXT_CHARS - len(left):
            return said + left
        said = longer
    return said


def _lines(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(text[:_TEXT_CHARS] for text in texts[:_MOST_LINES])


def last_action_of(standing: Mapping[str, object] | None) -> LastAction | None:
    """Of the line that stands in the status."""
    raw = None if standing is None else standing.get("lastAction")
    if not isinstance(raw, Mapping):
        return None
    try:
        return LastAction.model_validate(raw)
    except ValueError:
        return None


def _unless_same(before: LastAction | None, action: LastAction) -> LastAction:
    """A recommendation that stands is no new one."""
    return before if before is not None and before.action == action.action else action


def _findings(plan: Plan, problems: tuple[str, ...]) -> tuple[Finding, ...]:
    moving = plan.verdict in {Verdict.CHANGE, Verdict.CONVERGE}
    reasons = {Why.CANARY: Reason.CANARY, Why.WAITING: Reason.BLOCKED}
    reason = reasons.get(plan.why, Reason.ROLLING)
    progressing = (
        true(ConditionType.PROGRESSING, reason, plan.message)
        if moving
        else false(ConditionType.PROGRESSING, Reason.IDLE, plan.message)
    )
    if plan.why in _BAD:
        return progressing, true(ConditionType.DEGRADED, Reason.ROLLED_BACK, plan.message)
    if problems:
        return progressing, true(ConditionType.DEGRADED, Reason.BLOCKED, "; ".join(problems))
    healthy = "No change was rolled back, and nothing is in the way of one"
    return progressing, false(ConditionType.DEGRADED, Reason.HEALTHY, healthy)


def _news(
    plan: Plan, action: LastAction | None, before: LastAction | None, problems: tuple[str, ...]
) -> tuple[Announcement, ...]:
    told = []
    fresh = plan.verdict is Verdict.CHANGE or (
        plan.verdict is Verdict.RECOMMEND and action is not before
    )
    if fresh or plan.why in {Why.ROLLED_OUT, Why.ROLLED_BACK, Why.USER_CHANGED}:
        kind = EventType.WARNING if plan.why is Why.ROLLED_BACK else EventType.NORMAL
        told.append(Announcement(kind, plan.why, plan.message[:_TEXT_CHARS]))
    told += [Announcement(EventType.WARNING, "TuneFailed", text[:_TEXT_CHARS]) for text in problems]
    return tuple(told)
