"""``alise operator`` as a process: it starts from flags, leads, and hands over when told to."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from alise_cluster.resources import LEASES, resource_of
from alise_core.crds.names import Kind
from fakes.api_server import FakeApiServer
from fakes.custom_objects import a_policy, a_pool, an_inference_pool
from fakes.running_operator import until

POOLS = resource_of(Kind.MODEL_POOL)
POLICIES = resource_of(Kind.KV_CACHE_POLICY)
INFERENCE_POOLS = resource_of(Kind.INFERENCE_POOL)

pytestmark = pytest.mark.slow


@pytest.fixture
def kubeconfig(server: FakeApiServer, tmp_path: Path) -> Path:
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": server.url}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [
            {"name": "fake", "context": {"cluster": "fake", "user": "me", "namespace": "ns"}}
        ],
        "current-context": "fake",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


async def start(kubeconfig: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "alise_cli",
        "operator",
        *arguments,
        "--kubeconfig",
        str(kubeconfig),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_it_leads_and_gives_the_lease_back(server: FakeApiServer, kubeconfig: Path) -> None:
    server.put(POOLS, a_pool())
    process = await start(kubeconfig, "--metrics-port", "0", "--identity", "op-0")
    await until(server, POOLS, "chat", lambda status: status["endpointsReady"] == "0/0")
    assert server.read(LEASES, "alise-operator")["spec"]["holderIdentity"] == "op-0"

    process.send_signal(signal.SIGTERM)
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    assert server.read(LEASES, "alise-operator")["spec"].get("holderIdentity", "") == ""
    events = [json.loads(line)["event"] for line in output.splitlines()]
    assert (events[0], events[-1]) == ("operator_starts", "operator_stopped")


async def test_its_log_says_what_the_tuner_decides(server: FakeApiServer, kubeconfig: Path) -> None:
    server.put(POOLS, a_pool())
    server.put(POLICIES, a_policy("kv", "chat"))
    process = await start(kubeconfig, "--metrics-port", "0")
    await until(server, POLICIES, "kv", lambda status: bool(status["pools"]))

    process.send_signal(signal.SIGTERM)
    output, _ = await process.communicate()

    lines = [json.loads(line) for line in output.splitlines()]
    told = [line for line in lines if line["event"] == "tuner_decided"]
    assert [(one["pool"], one["verdict"], one["why"]) for one in told] == [
        ("chat", "hold", "NoPods")
    ]


async def test_cleaning_up_takes_our_parents_away(server: FakeApiServer, kubeconfig: Path) -> None:
    theirs = {"controllerName": "example.com/gw", "parentRef": {"name": "edge"}}
    ours = {
        "controllerName": "alise.dev/gateway",
        "parentRef": {"kind": "Service", "name": "alise-gateway", "namespace": "ns"},
    }
    server.put(INFERENCE_POOLS, an_inference_pool() | {"status": {"parents": [ours, theirs]}})

    process = await start(kubeconfig, "cleanup")
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    assert server.read(INFERENCE_POOLS, "chat")["status"]["parents"] == [theirs]
    assert json.loads(output.splitlines()[-1])["inference_pools"] == 1


async def test_cleaning_up_that_fails_says_so(server: FakeApiServer, kubeconfig: Path) -> None:
    server.forbidden.add(("list", "inferencepools.inference.networking.k8s.io"))

    process = await start(kubeconfig, "cleanup")
    output, _ = await process.communicate()

    assert process.returncode == 1
    assert "403" in json.loads(output.splitlines()[-1])["reason"]
