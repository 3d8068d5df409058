"""How a workload is made to change exactly so many pods and then wait. Pure.

A StatefulSet has ``partition`` for that. A Deployment has not, but this: a new pod that never
counts as available (``minReadySeconds`` of a year) uses up ``maxUnavailable`` for good, so that
with ``maxSurge: 0`` exactly ``maxUnavailable`` pods are of the new template. Old ReplicaSets keep
the ``minReadySeconds`` they were made with, so their pods stay available.

Source: Kubernetes ``pkg/controller/deployment/rolling.go`` (``reconcileOldReplicaSets``:
``maxScaledDown = allPods - minAvailable - newUnavailable``) and ``sync.go`` (only the new
ReplicaSet is given another ``minReadySeconds``); docs/design/0015-canary.md.
"""

from collections.abc import Mapping

from alise_operator.canary.words import Refused
from alise_operator.canary.workload import Raw, WorkloadKind
from alise_operator.decide.raw import mapping_at, text_at

NEVER_SECONDS = 31_536_000
_NO_DEADLINE = 2_147_483_647
"""Kubernetes' own word for no ``progressDeadlineSeconds``, which must exceed the above."""

Brake = Mapping[str, object]
"""Of ``spec``; what is absent there is ``None``."""


def brake_of(kind: WorkloadKind, spec: Raw) -> Brake:
    """The fields that a brake is made of, as they are."""
    if kind is WorkloadKind.STATEFUL_SET:
        rolling = mapping_at(mapping_at(spec, "updateStrategy"), "rollingUpdate")
        return {
            "partition": rolling.get("partition", 0),
            "maxUnavailable": rolling.get("maxUnavailable"),
        }
    rolling = mapping_at(mapping_at(spec, "strategy"), "rollingUpdate")
    return {
        "minReadySeconds": spec.get("minReadySeconds", 0),
        "progressDeadlineSeconds": spec.get("progressDeadlineSeconds"),
        "maxSurge": rolling.get("maxSurge"),
        "maxUnavailable": rolling.get("maxUnavailable"),
    }


def holding(kind: WorkloadKind, own: Brake, replicas: int, pods: int) -> Brake:
    """Exactly ``pods`` pods get the new template."""
    if kind is WorkloadKind.STATEFUL_SET:
        return {"partition": max(0, replicas - pods), "maxUnavailable": _one(own)}
    return {
        "minReadySeconds": NEVER_SECONDS,
        "progressDeadlineSeconds": _NO_DEADLINE,
        "maxSurge": 0,
        "maxUnavailable": pods,
    }


def one_by_one(kind: WorkloadKind, own: Brake, now: Brake) -> Brake:
    """All pods get the template, the next one when the last one is ready."""
    if kind is WorkloadKind.STATEFUL_SET:
        # Those below the partition have the old template, which is the template again.
        return {"partition": now["partition"], "maxUnavailable": _one(own)}
    return {
        "minReadySeconds": own["minReadySeconds"],
        "progressDeadlineSeconds": own["progressDeadlineSeconds"],
        "maxSurge": 0,
        "maxUnavailable": 1,
    }


def brake_patch(kind: WorkloadKind, before: Brake, after: Brake) -> Raw:
    """A strategic merge patch of ``spec``."""
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    inside = {
        name: changed.pop(name)
        for name in ("partition", "maxSurge", "maxUnavailable")
        if name in changed
    }
    if not inside:
        return changed
    place = "updateStrategy" if kind is WorkloadKind.STATEFUL_SET else "strategy"
    return {**changed, place: {"type": "RollingUpdate", "rollingUpdate": inside}}


def refuse_strategy(kind: WorkloadKind, spec: Raw) -> None:
    """Only rolling updates that nobody else holds can be held.

    Raises:
        Refused: It is another one.
    """
    stateful = kind is WorkloadKind.STATEFUL_SET
    strategy = mapping_at(spec, "updateStrategy" if stateful else "strategy")
    name = text_at(strategy, "type") or "RollingUpdate"
    if name != "RollingUpdate":
        raise Refused(f"its update strategy is {name}: only RollingUpdate changes pod after pod")
    if spec.get("paused") is True:
        raise Refused("it is paused (spec.paused): resume it")
    if spec.get("minReadySeconds") == NEVER_SECONDS:
        raise Refused(
            "it is held by a change whose record is gone: set minReadySeconds and strategy"
        )
    if stateful and brake_of(kind, spec)["partition"]:
        raise Refused("its partition is in use: set it to 0")
    if stateful and mapping_at(spec, "ordinals").get("start"):
        raise Refused("its ordinals do not start at 0, which is not supported")


def _one(own: Brake) -> object:
    """Where the field is not used it is not brought in: many clusters do not have it."""
    return None if own.get("maxUnavailable") is None else 1
