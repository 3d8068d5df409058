"""What the chart asks of a node for its pods is enforced, and our images can live with it."""

from pathlib import Path
from typing import Any

import pytest

from running.cluster.api import Object
from running.cluster.cluster import Cluster
from running.cluster.installation import Installation

ENDED_SECONDS = 60.0
MEMORY_LIMIT = "64Mi"
CONFINED = (Path(__file__).parent / "confined.py").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _containers(cluster: Cluster) -> None:
    if not cluster.containers:
        pytest.skip("pods of this cluster are processes, not containers: NODE=1")


def run_once(site: Installation, component: str, name: str, script: str, **more: Any) -> Object:
    """Run a script as a component's pod is run; returns how its container ended."""
    deployments = f"/apis/apps/v1/namespaces/{site.namespace}/deployments"
    found = site.api.read(f"{deployments}/{site.release.prefix}-{component}")
    spec = found["spec"]["template"]["spec"]
    [container] = spec["containers"]
    kept = {key: container[key] for key in ("name", "image", "volumeMounts", "securityContext")}
    command = {"command": ["python3", "-c", script], "args": []}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": site.namespace},
        "spec": {**spec, "restartPolicy": "Never", "containers": [{**kept, **command, **more}]},
    }
    path = f"/api/v1/namespaces/{site.namespace}/pods/{name}"
    site.api.create(pod)
    try:
        ended = site.api.wait(
            path,
            lambda item: item.get("status", {}).get("phase") in {"Succeeded", "Failed"},
            ENDED_SECONDS,
            "the script ends",
        )
        print(site.api.request("GET", f"{path}/log").text)
    finally:
        site.api.delete(path)
    [status] = ended["status"]["containerStatuses"]
    state: Object = status["state"]["terminated"]
    return state


@pytest.mark.parametrize("component", ["gateway", "operator"])
def test_a_pod_can_do_no_more_than_it_needs(site: Installation, component: str) -> None:
    ended = run_once(site, component, f"confined-{component}", CONFINED)
    assert ended["exitCode"] == 0


def test_a_pod_over_its_memory_limit_is_ended(site: Installation) -> None:
    limits = {"limits": {"memory": MEMORY_LIMIT}, "requests": {"memory": MEMORY_LIMIT}}
    script = "print(len(bytearray(256 * 2**20)))"
    ended = run_once(site, "operator", "hungry", script, resources=limits)
    assert ended["reason"] == "OOMKilled"


def test_the_node_hands_out_what_a_gateway_says(site: Installation) -> None:
    [gateway] = site.pods("gateway")
    path = f"/api/v1/namespaces/{site.namespace}/pods/{gateway['metadata']['name']}/log"
    said = site.api.request("GET", path)
    assert said.status_code == 200
    assert "gateway" in said.text
