"""What a report says of a change that restarts pods: where it stands, what it waits for. Pure."""

from dataclasses import replace

from alise_core.crds.conditions import ConditionStatus, ConditionType, Reason
from alise_core.crds.kv_cache_policy import KVCachePolicySpec, TierSizing, TuningMode
from alise_operator.decide.conditions import Finding, true
from alise_operator.decide.tuning import TuningReport
from alise_operator.tuning.plan import Plan, Why
from alise_operator.tuning.restarts import Moved, Standing

_ON_ITS_WAY = frozenset({Why.CANARY, Why.ROLLING, Why.ROLLING_BACK})


def restarting(plan: Plan, moved: Moved) -> Plan:
    """The plan in the words of whoever carries it out, who knows pods and figures."""
    if plan.why not in _ON_ITS_WAY or not moved.text:
        return plan
    if plan.why is Why.ROLLING_BACK and not moved.degraded:
        # The workload is as before already, and pods are not: what failed is what counts.
        return plan
    # A wait has a name of its own: people look for it.
    why = Why.WAITING if moved.waits else plan.why
    return replace(plan, why=why, message=moved.text)


def with_restarts(
    report: TuningReport, stands: Standing, moved: Moved, spec: KVCachePolicySpec, *, can: bool
) -> TuningReport:
    """The report with what is known of restarts.

    Args:
        report: Of the tuner's decision.
        stands: Before it.
        moved: After it.
        spec: Of the policy.
        can: The operator may change workloads.
    """
    wants = can and spec.mode is TuningMode.AUTO and wants_restarts(spec)
    found = {finding.type: finding for finding in report.findings}
    degraded = found.get(ConditionType.DEGRADED)
    if degraded is None or degraded.status is not ConditionStatus.TRUE:
        worse = _degraded(stands, moved, wants=wants)
        found |= {worse.type: worse} if worse is not None else {}
    progressing = found.get(ConditionType.PROGRESSING)
    idle = progressing is None or progressing.status is not ConditionStatus.TRUE
    if idle and moved.looked and moved.text:
        reason = Reason.BLOCKED if moved.waits else Reason.ROLLING
        moving = true(ConditionType.PROGRESSING, reason, moved.text)
        found[moving.type] = moving
    news = (*report.announcements, *moved.news)
    return replace(report, findings=tuple(found.values()), announcements=news)


def wants_restarts(spec: KVCachePolicySpec) -> bool:
    """Something that restarts pods may be changed."""
    tier = spec.host_tier
    sizes = tier.sizing is TierSizing.RESTART and tier.max_bytes is not None
    return sizes or len(spec.dtypes.ladder) > 1


def _degraded(stands: Standing, moved: Moved, *, wants: bool) -> Finding | None:
    if moved.degraded:
        return true(ConditionType.DEGRADED, Reason.ROLLED_BACK, moved.text)
    if moved.problem:
        return true(ConditionType.DEGRADED, Reason.BLOCKED, moved.problem)
    if stands.held:
        return true(ConditionType.DEGRADED, Reason.ROLLED_BACK, stands.held)
    if wants and stands.obstacle:
        text = f"what restarts pods is not changed here: {stands.obstacle}"
        return true(ConditionType.DEGRADED, Reason.BLOCKED, text)
    return None
