"""What a node tells the API server about a pod."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from running.node.sandbox import Container

Object = dict[str, Any]


class Phase(StrEnum):
    """Where a pod is in its life."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(slots=True)
class ContainerState:
    """One container of a pod, over all its restarts."""

    spec: Object
    container: Container | None = None
    started_at: str = ""
    started: bool = False
    """Its startup probe has succeeded, or it has none."""
    ready: bool = False
    restarts: int = 0
    exit_code: int | None = None
    finished_at: str = ""
    waiting: str = "ContainerCreating"
    message: str = ""


@dataclass(slots=True)
class Standing:
    """What is known of a pod."""

    pod: Object
    address: str = ""
    phase: Phase = Phase.PENDING
    initialized: bool = False
    init: list[ContainerState] = field(default_factory=list)
    containers: list[ContainerState] = field(default_factory=list)
    message: str = ""
    _since: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.phase is Phase.RUNNING and all(item.ready for item in self.containers)

    def differs_from(self, pod: Object) -> bool:
        """Whether the API server holds another opinion on the pod's readiness."""
        conditions = pod.get("status", {}).get("conditions", ())
        told = {each["type"]: each["status"] for each in conditions}
        return str(told.get("Ready", "False")) != str(self.ready)

    def status(self) -> Object:
        """For the status subresource."""
        ready = self.ready
        scheduled = [
            item
            for item in self.pod.get("status", {}).get("conditions", [])
            if item["type"] == "PodScheduled"
        ]
        conditions = [
            self._condition("Initialized", self.initialized),
            self._condition("Ready", ready),
            self._condition("ContainersReady", ready),
            *scheduled,
        ]
        status: Object = {
            "phase": str(self.phase),
            "conditions": conditions,
            "hostIP": "10.244.0.1",
            "startTime": self._start_time(),
            "initContainerStatuses": [_describe(item) for item in self.init],
            "containerStatuses": [_describe(item) for item in self.containers],
            "message": self.message or None,
        }
        if self.address:
            status |= {"podIP": self.address, "podIPs": [{"ip": self.address}]}
        return status

    def _start_time(self) -> str:
        return self._since.setdefault("start", ("", now()))[1]

    def _condition(self, kind: str, holds: bool) -> Object:
        value = str(holds)
        if self._since.get(kind, ("", ""))[0] != value:
            self._since[kind] = (value, now())
        return {"type": kind, "status": value, "lastTransitionTime": self._since[kind][1]}


def _describe(item: ContainerState) -> Object:
    identity = f"process://{item.spec['name']}-{item.restarts}"
    running = item.container is not None and item.container.exit_code is None
    if running:
        state: Object = {"running": {"startedAt": item.started_at}}
    elif item.exit_code is not None and item.waiting != "CrashLoopBackOff":
        state = {"terminated": _terminated(item)}
    else:
        state = {"waiting": {"reason": item.waiting, "message": item.message}}
    described: Object = {
        "name": item.spec["name"],
        "image": item.spec["image"],
        "imageID": item.spec["image"],
        "containerID": identity,
        "ready": item.ready,
        "started": item.started,
        "restartCount": item.restarts,
        # Named with nulls: a merge patch keeps what is left out.
        "state": {"running": None, "terminated": None, "waiting": None, **state},
    }
    if item.exit_code is not None:
        described["lastState"] = {"terminated": _terminated(item)}
    return described


def _terminated(item: ContainerState) -> Object:
    return {
        "exitCode": item.exit_code,
        "reason": "Completed" if item.exit_code == 0 else "Error",
        "startedAt": item.started_at or None,
        "finishedAt": item.finished_at,
    }


def finished(states: Iterable[ContainerState]) -> Phase:
    """The phase of a pod whose containers have all ended for good."""
    good = all(item.exit_code == 0 for item in states)
    return Phase.SUCCEEDED if good else Phase.FAILED


def now() -> str:
    """The time of day as Kubernetes writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
