"""A Deployment or a StatefulSet with its controller, as far as rolling updates go.

Source: Kubernetes ``pkg/controller/deployment/rolling.go`` and
``pkg/controller/statefulset/stateful_set_control.go`` (OrderedReady).
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any

from alise_operator.canary.seen import Judged, Seen, SeenPod, seen_pod

CONTAINER = "vllm"
LABELS = {"app": "engines"}
SHM = "/dev/shm"  # noqa: S108  a mount path
Json = dict[str, Any]


class Conflict(Exception):
    """The patch is for another version."""


@dataclass(slots=True)
class FakePod:
    name: str
    uid: str
    template: Json
    ready: bool = False
    restarts: int = 0

    def raw(self) -> Json:
        return {
            "metadata": {"name": self.name, "namespace": "x", "uid": self.uid, "labels": LABELS},
            "spec": self.template["spec"],
            "status": {
                "phase": "Running" if self.ready else "Pending",
                "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": str(self.ready)}],
                "containerStatuses": [{"restartCount": self.restarts}],
            },
        }


@dataclass(slots=True)
class _ReplicaSet:
    template: Json
    replicas: int = 0
    min_ready: int = 0
    pods: list[FakePod] = field(default_factory=list)

    @property
    def available(self) -> int:
        """Pods are ready for an hour at most here."""
        return sum(pod.ready for pod in self.pods) if self.min_ready <= 3_600 else 0


class FakeWorkload:
    """See the module.

    Args:
        kind: ``Deployment`` or ``StatefulSet``.
        replicas: Pods.
        args: Of the container.
        starts: Whether a pod with such a template ever gets ready.
    """

    def __init__(
        self,
        kind: str = "Deployment",
        replicas: int = 3,
        args: tuple[str, ...] = ("m",),
        starts: Callable[[Json], bool] = lambda template: True,
    ) -> None:
        stateful = kind == "StatefulSet"
        strategy: Json = (
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}
            if stateful
            else {
                "minReadySeconds": 5,
                "progressDeadlineSeconds": 600,
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
                },
            }
        )
        container: Json = {
            "name": CONTAINER,
            "args": list(args),
            "resources": {"limits": {"memory": "64Gi"}, "requests": {"memory": "64Gi"}},
            "volumeMounts": [{"name": "shm", "mountPath": SHM}],
        }
        volumes = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}]
        template = {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [container], "volumes": volumes},
        }
        self.raw: Json = {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {
                "name": "engines",
                "namespace": "x",
                "uid": "w",
                "generation": 1,
                "resourceVersion": "1",
                "annotations": {},
            },
            "spec": {"replicas": replicas, "template": template, **strategy},
            "status": {"observedGeneration": 1},
        }
        self.starts = starts
        self.most_changed = 0
        self._made = 0
        self._sets: list[_ReplicaSet] = []
        self._current = copy.deepcopy(template)
        self._ordinals: dict[int, FakePod] = {}
        for _ in range(4 * replicas + 4):
            self.tick()
        assert self.ready == replicas

    # --- as the API server

    @property
    def spec(self) -> Json:
        found: Json = self.raw["spec"]
        return found

    @property
    def container(self) -> Json:
        found: Json = self.spec["template"]["spec"]["containers"][0]
        return found

    @property
    def pods(self) -> list[FakePod]:
        if self.raw["kind"] == "StatefulSet":
            return [self._ordinals[at] for at in sorted(self._ordinals)]
        return [pod for one in self._sets for pod in one.pods]

    @property
    def ready(self) -> int:
        return sum(pod.ready for pod in self.pods)

    def seen(
        self,
        judged: Judged | None = None,
        blocked_by: tuple[str, ...] = (),
        *,
        paused: bool = False,
    ) -> Seen:
        raws = [seen_pod(pod.raw(), CONTAINER) for pod in self.pods]
        pods: tuple[SeenPod, ...] = tuple(pod for pod in raws if pod is not None)
        return Seen(self.raw, pods, blocked_by, judged, paused)

    def patch(self, body: Mapping[str, Any]) -> None:
        version = body["metadata"].get("resourceVersion")
        if version is not None and version != self.raw["metadata"]["resourceVersion"]:
            raise Conflict(version)
        before = json.dumps(self.spec, sort_keys=True)
        _merge(self.raw, copy.deepcopy(dict(body)))
        self._written(before)

    def edit(self, change: Callable[[Json], None]) -> None:
        """What somebody else does."""
        before = json.dumps(self.spec, sort_keys=True)
        change(self.raw)
        self._written(before)

    def _written(self, before: str) -> None:
        metadata = self.raw["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        if json.dumps(self.spec, sort_keys=True) != before:
            metadata["generation"] += 1

    def delete_pod(self, uid: str) -> None:
        for at, pod in tuple(self._ordinals.items()):
            if pod.uid == uid:
                del self._ordinals[at]
        for one in self._sets:
            one.pods = [pod for pod in one.pods if pod.uid != uid]

    # --- as the controllers

    def tick(self) -> None:
        """Pods that can, get ready; then each controller takes one step."""
        for pod in self.pods:
            pod.ready = pod.ready or self.starts(pod.template)
        self.raw["status"]["observedGeneration"] = self.raw["metadata"]["generation"]
        if self.raw["kind"] == "StatefulSet":
            self._tick_stateful()
        else:
            self._tick_deployment()

    def _new_pod(self, name: str, template: Json) -> FakePod:
        self._made += 1
        return FakePod(name or f"engines-{self._made}", f"u{self._made}", copy.deepcopy(template))

    def _tick_stateful(self) -> None:
        rolling = self.spec["updateStrategy"]["rollingUpdate"]
        partition, replicas = rolling["partition"], self.spec["replicas"]
        template = self.spec["template"]
        for at in range(replicas):
            if at not in self._ordinals:
                meant = template if at >= partition else self._current
                self._ordinals[at] = self._new_pod(f"engines-{at}", meant)
                return
            if not self._ordinals[at].ready:
                return
        for at in [at for at in self._ordinals if at >= replicas]:
            del self._ordinals[at]
        for at in range(replicas - 1, partition - 1, -1):
            if self._ordinals[at].template != template:
                del self._ordinals[at]
                return
        if all(pod.template == template for pod in self._ordinals.values()):
            self._current = copy.deepcopy(template)

    def _tick_deployment(self) -> None:
        template, replicas = self.spec["template"], self.spec["replicas"]
        new = next((one for one in self._sets if one.template == template), None)
        if new is None:
            new = _ReplicaSet(copy.deepcopy(template))
            self._sets.append(new)
        new.min_ready = self.spec["minReadySeconds"]
        rolling = self.spec["strategy"]["rollingUpdate"]
        surge = _absolute(rolling["maxSurge"], replicas, ceil)
        down = _absolute(rolling["maxUnavailable"], replicas, floor)
        if not surge and not down:
            down = 1
        total = sum(one.replicas for one in self._sets)
        room = min(replicas + surge - total, replicas - new.replicas)
        if room > 0:
            new.replicas += room
        elif new.replicas > replicas:
            new.replicas = replicas
        else:
            self._scale_down(new, replicas - down)
        for one in self._sets:
            self._fill(one)

    def _scale_down(self, new: _ReplicaSet, least: int) -> None:
        old = [one for one in self._sets if one is not new and one.replicas]
        total = sum(one.replicas for one in self._sets)
        most = total - least - (new.replicas - new.available)
        if most <= 0:
            return
        for one in old:
            broken = min(most, one.replicas - one.available)
            one.replicas -= broken
            most -= broken
        available = sum(one.available for one in self._sets)
        spare = available - least
        for one in old:
            fewer = min(max(0, spare), one.replicas)
            one.replicas -= fewer
            spare -= fewer

    def _fill(self, one: _ReplicaSet) -> None:
        one.pods.sort(key=lambda pod: not pod.ready)
        del one.pods[one.replicas :]
        while len(one.pods) < one.replicas:
            one.pods.append(self._new_pod("", one.template))


def _absolute(value: int | str, replicas: int, rounded: Callable[[float], int]) -> int:
    return value if isinstance(value, int) else rounded(int(value.rstrip("%")) * replicas / 100)


def _merge(into: Json, patch: Json) -> None:
    """A strategic merge: mappings merge, lists of named things merge by name, others are put."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        elif key in {"containers", "volumes"}:
            for one in value:
                _merge(next(had for had in into[key] if had["name"] == one["name"]), one)
        else:
            into[key] = value
