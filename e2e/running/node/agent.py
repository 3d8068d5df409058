"""A node without containers: runs pods as processes, and Services as TCP connections handed on.

Usage: ``python -m running.node.agent --kubeconfig FILE --state DIR --logs DIR`` in the network
namespace of the cluster. It registers Node objects, renews their Leases and runs every pod that the
scheduler puts on them. ``sandbox`` says what a container is here.
"""

import argparse
import asyncio
import datetime
import sys
import traceback
from pathlib import Path
from typing import Any

import httpx

from running.node.client import Client
from running.node.pod import Node, PodWorker
from running.node.services import Services
from running.node.status import now

Object = dict[str, Any]
NODES = ("node-0", "node-1")
LEASE_SECONDS = 10
CAPACITY = {"cpu": "1000", "memory": "4Ti", "pods": "5000", "ephemeral-storage": "10Ti"}
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class Agent:
    """All nodes of the cluster in one process."""

    def __init__(self, client: Client, state: Path, logs: Path) -> None:
        self._client = client
        self._services = Services()
        self._node = Node(client, state, logs, self._services.hosts)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the process is ended."""
        services, client = self._services, self._client
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._register())
            tasks.create_task(services.serve())
            tasks.create_task(
                client.follow("/api/v1/services", services.service_changed, services.service_gone)
            )
            tasks.create_task(
                client.follow(
                    "/api/v1/endpoints", services.endpoints_changed, services.endpoints_gone
                )
            )
            tasks.create_task(client.follow("/api/v1/pods", self._pod_changed, self._pod_gone))

    def _pod_changed(self, pod: Object) -> None:
        if pod["spec"].get("nodeName") not in NODES:
            return
        uid = pod["metadata"]["uid"]
        if uid not in self._workers:
            worker = self._workers[uid] = PodWorker(self._node, pod)
            task = asyncio.create_task(worker.run())
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._ended(uid, done))
        self._workers[uid].update(pod)

    def _pod_gone(self, pod: Object) -> None:
        worker = self._workers.get(pod["metadata"]["uid"])
        if worker is not None:
            worker.gone()

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._workers.pop(uid, None)
        if not task.cancelled() and task.exception() is not None:
            traceback.print_exception(task.exception(), file=sys.stderr)

    async def _register(self) -> None:
        """Create the nodes, say that they are ready, and go on saying so."""
        while True:
            try:
                for name in NODES:
                    await self._client.post("/api/v1/nodes", _node(name))
                    await self._client.patch(f"/api/v1/nodes/{name}/status", _status())
                    if await self._client.post(LEASES, _lease(name)) is None:
                        await self._client.patch(f"{LEASES}/{name}", _lease(name))
            except httpx.HTTPError as error:
                print(f"node agent: the API server does not answer: {error!r}", flush=True)
                await asyncio.sleep(1)
                continue
            await asyncio.sleep(LEASE_SECONDS)


def _node(name: str) -> Object:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**labels, "topology.kubernetes.io/zone": name}},
    }


def _status() -> Object:
    ready = {"type": "Ready", "status": "True", "reason": "AgentReady", "message": "runs processes"}
    ready |= {"lastHeartbeatTime": now(), "lastTransitionTime": now()}
    addresses = [{"type": "InternalIP", "address": "10.244.0.1"}]
    status = {"capacity": CAPACITY, "allocatable": CAPACITY, "addresses": addresses}
    return {"status": {**status, "conditions": [ready]}}


def _lease(name: str) -> Object:
    renewed = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed},
    }


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser()
    for name in ("kubeconfig", "state", "logs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    agent = Agent(Client(options.kubeconfig), options.state, options.logs)
    asyncio.run(agent.run())


if __name__ == "__main__":
    main()
