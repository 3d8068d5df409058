"""What a plan knows: the workload and its pods as they are now, and what is wanted. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from alise_operator.canary.brakes import Brake, brake_of
from alise_operator.canary.record import RECORD_ANNOTATION
from alise_operator.canary.workload import (
    Fields,
    Raw,
    Setting,
    TierSize,
    WorkloadKind,
    fields_of,
    same_line,
)
from alise_operator.decide.pods import parse_pod
from alise_operator.decide.raw import mapping_at, sequence_at, text_at


@dataclass(frozen=True, slots=True)
class Goal:
    """What pods should be started with.

    Attributes:
        name: Says what it is, and tells one goal from another.
        settings: Arguments and their values.
        tier: A host tier that grows or shrinks with them.
        most_pods: At most so many; ``None`` is all of them.
        canary: The first pod is compared before others follow.
    """

    name: str
    settings: tuple[Setting, ...]
    tier: TierSize | None = None
    most_pods: int | None = None
    canary: bool = True


@dataclass(frozen=True, slots=True)
class SeenPod:
    """One pod of the workload.

    Attributes:
        fields: As it was started.
        trouble: Why it is not ready, as far as Kubernetes says.
    """

    name: str
    uid: str
    fields: Fields
    ready: bool
    terminating: bool = False
    restarts: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the gate found of one pod; the text has the figures."""

    pod_uid: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Seen:
    """See the module.

    Attributes:
        workload: As the API server shows it.
        pods: Its pods that have not run to their end.
        blocked_by: PodDisruptionBudgets that allow no disruption now.
        judged: Of the canary, once it has been compared.
        so_far: What the comparison has found until now, in words.
        paused: Somebody wants it left alone.
    """

    workload: Raw
    pods: tuple[SeenPod, ...]
    blocked_by: tuple[str, ...] = ()
    judged: Judged | None = None
    paused: bool = False
    so_far: str = ""

    @property
    def kind(self) -> WorkloadKind:
        """Of the workload."""
        return WorkloadKind(text_at(self.workload, "kind"))

    @property
    def metadata(self) -> Raw:
        """Of the workload."""
        return mapping_at(self.workload, "metadata")

    @property
    def spec(self) -> Raw:
        """Of the workload."""
        return mapping_at(self.workload, "spec")

    @property
    def template(self) -> Raw:
        """Of its pods."""
        return mapping_at(self.spec, "template")

    @property
    def record_text(self) -> str | None:
        """The annotation."""
        return text_at(mapping_at(self.metadata, "annotations"), RECORD_ANNOTATION) or None

    @property
    def brake(self) -> Brake:
        """As it is set now."""
        return brake_of(self.kind, self.spec)

    @property
    def replicas(self) -> int:
        """Pods that there should be."""
        count = self.spec.get("replicas", 1)
        return count if isinstance(count, int) else 1

    def unsettled(self) -> str:
        """Why another pod must not be taken down now; empty where it may."""
        generation = self.metadata.get("generation")
        if mapping_at(self.workload, "status").get("observedGeneration") != generation:
            return "its controller has not seen the last change yet"
        for pod in self.pods:
            if pod.terminating:
                return f"pod {pod.name} is ending"
            if not pod.ready:
                return f"pod {pod.name} is not ready{f': {pod.trouble}' if pod.trouble else ''}"
        if len(self.pods) != self.replicas:
            return f"it has {len(self.pods)} of {self.replicas} pods"
        return ""

    def changed(self, after: Fields) -> tuple[SeenPod, ...]:
        """Pods that were started with these fields and are not ending."""
        return tuple(
            pod for pod in self.pods if same_line(pod.fields, after) and not pod.terminating
        )


def seen_pod(raw: Mapping[str, object], container: str) -> SeenPod | None:
    """A pod as the API server shows it; ``None`` of one that has run to its end."""
    pod = parse_pod(raw)
    if pod is None or pod.state.is_over:
        return None
    return SeenPod(
        name=pod.name,
        uid=pod.uid,
        fields=fields_of(raw, container),
        ready=pod.state.is_endpoint,
        terminating=pod.state.is_terminating,
        restarts=pod.restarts,
        trouble=_trouble(mapping_at(raw, "status")),
    )


def _trouble(status: Raw) -> str:
    for one in sequence_at(status, "containerStatuses"):
        waiting = mapping_at(mapping_at(one, "state"), "waiting")
        if text_at(waiting, "reason"):
            return text_at(waiting, "reason")[:80]
    for one in sequence_at(status, "conditions"):
        if text_at(one, "type") == "PodScheduled" and text_at(one, "status") == "False":
            return f"{text_at(one, 'reason')}: {text_at(one, 'message')}"[:200]
    return ""
