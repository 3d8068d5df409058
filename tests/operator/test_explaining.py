"""``alise operator explain`` against an API server."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from alise_bench.tuner.sketch import SketchedPool
from alise_cluster.client import ClusterClient
from alise_cluster.resources import resource_of
from alise_core.crds.base import Spec
from alise_core.crds.governing import PoolRef
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.crds.names import Kind
from alise_operator.cli import main
from alise_operator.decide.tuning import tuning_fields
from alise_operator.explaining import CannotExplain, explain_pool
from alise_operator.tuning.decide import decide
from alise_operator.tuning.memory import TunerMemory
from alise_operator.tuning.reports import report_of
from fakes.api_server import FakeApiServer
from fakes.custom_objects import Raw, a_policy, a_pool

POOLS, POLICIES = resource_of(Kind.MODEL_POOL), resource_of(Kind.KV_CACHE_POLICY)
NOW = 1_750_000_000.0
SPEC: dict[str, Any] = {"mode": "Recommend", "activeRequests": {"min": 8}}


def a_tuned_policy(name: str = "kv") -> Raw:
    """With what the operator writes of a pool under pressure."""
    spec: Spec = KVCachePolicySpec.model_validate(SPEC)
    assert isinstance(spec, KVCachePolicySpec)
    pool, memory = SketchedPool.of(2, load=3.0), TunerMemory()
    for place in range(8):
        pool.tick()
        plan = decide(spec, pool.observe(), memory, NOW - 80 + 10 * place)
        memory = plan.memory
    ref = PoolRef("ns", Kind.MODEL_POOL, "chat")
    report = report_of(ref, plan, None, (), NOW - 10)
    status = json.loads(json.dumps(tuning_fields([report])))
    return a_policy(name, **SPEC) | {"status": status}


async def test_a_pool_is_explained_from_what_stands_in_the_cluster(
    server: FakeApiServer, client: ClusterClient
) -> None:
    server.put(POOLS, a_pool())
    server.put(POLICIES, a_tuned_policy())

    found = await explain_pool(client, "ns", "chat", NOW)

    assert (found.policy, found.mode) == ("kv", "Recommend")
    assert found.pressure is not None
    assert found.pressure >= found.high
    assert found.seen_seconds_ago == 10
    assert found.last_action["action"].startswith("recommended: ")
    assert "kubectl" in found.last_action["command"]
    assert found.decision.startswith("recommend: active_requests")
    assert {asked.verb for asked in server.asked} <= {"get", "list"}


async def test_a_pool_that_is_not_there_is_told_with_those_that_are(
    server: FakeApiServer, client: ClusterClient
) -> None:
    server.put(POOLS, a_pool("one"))
    server.put(POOLS, a_pool("two"))

    with pytest.raises(CannotExplain, match=r"no ModelPool.*'chat'.*namespace ns.*one, two"):
        await explain_pool(client, "ns", "chat", NOW)


async def test_a_pool_without_a_policy_is_told_how_to_get_one(
    server: FakeApiServer, client: ClusterClient
) -> None:
    server.put(POOLS, a_pool())
    server.put(POLICIES, a_policy("others", "another-pool", **SPEC))

    with pytest.raises(CannotExplain, match=r"no KVCachePolicy governs.*others.*targetRefs"):
        await explain_pool(client, "ns", "chat", NOW)


async def test_an_invalid_policy_is_named_with_what_is_wrong(
    server: FakeApiServer, client: ClusterClient
) -> None:
    server.put(POOLS, a_pool())
    server.put(POLICIES, a_policy("kv", mode="Sometimes"))

    with pytest.raises(CannotExplain, match=r"kv: .*mode"):
        await explain_pool(client, "ns", "chat", NOW)


async def test_a_policy_that_nobody_looks_after_is_told(
    server: FakeApiServer, client: ClusterClient
) -> None:
    server.put(POOLS, a_pool())
    server.put(POLICIES, a_policy("kv", **SPEC))

    with pytest.raises(CannotExplain, match="no operator leads here"):
        await explain_pool(client, "ns", "chat", NOW)


@pytest.mark.parametrize(("verb", "resource"), [("get", "modelpools"), ("list", "kvcachepolicies")])
async def test_a_permission_that_is_missing_is_named(
    server: FakeApiServer, client: ClusterClient, verb: str, resource: str
) -> None:
    server.put(POOLS, a_pool())
    server.forbidden.add((verb, f"{resource}.alise.dev"))

    with pytest.raises(CannotExplain, match=f"kubectl auth can-i {verb} {resource} -n ns"):
        await explain_pool(client, "ns", "chat", NOW)


async def test_an_api_server_that_is_away_is_told(
    server: FakeApiServer, client: ClusterClient
) -> None:
    await server.stop()

    with pytest.raises(CannotExplain, match="cannot be read"):
        await explain_pool(client, "ns", "chat", NOW)


async def test_a_cluster_without_the_resources_is_told(client: ClusterClient) -> None:
    bare = await FakeApiServer().start()
    other = bare.client()

    with pytest.raises(CannotExplain, match=r"knows no modelpools\.alise\.dev"):
        await explain_pool(other, "ns", "chat", NOW)

    await other.close()
    await bare.stop()


@pytest.mark.parametrize("arguments", [["explain"], ["run", "chat"], ["cleanup", "chat"]])
def test_a_pool_belongs_to_explain(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)

    assert stopped.value.code == 2
    assert "explain takes the name of one pool" in capsys.readouterr().err


async def test_the_command_prints_lines_or_json(
    server: FakeApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.put(POOLS, a_pool())
    server.put(POLICIES, a_tuned_policy())
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(kubeconfig(server.url)), encoding="utf-8")
    arguments = ["explain", "chat", "--kubeconfig", str(file), "--namespace", "ns"]

    assert await asyncio.to_thread(main, arguments) == 0
    text = capsys.readouterr().out
    assert await asyncio.to_thread(main, [*arguments, "--json"]) == 0
    raw = json.loads(capsys.readouterr().out)

    assert re.match(r"ns/chat, under KVCachePolicy kv, mode Recommend\n", text)
    assert "recommended: active_requests" in text
    assert raw["policy"] == "kv"


def kubeconfig(url: str) -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": {"server": url}}],
        "users": [{"name": "it", "user": {}}],
    }
