"""One pod's life on the node: made, started, probed, restarted, ended."""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from running.node.client import RETRY_SECONDS, Client
from running.node.probes import Probe, attempt, watch
from running.node.sandbox import Container, ContainerPlan, Files, PodNetwork, SandboxError, start
from running.node.status import ContainerState, Phase, Standing, finished, now
from running.node.volumes import NotYet, Provisions, Volume, expand

Object = dict[str, Any]
_Found = TypeVar("_Found")
ENTRY_POINTS: Mapping[str, tuple[str, ...]] = {
    "alise-gateway": ("alise",),
    "alise-operator": ("alise",),
    "alise-sim": ("alise", "sim-engine"),
    # Runs nothing and is ready at once: pods by the thousand.
    "alise-nothing": (),
}
"""Images that run here, by the last part of their name, and what they start."""
LONGEST_BACK_OFF_SECONDS = 60.0
HANDS_OFF = "alise-e2e/hands-off"
"""Annotation of a pod whose status a test writes."""


@dataclass(frozen=True, slots=True)
class Node:
    """What all pods of the node use."""

    client: Client
    state: Path
    logs: Path
    hosts: Callable[[str], str]
    """Content of ``/etc/hosts`` for a namespace: Services by their names."""


class PodWorker:
    """Runs one pod until it is deleted."""

    def __init__(self, node: Node, pod: Object) -> None:
        self._node = node
        self._path = f"/api/v1/namespaces/{_named(pod)['namespace']}/pods/{_named(pod)['name']}"
        self._network = PodNetwork()
        self._state = node.state / "pods" / _named(pod)["uid"]
        self._deleted = asyncio.Event()
        self._changed = asyncio.Event()
        self._standing = Standing(pod)
        spec = pod["spec"]
        self._standing.init = [ContainerState(item) for item in spec.get("initContainers", [])]
        self._standing.containers = [ContainerState(item) for item in spec["containers"]]

    def update(self, pod: Object) -> None:
        """The pod has changed: it is being deleted, or somebody else wrote its status."""
        self._standing.pod = pod
        if "deletionTimestamp" in _named(pod):
            self._deleted.set()
        elif HANDS_OFF not in _named(pod).get("annotations", {}) and self._standing.differs_from(
            pod
        ):
            # As after an outage of the API server: it took the node for dead.
            self._changed.set()

    def gone(self) -> None:
        """The pod is no more: nobody waits for a grace period."""
        _named(self._standing.pod)["deletionGracePeriodSeconds"] = 0
        self._deleted.set()

    async def run(self) -> None:
        """Live until deleted; leaves nothing."""
        publisher = asyncio.create_task(self._publish())
        life = asyncio.create_task(self._live())
        try:
            await self._deleted.wait()
            # First, so that nothing is started again.
            await _cancel(life)
            await self._terminate()
        finally:
            await _cancel(life)
            await _cancel(publisher)
            for item in self._standing.containers:
                if item.container is not None:
                    item.container.kill()
            await self._network.remove()
            shutil.rmtree(self._state, ignore_errors=True)
        await self._report_end()

    async def _live(self) -> None:
        standing = self._standing
        try:
            if all(_image(item.spec["image"]) == "alise-nothing" for item in standing.containers):
                self._pretend()
                return
            await self._network.create()
            standing.address = self._network.address
            provisions = Provisions(self._node.client, standing.pod, standing.address)
            volumes = await self._patiently(lambda: provisions.volumes(self._state / "volumes"))
            for item in standing.init:
                while item.exit_code != 0:
                    await self._run_once(item, provisions, volumes)
                    await asyncio.sleep(RETRY_SECONDS if item.exit_code else 0)
            standing.initialized = True
            async with asyncio.TaskGroup() as tasks:
                for item in standing.containers:
                    tasks.create_task(self._keep(item, provisions, volumes))
            standing.phase = finished(standing.containers)
        except* (SandboxError, OSError, KeyError) as errors:
            standing.message = f"not started: {errors.exceptions[0]!r}"
            standing.phase = Phase.FAILED
        self._changed.set()

    def _pretend(self) -> None:
        standing = self._standing
        standing.address, standing.phase = self._network.address_of_nothing, Phase.RUNNING
        standing.initialized = True
        for item in standing.containers:
            item.started = item.ready = True
        self._changed.set()

    async def _keep(
        self, item: ContainerState, provisions: Provisions, volumes: Mapping[str, Volume]
    ) -> None:
        """Run a container again and again, as its pod's restart policy says."""
        policy = self._standing.pod["spec"].get("restartPolicy", "Always")
        while True:
            await self._run_once(item, provisions, volumes)
            if policy == "Never" or (policy == "OnFailure" and item.exit_code == 0):
                return
            item.waiting = "CrashLoopBackOff"
            self._changed.set()
            await asyncio.sleep(min(LONGEST_BACK_OFF_SECONDS, 2.0**item.restarts - 1))
            item.restarts += 1

    async def _run_once(
        self, item: ContainerState, provisions: Provisions, volumes: Mapping[str, Volume]
    ) -> None:
        environment = await self._patiently(lambda: provisions.environment(item.spec))
        plan = self._plan(item.spec, environment, volumes)
        names = _named(self._standing.pod)
        log = self._node.logs / f"{names['namespace']}.{names['name']}.{item.spec['name']}.log"
        item.container = container = await start(plan, log)
        item.started_at = now()
        item.waiting = ""
        is_init = item in self._standing.init
        if not is_init:
            self._standing.phase = Phase.RUNNING
        item.started = "startupProbe" not in item.spec
        item.ready = item.started and "readinessProbe" not in item.spec
        self._changed.set()
        probes = asyncio.create_task(self._probe(item, container))
        try:
            item.exit_code = await container.wait()
        finally:
            probes.cancel()
        item.ready = item.started = False
        item.finished_at = now()
        self._changed.set()

    async def _probe(self, item: ContainerState, container: Container) -> None:
        """Probe a running container for ever: startup first, then the others."""
        begun = asyncio.Event()

        def started(good: bool) -> None:
            if good:
                item.started = True
                item.ready = "readinessProbe" not in item.spec
                begun.set()
            self._heed(good, container)

        def ready(good: bool) -> None:
            item.ready = good
            self._changed.set()

        async with asyncio.TaskGroup() as tasks:
            if "startupProbe" in item.spec:
                probe = Probe.of(item.spec["startupProbe"])
                first = tasks.create_task(watch(probe, container, started))
                await begun.wait()
                first.cancel()
            if "readinessProbe" in item.spec:
                tasks.create_task(watch(Probe.of(item.spec["readinessProbe"]), container, ready))
            if "livenessProbe" in item.spec:
                probe = Probe.of(item.spec["livenessProbe"])
                tasks.create_task(watch(probe, container, lambda good: self._heed(good, container)))

    def _heed(self, good: bool, container: Container) -> None:
        if not good:
            container.terminate()
        self._changed.set()

    def _plan(
        self, spec: Object, environment: dict[str, str], volumes: Mapping[str, Volume]
    ) -> ContainerPlan:
        names = _named(self._standing.pod)
        program = spec.get("command") or ENTRY_POINTS.get(_image(spec["image"]))
        if program is None:
            known = ", ".join(ENTRY_POINTS)
            raise SandboxError(f"image {spec['image']} is none of {known}, and has no command")
        # What a kubelet sets; 10.96.0.1 is the first address of the range of Services.
        variables = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
        variables |= {"HOSTNAME": names["name"], "HOME": "/tmp", **environment}  # noqa: S108
        words = [expand(word, variables) for word in (*program, *spec.get("args", ()))]
        hosts = f"127.0.0.1 localhost\n{self._network.address} {names['name']}\n"
        files = Files(self._state / spec["name"], hosts + self._node.hosts(names["namespace"]))
        return ContainerPlan(
            pod=self._standing.pod,
            spec=spec,
            command=tuple(words),
            environment=variables,
            volumes=volumes,
            files=files,
            network=self._network,
        )

    async def _patiently(self, get: Callable[[], Awaitable[_Found]]) -> _Found:
        """Ask until what the pod refers to exists."""
        while True:
            try:
                return await get()
            except NotYet as missing:
                self._say(str(missing))
            except httpx.HTTPError as error:
                self._say(f"the API server does not answer: {error!r}")
            await asyncio.sleep(RETRY_SECONDS)

    def _say(self, message: str) -> None:
        for item in self._standing.containers:
            item.message = message
        self._changed.set()

    async def _terminate(self) -> None:
        """Hooks, SIGTERM, the rest of the grace period, SIGKILL."""
        grace = _named(self._standing.pod).get("deletionGracePeriodSeconds", 30)
        running = [item for item in self._standing.containers if item.container is not None]
        await asyncio.gather(*(self._end(item, grace) for item in running))

    async def _end(self, item: ContainerState, grace: float) -> None:
        container = item.container
        if container is None or container.exit_code is not None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                hook = item.spec.get("lifecycle", {}).get("preStop")
                if hook:
                    await attempt(hook, container, grace)
                container.terminate()
                await container.wait()
        container.kill()
        item.exit_code = await container.wait()

    async def _publish(self) -> None:
        """Bring the API server's view up to date, whenever it has changed."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._tell()
            except httpx.HTTPError:
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _tell(self) -> None:
        change = {
            "metadata": {"uid": _named(self._standing.pod)["uid"]},
            "status": self._standing.status(),
        }
        await self._node.client.patch(f"{self._path}/status", change)

    async def _report_end(self) -> None:
        while True:
            try:
                uid = _named(self._standing.pod)["uid"]
                return await self._node.client.delete_now(self._path, uid)
            except httpx.HTTPError:
                await asyncio.sleep(RETRY_SECONDS)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _image(reference: str) -> str:
    return reference.rpartition("/")[2].partition("@")[0].partition(":")[0]


def _named(pod: Object) -> Object:
    metadata: Object = pod["metadata"]
    return metadata
