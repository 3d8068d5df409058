"""Which pods are gateways, and where each shows its metrics. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from alise_operator.decide.pods import Pod, endpoint_names


def metrics_addresses(pods: Iterable[Pod], labels: Mapping[str, str], port: int) -> Iterator[str]:
    """``IP:PORT`` of every gateway that runs.

    One that is not ready, or on its way out, still has requests on the engines.
    """
    for pod in pods:
        selected = labels.items() <= pod.labels.items()
        if selected and pod.state.phase == "Running":
            yield from endpoint_names(pod, (port,))
