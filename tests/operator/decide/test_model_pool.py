from dataclasses import replace
from typing import Any

import pytest

from alise_core.crds.model_pool import ModelPoolStatus
from alise_core.crds.names import Kind
from alise_operator.decide.announcements import EventType
from alise_operator.decide.engine import EngineFacts
from alise_operator.decide.model_pool import decide_model_pool
from alise_operator.decide.references import Presence, SecretFacts
from alise_operator.decide.scope import Scope
from alise_operator.decide.status import Verdict
from fakes.custom_objects import (
    NEW,
    Raw,
    a_pod,
    a_policy,
    a_pool,
    a_scope,
    an_inference_pool,
    condition,
    stored,
)

NOW = 1_750_000_000.0


def decide(scope: Scope, *raws: Raw, standing: dict[str, Any] | None = None) -> Verdict:
    pool = stored(Kind.MODEL_POOL, *(raws or (a_pool(),)))
    return decide_model_pool(pool, standing or {}, scope, NOW)


def with_engines(scope: Scope, **facts: EngineFacts) -> Scope:
    engines = {f"{ip.replace('_', '.').removeprefix('ip')}:8000": f for ip, f in facts.items()}
    return Scope("ns", scope.model_pools, scope.inference_pools, pods=scope.pods, engines=engines)


THREE = (
    a_pod("chat-0"),
    a_pod("chat-1", ip="10.0.0.2", ready=False),
    a_pod("chat-2", ip="10.0.0.3", terminating=True),
    a_pod("done", ip="10.0.0.4", phase="Succeeded"),
    a_pod("stranger", app="other", ip="10.0.0.5"),
)


def test_endpoints_are_counted_by_what_they_can_do() -> None:
    status = decide(a_scope(pods=THREE)).status

    assert status["endpoints"] == {"total": 2, "ready": 1, "draining": 1}
    assert status["endpointsReady"] == "1/2"


def test_each_port_counts() -> None:
    pool = a_pool(targetPorts=[{"number": 8000}, {"number": 8001}])

    assert decide(a_scope(pods=THREE), pool).status["endpointsReady"] == "2/4"


def test_the_status_is_one_that_the_crd_knows() -> None:
    status = decide(a_scope(pods=THREE)).status

    parsed = ModelPoolStatus.model_validate({k: v for k, v in status.items() if v is not None})

    assert parsed.endpoints.ready == 1
    assert {each.type.value for each in parsed.conditions} == {"Accepted", "ResolvedRefs", "Ready"}


def test_what_ready_engines_say_is_put_together() -> None:
    pods = (a_pod("a"), a_pod("b", ip="10.0.0.2"), a_pod("c", ip="10.0.0.3", ready=False))
    scope = with_engines(
        a_scope(pods=pods),
        ip10_0_0_1=EngineFacts(1_000, ("auto",), ("m",)),
        ip10_0_0_2=EngineFacts(None, ("fp8",), ("m", "n")),
        ip10_0_0_3=EngineFacts(5_000, ("int8",), ("x",)),
    )

    status = decide(scope).status

    assert status["kvCapacityTokens"] == 1_000
    assert status["kvCacheDtypes"] == ["auto", "fp8"]
    assert status["models"] == ["m", "n"]


def test_a_capacity_nobody_states_is_taken_away() -> None:
    scope = with_engines(a_scope(pods=THREE), ip10_0_0_1=EngineFacts())

    status = decide(scope, standing={"kvCapacityTokens": 5}).status

    assert (status["kvCapacityTokens"], status["models"]) == (None, [])


def test_what_stands_stays_while_an_engine_has_not_been_asked_yet() -> None:
    pods = (a_pod("a"), a_pod("b", ip="10.0.0.2"))
    scope = with_engines(a_scope(pods=pods), ip10_0_0_1=EngineFacts(1_000, ("auto",), ("m",)))

    status = decide(scope, standing={"kvCapacityTokens": 5}).status

    assert not {"kvCapacityTokens", "models", "kvCacheDtypes"} & status.keys()


def test_a_pool_with_a_ready_endpoint_is_ready() -> None:
    ready = condition(decide(a_scope(pods=THREE)).status, "Ready")

    assert (ready["status"], ready["reason"]) == ("True", "EndpointsReady")


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        ((), "NoEndpoints"),
        ((a_pod(ready=False),), "NoReadyEndpoints"),
        ((a_pod(terminating=True),), "NoEndpoints"),
    ],
)
def test_one_without_is_not(pods: tuple[Raw, ...], reason: str) -> None:
    ready = condition(decide(a_scope(pods=pods)).status, "Ready")

    assert (ready["status"], ready["reason"]) == ("False", reason)


