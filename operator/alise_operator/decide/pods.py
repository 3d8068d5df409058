"""Pods as the operator sees them, and which of them belong to a pool. Pure.

Source: docs/design/0011-kubernetes.md, "Rules that both obey".
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from alise_cluster.pods import PodState, endpoint_name, pod_state
from alise_core.crds.names import PAUSED_ANNOTATION
from alise_operator.decide.raw import mapping_at, sequence_at, text_at


@dataclass(frozen=True, slots=True)
class Pod:
    """What matters of one pod; equal where nothing has changed that matters.

    Attributes:
        state: Whether it may be given work, and where.
        restarts: Of its containers together: another number is another engine.
        paused: The tuner has to leave it alone.
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    state: PodState
    restarts: int = 0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Which ports of which pods.

    Attributes:
        labels: That a pod must have, all of them; without any it selects nothing.
        ports: On which every pod serves.
    """

    namespace: str
    labels: Mapping[str, str]
    ports: tuple[int, ...]

    def selects(self, pod: Pod) -> bool:
        """Whether the pod is one of these."""
        return (
            bool(self.labels)
            and pod.namespace == self.namespace
            and self.labels.items() <= pod.labels.items()
        )

    def pods(self, pods: Iterable[Pod]) -> Iterator[Pod]:
        """Those selected that have not run to their end."""
        return (pod for pod in pods if self.selects(pod) and not pod.state.is_over)


def endpoint_names(pod: Pod, ports: Iterable[int]) -> tuple[str, ...]:
    """``IP:PORT`` of each port; nothing before the pod has an address."""
    address = pod.state.address
    return tuple(endpoint_name(address, port) for port in ports) if address else ()


def parse_pod(raw: Mapping[str, object]) -> Pod | None:
    """A pod out of the API server's JSON; ``None`` where it has no name."""
    metadata, status = mapping_at(raw, "metadata"), mapping_at(raw, "status")
    name, namespace = text_at(metadata, "name"), text_at(metadata, "namespace")
    if not name or not namespace:
        return None
    return Pod(
        namespace=namespace,
        name=name,
        uid=text_at(metadata, "uid"),
        labels=_texts(mapping_at(metadata, "labels")),
        state=pod_state(raw),
        restarts=_restarts(status),
        paused=text_at(mapping_at(metadata, "annotations"), PAUSED_ANNOTATION) == "true",
    )


def _restarts(status: Mapping[str, object]) -> int:
    counts = (each.get("restartCount") for each in sequence_at(status, "containerStatuses"))
    return sum(count for count in counts if isinstance(count, int))


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {key: value for key, value in values.items() if isinstance(value, str)}
