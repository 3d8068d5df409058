"""The operator as a whole: objects are put into an API server, statuses come back."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from alise_cluster.pacing import Pacing
from alise_cluster.resources import EVENTS, LEASES, PODS, resource_of
from alise_core.crds.governing import PoolRef
from alise_core.crds.kv_cache_policy import PoolTuningStatus
from alise_core.crds.names import Kind
from alise_core.errors import ConfigError
from alise_operator.decide.announcements import Announcement, EventType
from alise_operator.decide.tuning import TuningReport
from alise_operator.tending import Publish, TendedPool
from fakes import custom_objects
from fakes.api_server import FakeApiServer
from fakes.custom_objects import (
    Raw,
    a_policy,
    a_tenant,
    an_inference_pool,
    condition,
)
from fakes.running_operator import FakeEngine, RunningOperator, until

POOLS = resource_of(Kind.MODEL_POOL)
POLICIES = resource_of(Kind.SCHEDULING_POLICY)
KV_POLICIES = resource_of(Kind.KV_CACHE_POLICY)
TENANTS = resource_of(Kind.TENANT)
INFERENCE_POOLS = resource_of(Kind.INFERENCE_POOL)


def a_pod(**more: Any) -> Raw:
    """Whose engine refuses connections, or is a fake one."""
    return custom_objects.a_pod(ip="127.0.0.1", **more)


def a_pool(name: str = "chat", port: int = 1) -> Raw:
    return custom_objects.a_pool(name, targetPorts=[{"number": port}])


@pytest.fixture
async def operator(server: FakeApiServer) -> AsyncIterator[RunningOperator]:
    running = RunningOperator(server).start()
    yield running
    await running.stop()


def is_false(status: dict[str, Any], kind: str, reason: str) -> bool:
    found = condition(status, kind)
    return (found["status"], found["reason"]) == ("False", reason)


async def test_a_pool_gets_its_status_and_what_its_engines_say(
    server: FakeApiServer, operator: RunningOperator
) -> None:
    engine = await FakeEngine().start()
    server.put(PODS, a_pod())
    server.put(POLICIES, a_policy("default"))
    server.put(POOLS, a_pool(port=engine.port))

    status = await until(server, POOLS, "chat", lambda status: "kvCapacityTokens" in status)

    assert status["endpoints"] == {"total": 1, "ready": 1, "draining": 0}
    assert status["kvCapacityTokens"] == 1_600
    assert (status["kvCacheDtypes"], status["models"]) == (["fp8"], ["org/model"])
    assert status["schedulingPolicy"] == "default"
    assert condition(status, "Ready")["status"] == "True"
    assert engine.asked == 1
    await engine.stop()


async def test_pods_that_come_and_go_are_followed(
    server: FakeApiServer, operator: RunningOperator
) -> None:
    server.put(POOLS, a_pool())
    await until(server, POOLS, "chat", lambda status: is_false(status, "Ready", "NoEndpoints"))

    server.put(PODS, a_pod(ready=False))
    await until(server, POOLS, "chat", lambda status: status["endpointsReady"] == "0/1")
    server.put(PODS, a_pod())
    await until(server, POOLS, "chat", lambda status: status["endpointsReady"] == "1/1")
    server.remove(PODS, "chat-0")
    await until(server, POOLS, "chat", lambda status: is_false(status, "Ready", "NoEndpoints"))

    await operator.stop()
    told = [event["reason"] for event in server.all(EVENTS)]
    assert sorted(told) == ["EndpointsReady", "LeaderElection", "NoEndpoints"]


async def test_nothing_is_written_while_nothing_differs(
    server: FakeApiServer, operator: RunningOperator
) -> None:
    server.put(POOLS, a_pool())
    server.put(POLICIES, a_policy("default"))
    server.put(PODS, a_pod())
    # Its engine was asked in vain by then, and that is said too.
    await until(
        server,
        POOLS,
        "chat",
        lambda status: status["endpointsReady"] == "1/1" and status.get("models") == [],
    )
    await until(
        server, POLICIES, "default", lambda status: status["targets"] and status["targets"][0]
    )
    before = sum(it.verb == "patch" for it in server.asked)

    for number in range(20):
        quiet = a_pod()
        quiet["metadata"]["labels"] |= {"rollout": str(number)}
        server.put(PODS, quiet)
        server.put(POOLS, {"metadata": {"name": "chat", "annotations": {"n": str(number)}}})
    # One change that does matter, behind all those that do not.
    server.put(TENANTS, a_tenant("last"))
    await until(server, TENANTS, "last", lambda status: True)

    assert sum(it.verb == "patch" for it in server.asked) == before + 1


async def test_policies_are_told_whether_they_are_in_force(
    server: FakeApiServer, operator: RunningOperator
) -> None:
    server.put(POOLS, a_pool())
    server.put(POLICIES, a_policy("old", "chat"))
    server.put(POLICIES, a_policy("new", "chat", created="2026-03-01T00:00:00Z"))
    await until(server, POLICIES, "new", lambda status: is_false(status, "Accepted", "Conflicted"))

    server.remove(POLICIES, "old")

    await until(
        server, POLICIES, "new", lambda status: condition(status, "Accepted")["status"] == "True"
    )
    await until(server, POOLS, "chat", lambda status: status["schedulingPolicy"] == "new")


async def test_an_invalid_policy_is_refused_and_the_last_good_one_stays(
    server: FakeApiServer, operator: RunningOperator
) -> None:
    server.put(POOLS, a_pool())
    server.put(POLICIES, a_policy("p", "chat"))
    await until(server, POLICIES, "p", lambda status: status["targets"])

    server.put(POLICIES, a_policy("p", "chat", admission={"quantile": 4}))

    status = await until(
        server, POLICIES, "p", lambda status: is_false(status, "Accepted", "Invalid")
    )
    assert "stays in force" in condition(status, "Accepted")["message"]
    assert status["targets"][0]["inForce"]
    assert server.read(POOLS, "chat")["status"]["schedulingPolicy"] == "p"


async def test_a_tenants_secret_is_looked_for_and_never_read(
    server: FakeApiServer, operator: RunningOperator
) -> None:
    server.put(TENANTS, a_tenant("team-a", "keys"))
    await until(
        server, TENANTS, "team-a", lambda status: is_false(status, "ResolvedRefs", "RefNotFound")
    )

    server.forbidden.add(("get", "secrets"))
    server.put(TENANTS, a_tenant("team-b", "theirs"))
    status = await until(server, TENANTS, "team-b", lambda status: True)

    assert condition(status, "ResolvedRefs")["status"] == "Unknown"
    assert not any(it.verb in {"list", "watch"} for it in server.asked if it.resource == "secrets")


async def test_an_inference_pool_has_us_as_parent_as_long_as_it_is_served(
    server: FakeApiServer, operator: RunningOperator
) -> None:
    theirs = {"controllerName": "example.com/gw", "parentRef": {"name": "edge"}}
    server.put(INFERENCE_POOLS, an_inference_pool("shared") | {"status": {"parents": [theirs]}})
    await until(server, INFERENCE_POOLS, "shared", lambda status: len(status["parents"]) == 2)

    server.put(INFERENCE_POOLS, an_inference_pool("shared", picker=True))
    status = await until(
        server, INFERENCE_POOLS, "shared", lambda status: len(status["parents"]) == 1
    )

    assert status["parents"] == [theirs]


async def test_inference_pools_need_not_be_readable_where_they_are_not_served(
    server: FakeApiServer,
) -> None:
    resource = "inferencepools.inference.networking.k8s.io"
    server.forbidden |= {("list", resource), ("watch", resource)}
    operator = RunningOperator(server, serve_inference_pools=False).start()

    server.put(POOLS, a_pool())
    await until(server, POOLS, "chat", lambda status: True)

    assert not any(it.resource == resource for it in server.asked)
    await operator.stop()


async def test_nothing_is_decided_before_everything_was_read(server: FakeApiServer) -> None:
    server.put(POOLS, a_pool())
    server.put(PODS, a_pod())
    server.forbidden |= {("list", "pods")}
    operator = RunningOperator(server).start()
    await server.until_asked("list", "pods")
    await server.until_asked("create", "leases.coordination.k8s.io")

    assert "status" not in server.read(POOLS, "chat")
    assert "pods" in operator.operator.unready()
    await operator.stop()


async def test_one_leads_and_the_other_stands_by_and_takes_over(server: FakeApiServer) -> None:
    first = RunningOperator(server, "first", lease_seconds=3).start()
    server.put(POOLS, a_pool())
    await until(server, POOLS, "chat", lambda status: True)
    second = RunningOperator(server, "second", lease_seconds=3).start()
    await server.until_watches(12)
    assert second.operator.unready() == ""
    assert second.metric("alise_operator_leader") == 0

    await first.stop()
    server.put(PODS, a_pod())
    await until(server, POOLS, "chat", lambda status: status["endpointsReady"] == "1/1")

    assert server.read(LEASES, "alise-operator")["spec"]["holderIdentity"] == "second"
    assert second.metric("alise_operator_leader") == 1
    assert second.metric("alise_operator_leader_changes_total", change="acquired") == 1
    await second.stop()
    assert server.read(LEASES, "alise-operator")["spec"].get("holderIdentity", "") == ""


async def test_an_api_server_that_was_away_is_caught_up_with(
    server: FakeApiServer, operator: RunningOperator
) -> None:
    server.put(POOLS, a_pool())
    await until(server, POOLS, "chat", lambda status: True)

    await server.stop()
    server.put(PODS, a_pod())
    await server.start()

    await until(server, POOLS, "chat", lambda status: status["endpointsReady"] == "1/1")


async def test_other_namespaces_are_not_looked_at(
    server: FakeApiServer, operator: RunningOperator
) -> None:
    server.put(POOLS, a_pool("elsewhere"), namespace="elsewhere")
    server.put(POOLS, a_pool())
    await until(server, POOLS, "chat", lambda status: True)

    assert "status" not in server.read(POOLS, "elsewhere", "elsewhere")
    assert {it.namespace for it in server.asked} == {"ns"}


async def test_all_namespaces_are_on_request(server: FakeApiServer) -> None:
    operator = RunningOperator(server, all_namespaces=True).start()
    for namespace in ("one", "two"):
        raw = a_pool()
        raw["metadata"] |= {"namespace": namespace, "uid": namespace}
        server.put(POOLS, raw, namespace=namespace)
        pod = a_pod()
        pod["metadata"]["namespace"] = namespace
        server.put(PODS, pod, namespace=namespace)

    for namespace in ("one", "two"):
        await until(
            server,
            POOLS,
            "chat",
            lambda status: status["endpointsReady"] == "1/1",
            namespace=namespace,
        )
    await operator.stop()


class RecordingTuner:
    """Says of every pool that it has looked at it."""

    def __init__(self) -> None:
        self.left: list[PoolRef] = []

    async def tend(self, pool: TendedPool, publish: Publish) -> TuningReport:
        before = PoolTuningStatus(name=pool.ref.name, rung="before")
        await publish(TuningReport(pool.ref, before))
        news = Announcement(EventType.NORMAL, "Pressure", "the cap is 64 now")
        after = PoolTuningStatus(name=pool.ref.name, rung="after", wanted_replicas=3)
        return TuningReport(pool.ref, after, announcements=(news,), pressure=1.25)

    def let_go(self, pool: PoolRef) -> None:
        self.left.append(pool)


async def test_a_tuner_tends_pools_and_its_reports_are_written(server: FakeApiServer) -> None:
    tuner = RecordingTuner()
    operator = RunningOperator(server, tuner=tuner).start()
    rungs = []

    def note(status: dict[str, Any]) -> bool:
        rungs.append(status.get("rung", ""))
        return status.get("rung") == "after"

    server.put(POOLS, a_pool())
    server.put(KV_POLICIES, a_policy("kv"))
    await until(server, KV_POLICIES, "kv", note)

    assert "before" in rungs
    labels = {"pool_namespace": "ns", "kind": "ModelPool", "pool": "chat"}
    assert operator.metric("alise_operator_pool_wanted_replicas", **labels) == 3
    assert operator.metric("alise_operator_pool_pressure_ratio", **labels) == 1.25
    await operator.stop()
    assert operator.metric("alise_operator_pool_wanted_replicas", **labels) is None
    told = [(it["involvedObject"]["kind"], it["message"]) for it in server.all(EVENTS)]
    assert ("KVCachePolicy", "the cap is 64 now") in told
    assert tuner.left == [PoolRef("ns", Kind.MODEL_POOL, "chat")]


async def test_metrics_count_what_was_done(
    server: FakeApiServer, operator: RunningOperator
) -> None:
    server.put(POOLS, a_pool())
    await until(server, POOLS, "chat", lambda status: True)
    await until(server, POOLS, "chat", lambda status: status["endpointsReady"] == "0/0")

    assert operator.metric("alise_operator_objects", kind="ModelPool") == 1
    assert operator.metric("alise_operator_watch_connected", resource="pods") == 1
    assert operator.metric("alise_operator_leader") == 1
    await operator.stop()
    done = operator.metric("alise_operator_reconciles_total", kind="ModelPool", result="done")
    assert done is not None
    assert done >= 1


async def test_a_part_that_crashes_ends_the_process(server: FakeApiServer) -> None:
    async def crash(seconds: float) -> None:
        raise ZeroDivisionError

    operator = RunningOperator(server, pacing=Pacing(crash, lambda: 0.0)).start()

    with pytest.raises(ZeroDivisionError):
        await operator.ended()


async def test_an_address_that_is_taken_ends_it_with_a_reason(server: FakeApiServer) -> None:
    first = RunningOperator(server).start()
    await server.until_watches(6)
    second = RunningOperator(server, metrics_port=first.operator.probes.port).start()

    with pytest.raises(ConfigError, match="--metrics-port"):
        await second.stop()
    await first.stop()


async def test_gateways_that_run_beside_it_are_found(
    server: FakeApiServer, operator: RunningOperator
) -> None:
    for name, ip, ready in (("gateway-0", "10.0.0.9", True), ("gateway-1", "10.0.0.8", False)):
        pod = custom_objects.a_pod(name, ip=ip, ready=ready)
        pod["metadata"]["labels"] = {"app.kubernetes.io/component": "gateway"}
        server.put(PODS, pod)
    server.put(PODS, a_pod())
    server.put(POOLS, a_pool())

    await until(server, POOLS, "chat", lambda status: status["endpoints"]["total"] == 1)

    found = operator.operator.gateway_addresses()
    assert sorted(found) == ["10.0.0.8:8081", "10.0.0.9:8081"]
