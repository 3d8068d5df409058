from typing import Any

import pytest

from alise_core.crds.conditions import ConditionType, Reason
from alise_core.crds.governing import PoolRef
from alise_core.crds.kv_cache_policy import KVCachePolicyStatus, PoolTuningStatus
from alise_core.crds.names import Kind
from alise_core.crds.scheduling_policy import SchedulingPolicyStatus
from alise_operator.decide.conditions import true
from alise_operator.decide.policy import decide_policy
from alise_operator.decide.scope import Scope
from alise_operator.decide.status import Verdict
from alise_operator.decide.tuning import TuningReport
from fakes.custom_objects import (
    NEW,
    Raw,
    a_policy,
    a_pool,
    a_raw,
    a_scope,
    an_inference_pool,
    condition,
    stored,
)

NOW = 1_750_000_000.0


def decide(scope: Scope, name: str, standing: dict[str, Any] | None = None) -> Verdict:
    (policy,) = (each for each in scope.scheduling if each.name == name)
    return decide_policy(policy, standing or {}, scope, scope.scheduling, NOW)


def accepted(verdict: Verdict) -> tuple[str, str]:
    found = condition(verdict.status, "Accepted")
    return found["status"], found["reason"]


def targets(verdict: Verdict) -> dict[str, bool]:
    found = verdict.status["targets"]
    assert isinstance(found, list)
    return {f"{each['kind']}/{each['name']}": each["inForce"] for each in found}


def test_a_policy_in_force_where_it_says() -> None:
    scope = a_scope(pools=(a_pool("a"), a_pool("b")), scheduling=(a_policy("p", "a"),))

    verdict = decide(scope, "p")

    assert accepted(verdict) == ("True", "Accepted")
    assert targets(verdict) == {"ModelPool/a": True}
    assert verdict.announcements == ()


def test_the_status_is_one_that_the_crd_knows() -> None:
    scope = a_scope(pools=(a_pool("a"),), scheduling=(a_policy("p", "a", "b"),))

    SchedulingPolicyStatus.model_validate(decide(scope, "p").status)


def test_the_older_of_two_wins_and_the_other_is_told() -> None:
    scope = a_scope(
        pools=(a_pool("a"),),
        scheduling=(a_policy("new", "a", created=NEW), a_policy("old", "a")),
    )

    assert accepted(decide(scope, "old")) == ("True", "Accepted")
    verdict = decide(scope, "new")
    assert accepted(verdict) == ("False", "Conflicted")
    assert "'old' governs ModelPool 'a'" in condition(verdict.status, "Accepted")["message"]
    assert [each.reason for each in verdict.announcements] == ["Conflicted"]


def test_one_that_lost_only_some_pools_is_accepted() -> None:
    scope = a_scope(
        pools=(a_pool("a"), a_pool("b")),
        scheduling=(a_policy("new", "a", "b", created=NEW), a_policy("old", "a")),
    )

    verdict = decide(scope, "new")

    assert accepted(verdict) == ("True", "Accepted")
    assert targets(verdict) == {"ModelPool/a": False, "ModelPool/b": True}
    assert "In force at 1 of 2 pools" in condition(verdict.status, "Accepted")["message"]


def test_targets_that_are_missing() -> None:
    scope = a_scope(pools=(a_pool("a"),), scheduling=(a_policy("p", "a", "gone"),))

    verdict = decide(scope, "p")

    assert accepted(verdict) == ("True", "Accepted")
    resolved = condition(verdict.status, "ResolvedRefs")
    assert (resolved["status"], resolved["reason"]) == ("False", "RefNotFound")
    assert "'gone'" in resolved["message"]


def test_no_target_at_all() -> None:
    scope = a_scope(scheduling=(a_policy("p", "gone"),))

    assert accepted(decide(scope, "p")) == ("False", "TargetNotFound")


def test_a_pool_that_never_was_valid_is_no_target() -> None:
    scope = a_scope(pools=(a_pool("a", basePath="x"),), scheduling=(a_policy("p", "a"),))

    verdict = decide(scope, "p")

    assert accepted(verdict) == ("False", "TargetNotFound")
    assert "no valid spec" in condition(verdict.status, "ResolvedRefs")["message"]


def test_a_policy_without_targets_is_for_every_pool_that_nobody_names() -> None:
    scope = a_scope(
        pools=(a_pool("a"), a_pool("b")),
        scheduling=(a_policy("default"), a_policy("special", "b", created=NEW)),
    )

    verdict = decide(scope, "default")

    assert accepted(verdict) == ("True", "Accepted")
    assert targets(verdict) == {"ModelPool/a": True, "ModelPool/b": False}


