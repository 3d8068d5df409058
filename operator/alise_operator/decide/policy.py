"""The status of a policy, whichever kind: valid or not, and where it is in force. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alise_core.crds.base import TargetRef
from alise_core.crds.book import Stored
from alise_core.crds.conditions import ConditionType, Reason
from alise_core.crds.governing import PoolRef, governing
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.crds.names import Kind
from alise_core.crds.scheduling_policy import PolicyTargetStatus, SchedulingPolicySpec
from alise_operator.decide.accepted import invalid
from alise_operator.decide.announcements import announce
from alise_operator.decide.conditions import Finding, false, merge, true, unknown
from alise_operator.decide.pools import pool_that_refers_to, pools
from alise_operator.decide.raw import sequence_at
from alise_operator.decide.references import Problem, enumerate_some, resolved
from alise_operator.decide.scope import Scope
from alise_operator.decide.status import Json, Verdict
from alise_operator.decide.tuning import TuningReport, tuning_fields, tuning_findings

PolicySpec = SchedulingPolicySpec | KVCachePolicySpec

_NOBODYS = ""
"""A pool that no policy can name: what governs it is what governs pools yet to come."""


@dataclass(frozen=True, slots=True)
class _Target:
    """One pool that the policy is for.

    Attributes:
        governor: Name of the policy that is in force there; ``None`` where there is no such pool.
        missing: Why it is no pool.
    """

    kind: Kind
    name: str
    governor: str | None = None
    missing: str = ""


def decide_policy(
    policy: Stored[PolicySpec],
    standing: Mapping[str, object],
    scope: Scope,
    rivals: Sequence[Stored[PolicySpec]],
    unix: float,
    tuning: Sequence[TuningReport] | None = None,
) -> Verdict:
    """What the status of a policy ought to say.

    Args:
        policy: The object.
        standing: The status that stands there.
        scope: Its namespace.
        rivals: The policies of its kind there, itself among them.
        unix: Now, in seconds since the epoch.
        tuning: How the pools under a KVCachePolicy stand; ``None`` where nothing tunes, and what
            the status says of it is left alone.
    """
    targets = _targets(policy.spec, scope, rivals)
    findings = (
        _accepted(policy, targets, scope, rivals),
        _resolved(policy.spec, targets),
        *tuning_findings(tuning or ()),
    )
    before = sequence_at(standing, "conditions")
    status: dict[str, Json] = {
        "observedGeneration": policy.generation,
        "conditions": merge(findings, before, policy.generation, unix),
        "targets": [_target_status(target, policy.name) for target in targets],
    }
    if tuning is not None:
        status |= tuning_fields(tuning)
    return Verdict(status, announce(findings, before))


def _targets(
    spec: PolicySpec | None, scope: Scope, rivals: Sequence[Stored[PolicySpec]]
) -> tuple[_Target, ...]:
    if spec is None:
        return ()
    there = pools(scope)
    if not spec.target_refs:
        return tuple(_at_pool(pool, rivals) for pool in there)
    return tuple(_at_named(target, there, scope, rivals) for target in spec.target_refs)


def _at_pool(pool: PoolRef, rivals: Sequence[Stored[PolicySpec]]) -> _Target:
    winner = governing(pool, rivals).winner
    return _Target(pool.kind, pool.name, "" if winner is None else winner.name)


def _at_named(
    target: TargetRef,
    there: tuple[PoolRef, ...],
    scope: Scope,
    rivals: Sequence[Stored[PolicySpec]],
) -> _Target:
    pool = PoolRef(scope.namespace, target.kind, target.name)
    if pool in there:
        return _at_pool(pool, rivals)
    return _Target(target.kind, target.name, missing=_why_missing(target, scope))


def _why_missing(target: TargetRef, scope: Scope) -> str:
    if target.kind is Kind.MODEL_POOL and target.name in scope.model_pools:
        return "the pool has no valid spec"
    if target.kind is Kind.INFERENCE_POOL and target.name in scope.inference_pools:
        via = pool_that_refers_to(scope, target.name)
        if via is not None:
            return f"it is served through ModelPool {via!r}: name that one"
        return "it has an endpoint picker, so gateways leave it alone"
    return "there is no such pool in the namespace"


def _accepted(
    policy: Stored[PolicySpec],
    targets: tuple[_Target, ...],
    scope: Scope,
    rivals: Sequence[Stored[PolicySpec]],
) -> Finding:
    kind = ConditionType.ACCEPTED
    if policy.problems or policy.spec is None:
        return invalid(policy.problems, seen_good=policy.spec is not None)
    there = [target for target in targets if target.governor is not None]
    if not there and policy.spec.target_refs:
        return false(kind, Reason.TARGET_NOT_FOUND, _list_missing(targets))
    if not there:
        return _waiting_for_pools(policy, scope, rivals)
    lost = [target for target in there if target.governor != policy.name]
    message = f"In force at {len(there) - len(lost)} of {len(there)} pools"
    if lost:
        message += "; elsewhere " + enumerate_some([_governed(target) for target in lost])
    if len(lost) == len(there):
        return false(kind, Reason.CONFLICTED, message)
    return true(kind, Reason.ACCEPTED, message)


def _waiting_for_pools(
    policy: Stored[PolicySpec], scope: Scope, rivals: Sequence[Stored[PolicySpec]]
) -> Finding:
    """A policy for every pool of a namespace that has none."""
    winner = governing(PoolRef(scope.namespace, Kind.MODEL_POOL, _NOBODYS), rivals).winner
    if winner is None or winner.name == policy.name:
        message = "There is no pool in the namespace; it will govern those that come"
        return true(ConditionType.ACCEPTED, Reason.ACCEPTED, message)
    message = f"Older {winner.name!r} governs the pools of the namespace that no policy names"
    return false(ConditionType.ACCEPTED, Reason.CONFLICTED, message)


def _resolved(spec: PolicySpec | None, targets: tuple[_Target, ...]) -> Finding:
    if spec is None:
        return unknown(ConditionType.RESOLVED_REFS, Reason.INVALID, "There is no valid spec.")
    return resolved(
        Problem(Reason.REF_NOT_FOUND, f"{target.kind.value} {target.name!r}: {target.missing}")
        for target in targets
        if target.missing
    )


def _list_missing(targets: tuple[_Target, ...]) -> str:
    return enumerate_some([f"{each.kind.value} {each.name!r}: {each.missing}" for each in targets])


def _governed(target: _Target) -> str:
    return f"{target.governor!r} governs {target.kind.value} {target.name!r}"


def _target_status(target: _Target, policy: str) -> Json:
    in_force = target.governor == policy
    message = target.missing
    if not message and not in_force:
        message = f"policy {target.governor!r} is in force there"
    status = PolicyTargetStatus(
        kind=target.kind.value, name=target.name, in_force=in_force, message=message
    )
    return status.model_dump(by_alias=True, exclude=set() if message else {"message"})