def test_losing_the_last_endpoint_is_news() -> None:
    before = dict(decide(a_scope(pods=THREE)).status)

    (news,) = decide(a_scope(pods=THREE[1:]), standing=before).announcements

    assert (news.type, news.reason) == (EventType.WARNING, "NoReadyEndpoints")


def test_nothing_new_is_no_news() -> None:
    before = decide(a_scope(pods=THREE))

    again = decide(a_scope(pods=THREE), standing=dict(before.status))

    assert again.status == before.status
    assert again.announcements == ()


def test_pods_come_from_the_inference_pool_that_is_named() -> None:
    pool = a_pool(inferencePoolRef={"name": "shared"})
    shared = an_inference_pool("shared", selector={"matchLabels": {"app": "chat"}})

    status = decide(a_scope(inference_pools=(shared,), pods=THREE), pool).status

    assert status["endpointsReady"] == "1/2"
    assert condition(status, "ResolvedRefs")["status"] == "True"


def test_an_inference_pool_that_is_missing_is_told() -> None:
    status = decide(a_scope(pods=THREE), a_pool(inferencePoolRef={"name": "shared"})).status

    assert condition(status, "ResolvedRefs")["reason"] == "RefNotFound"
    assert "'shared'" in condition(status, "ResolvedRefs")["message"]
    assert condition(status, "Ready")["reason"] == "NoEndpoints"


def test_an_inference_pool_that_nobody_looks_at_is_told() -> None:
    scope = replace(a_scope(), serve_inference_pools=False)

    status = decide(scope, a_pool(inferencePoolRef={"name": "shared"})).status

    assert "serve_inference_pools" in condition(status, "ResolvedRefs")["message"]


def test_an_inference_pool_that_cannot_be_used_is_told() -> None:
    shared = an_inference_pool("shared", targetPorts=[])

    status = decide(
        a_scope(inference_pools=(shared,)), a_pool(inferencePoolRef={"name": "shared"})
    ).status

    assert "targetPorts" in condition(status, "ResolvedRefs")["message"]


def test_secrets_are_resolved() -> None:
    pool = a_pool(apiKeySecretRef={"name": "key"}, adminTokenSecretRef={"name": "token"})
    secrets = {"key": SecretFacts(Presence.PRESENT), "token": SecretFacts(Presence.ABSENT)}
    scope = Scope("ns", secrets=secrets)

    resolved = condition(decide(scope, pool).status, "ResolvedRefs")

    assert resolved["status"] == "False"
    assert resolved["message"].startswith("spec.adminTokenSecretRef: Secret 'token'")


def test_an_invalid_spec_keeps_the_last_good_one_in_force() -> None:
    bad = a_pool(basePath="no slash")
    bad["metadata"]["generation"] = 2

    status = decide(a_scope(pods=THREE), a_pool(), bad).status

    accepted = condition(status, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "Invalid")
    assert "basePath" in accepted["message"]
    assert accepted["message"].endswith("The last good spec stays in force.")
    assert accepted["observedGeneration"] == status["observedGeneration"] == 2
    assert status["endpointsReady"] == "1/2"


def test_one_that_was_never_good_is_said_to_be_so_honestly() -> None:
    status = decide(a_scope(pods=THREE), a_pool(basePath="no slash")).status

    assert "has seen no good spec" in condition(status, "Accepted")["message"]
    assert condition(status, "Ready")["status"] == "Unknown"
    assert condition(status, "ResolvedRefs")["status"] == "Unknown"
    assert status["endpointsReady"] == "0/0"


def test_the_policies_in_force_are_named() -> None:
    scope = a_scope(
        scheduling=(a_policy("default"), a_policy("special", "chat", created=NEW)),
        kv_cache=(a_policy("tune", "other"),),
    )

    status = decide(scope).status

    assert status["schedulingPolicy"] == "special"
    assert status["kvCachePolicy"] is None


def test_another_policy_in_force_is_news() -> None:
    scope = a_scope(scheduling=(a_policy("new", "chat"),))
    before = dict(decide(scope).status) | {"schedulingPolicy": "old"}

    (news,) = decide(scope, standing=before).announcements

    assert news.reason == "PolicyChanged"
    assert "'new'" in news.message