def test_it_waits_for_pools() -> None:
    scope = a_scope(scheduling=(a_policy("default"), a_policy("second", created=NEW)))

    assert accepted(decide(scope, "default")) == ("True", "Accepted")
    assert accepted(decide(scope, "second")) == ("False", "Conflicted")


def inference_target(name: str) -> Raw:
    group = "inference.networking.k8s.io"
    ref = {"group": group, "kind": "InferencePool", "name": name}
    return a_raw("p", {"targetRefs": [ref]})


def test_an_inference_pool_that_stands_alone_can_be_governed() -> None:
    scope = a_scope(
        inference_pools=(an_inference_pool("shared"),), scheduling=(inference_target("shared"),)
    )

    assert targets(decide(scope, "p")) == {"InferencePool/shared": True}


@pytest.mark.parametrize(
    ("scope", "why"),
    [
        (
            a_scope(
                pools=(a_pool("chat", inferencePoolRef={"name": "shared"}),),
                inference_pools=(an_inference_pool("shared"),),
                scheduling=(inference_target("shared"),),
            ),
            "served through ModelPool 'chat'",
        ),
        (
            a_scope(
                inference_pools=(an_inference_pool("shared", picker=True),),
                scheduling=(inference_target("shared"),),
            ),
            "endpoint picker",
        ),
        (a_scope(scheduling=(inference_target("shared"),)), "no such pool"),
    ],
)
def test_one_that_does_not_cannot_and_it_is_said_why(scope: Scope, why: str) -> None:
    verdict = decide(scope, "p")

    assert accepted(verdict) == ("False", "TargetNotFound")
    assert why in condition(verdict.status, "Accepted")["message"]


def invalid(name: str) -> Raw:
    raw = a_policy(name, "a", admission={"quantile": 7})
    raw["metadata"]["generation"] = 2
    return raw


def test_an_invalid_policy_says_so_and_where_its_last_good_spec_is_in_force() -> None:
    good = a_policy("p", "a")
    scope = a_scope(pools=(a_pool("a"),))
    policy = stored(Kind.SCHEDULING_POLICY, good, invalid("p"))

    verdict = decide_policy(policy, {}, scope, (policy,), NOW)

    assert accepted(verdict) == ("False", "Invalid")
    message = condition(verdict.status, "Accepted")["message"]
    assert "spec.admission.quantile" in message
    assert "last good spec stays in force" in message
    assert targets(verdict) == {"ModelPool/a": True}
    assert verdict.status["observedGeneration"] == 2


def test_one_that_never_was_valid_governs_nothing() -> None:
    scope = a_scope(pools=(a_pool("a"),), scheduling=(invalid("p"), a_policy("q", created=NEW)))

    verdict = decide(scope, "p")

    assert accepted(verdict) == ("False", "Invalid")
    assert verdict.status["targets"] == []
    assert "has seen no good spec" in condition(verdict.status, "Accepted")["message"]
    assert accepted(decide(scope, "q")) == ("True", "Accepted")


def tuned(name: str, pressure: float | None, rung: str = "lru") -> TuningReport:
    status = PoolTuningStatus(name=name, rung=rung, pressure=pressure)
    finding = true(ConditionType.PROGRESSING, Reason.CANARY, f"canary at {name}")
    findings = (finding,) if pressure and pressure > 0.9 else ()
    return TuningReport(PoolRef("ns", Kind.MODEL_POOL, name), status, findings)


def decide_kv(tuning: list[TuningReport] | None, standing: dict[str, Any]) -> Verdict:
    scope = a_scope(pools=(a_pool("a"), a_pool("b")), kv_cache=(a_policy("kv"),))
    (policy,) = scope.kv_cache
    return decide_policy(policy, standing, scope, scope.kv_cache, NOW, tuning)


def test_what_the_tuner_reports_is_part_of_the_status() -> None:
    status = decide_kv([tuned("b", 0.95, "int8"), tuned("a", 0.2)], {}).status

    parsed = KVCachePolicyStatus.model_validate({k: v for k, v in status.items() if v is not None})
    assert [pool.name for pool in parsed.pools] == ["a", "b"]
    assert (parsed.rung, parsed.pressure) == ("int8", "0.95")
    assert condition(status, "Progressing")["message"] == "canary at b"


def test_a_pool_that_is_not_tended_any_more_leaves_the_status() -> None:
    standing = dict(decide_kv([tuned("a", 0.5)], {}).status)

    status = decide_kv([], standing).status

    assert (status["pools"], status["rung"], status["pressure"]) == ([], None, None)


def test_without_a_tuner_the_status_says_nothing_of_tuning() -> None:
    foreign = {"type": "Degraded", "status": "True", "reason": "Blocked"}

    status = decide_kv(None, {"rung": "kept", "conditions": [foreign]}).status

    assert "rung" not in status
    assert condition(status, "Degraded") == foreign
