"""A thousand pods in a hundred pools: what following them costs, and whether it is still quick.

The pods run nothing; one simulated engine answers at the addresses of all of them. They are asked
rarely, since it is following the API server that is measured here, and not reading engines.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from running.cluster import network, objects
from running.cluster.api import Object, path_of
from running.cluster.cluster import Cluster
from running.cluster.figures import Figures
from running.cluster.helm import Release
from running.cluster.installation import Installation
from running.cluster.namespaces import namespaces
from running.cluster.readiness import LOST_SECONDS, follow
from running.cluster.rollout import seconds_until_told
from running.node.pod import HANDS_OFF
from running.node.usage import cpu_seconds, resident_bytes
from running.process import ServerProcess

POOLS = 100
PODS = 1_000
NODES = ("node-0", "node-1")
WRITERS = 8
"""Clients that create objects at the same time."""
FOLLOWED_SECONDS = 120.0
LOOK_SECONDS = 1.0
LEADING_SECONDS = 40.0
"""Of a new installation the first operator has yet to lead."""
AT_ONCE = {"gracePeriodSeconds": "0"}
FLIPS = 20
CHANGES = 20
COST_SECONDS = 60.0
"""The operator reads every engine once meanwhile: in less it reads all of them or none."""
MIB = 2**20
PARTS = ("gateway", "operator")
RARELY = {
    "probe_interval_seconds": 20,
    "scrape_interval_seconds": 20,
    # One engine answers for a thousand.
    "probe_timeout_seconds": 15,
    "scrape_timeout_seconds": 15,
}
ENGINES = {objects.ENGINE_PORT: objects.MODEL}


@dataclass(frozen=True)
class Many:
    """An installation that follows them all.

    Attributes:
        site: It; has no engines of its own.
        pools: Names of all pools.
        empty_bytes: Memory of each part before there were any.
        followed_seconds: From the first object's creation until the gateway knew the last pod.
    """

    site: Installation
    pools: Sequence[str]
    empty_bytes: dict[str, int]
    followed_seconds: float


@pytest.fixture(scope="module")
def engines(cluster: Cluster) -> Iterator[None]:
    """Answer at every address that belongs to this network namespace."""
    if not network.inside() or cluster.containers:
        pytest.skip(
            "pods that run nothing need a node that leaves them alone, which no kubelet does"
        )
    program = str(Path(sys.prefix) / "bin/alise")
    with ExitStack() as stack:
        for port, model in ENGINES.items():
            command = [program, "sim-engine", "--host=0.0.0.0", f"--port={port}"]
            log = cluster.logs / f"engine-of-many-{port}.log"
            process = ServerProcess(model, [*command, f"--model={model}"], log, {})
            stack.callback(process.stop)
            process.wait_until_answers(f"http://127.0.0.1:{port}/health", LEADING_SECONDS)
        yield


@pytest.fixture(scope="module")
def many(site: Installation, cluster: Cluster, engines: None) -> Iterator[Many]:
    del site, engines  # the one has installed the definitions, the others answer for the pods
    api = cluster.api
    with ExitStack() as stack:
        namespace = stack.enter_context(namespaces(api, "many"))
        release = Release(cluster, namespace)
        stack.callback(release.close)
        config = {"health": RARELY, "identity": {"allow_anonymous": True}}
        values = {"crds": {"install": False}, "gateway": {"config": config}}
        release.install(values)
        installed = Installation(cluster, release, {}, values)
        stack.callback(api.delete, f"/api/v1/namespaces/{namespace}/pods", params=AT_ONCE)
        [gateway] = installed.pods("gateway")
        empty = {part: resident(installed, part) for part in PARTS}
        pools = [f"pool-{number:03}" for number in range(POOLS)]
        started = time.monotonic()
        with ThreadPoolExecutor(WRITERS) as writers:
            list(writers.map(api.create, [pool(namespace, name) for name in pools]))
            pods = [
                pod(cluster, namespace, pools[number % POOLS], f"engine-{number:04}", number)
                for number in range(PODS)
            ]
            list(writers.map(api.create, pods))
        while (found := len(ready_endpoints(installed, gateway))) < PODS:
            assert time.monotonic() < started + FOLLOWED_SECONDS, f"{found} of {PODS} are followed"
            # To look at all of them is work for the gateway.
            time.sleep(LOOK_SECONDS)
        took = time.monotonic() - started
        yield Many(installed, pools, empty, took)


def pool(namespace: str, name: str) -> Object:
    return objects.model_pool(namespace, name, name)


def pod(cluster: Cluster, namespace: str, app: str, name: str, number: int = 0) -> Object:
    """One that is on its node already: no scheduler is measured."""
    container = {"name": "engine", "image": cluster.image("alise-nothing")}
    metadata = {"name": name, "namespace": namespace, "labels": {"app": app}}
    spec = {
        "nodeName": NODES[number % len(NODES)],
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def resident(site: Installation, part: str) -> int:
    [found] = site.pods(part)
    return resident_bytes(found["metadata"]["name"])


def ready_endpoints(site: Installation, gateway: Object) -> set[str]:
    """Endpoints that the gateway may send requests to, as the cluster says."""
    found = site.ask(gateway, "/alise/cluster")["endpoints"]
    return {each["name"] for each in found if each["ready"]}


def test_all_are_followed_within_the_memory_that_the_chart_allows(
    many: Many, figures: Figures
) -> None:
    figures.add("scale_all_followed_seconds", round(many.followed_seconds, 1))
    pods = {part: many.site.pods(part)[0] for part in PARTS}
    names = {part: pod["metadata"]["name"] for part, pod in pods.items()}
    before = {part: cpu_seconds(name) for part, name in names.items()}
    started = time.monotonic()
    time.sleep(COST_SECONDS)
    for part, name in names.items():
        share = (cpu_seconds(name) - before[part]) / (time.monotonic() - started)
        now = resident_bytes(name)
        figures.add(f"scale_{part}_resident_mib", round(now / MIB))
        figures.add(f"scale_{part}_more_mib", round((now - many.empty_bytes[part]) / MIB))
        figures.add(f"scale_{part}_cpu_ratio", round(share, 3))
        limit = pods[part]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        assert 0 < now < mebibytes(limit) * MIB


def mebibytes(quantity: str) -> int:
    """Of a quantity of memory as the chart writes it."""
    units = {"Mi": 1, "Gi": 1_024}
    return int(quantity[:-2]) * units[quantity[-2:]]


def test_one_pod_of_a_thousand_changes(many: Many, figures: Figures) -> None:
    site = many.site
    [gateway] = site.pods("gateway")
    path = f"/api/v1/namespaces/{site.namespace}/pods/engine-0500"
    found = site.api.patch(path, {"metadata": {"annotations": {HANDS_OFF: ""}}})
    name = f"{found['status']['podIP']}:{objects.ENGINE_PORT}"
    looks: list[float] = []

    def is_used() -> bool:
        began = time.monotonic()
        ready = ready_endpoints(site, gateway)
        looks.append(time.monotonic() - began)
        return name in ready

    # To look at all of them takes long enough: there is no need to wait in between.
    followed = follow(site.api, path, FLIPS, is_used, 0.0)

    followed.add_to(figures, "scale_")
    figures.add_latencies("scale_look_at_all_endpoints", looks)


def test_one_spec_of_a_hundred_changes(many: Many, figures: Figures) -> None:
    site = many.site
    took = [
        seconds_until_told(
            site.api,
            path_of(pool(site.namespace, many.pools[number])),
            {"maxInFlightPerEndpoint": 100},
            LOST_SECONDS if number else LEADING_SECONDS,
        )
        for number in range(1 + CHANGES)
    ]

    figures.add_latencies("scale_spec_change_to_status", took[1:])
