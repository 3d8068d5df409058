"""Which pods are gateways, and where each shows its metrics. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from alise_operator.decide.pods import Pod, endpoint_names


def parse_labels(text: str) -> dict[str, str]:
    """``KEY=VALUE,KEY=VALUE`` as labels that a pod must have.

    Raises:
        ValueError: It is nothing of the kind; the text says what is understood.
    """
    labels = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        key, value = key.strip(), value.removeprefix("=").strip()
        if not equals or not key or key.endswith("!") or any(sign in value for sign in "=()"):
            raise ValueError(
                f"{part.strip()!r} is no KEY=VALUE; give labels as KEY=VALUE,KEY=VALUE"
            )
        labels[key] = value
    return labels


def metrics_addresses(pods: Iterable[Pod], labels: Mapping[str, str], port: int) -> Iterator[str]:
    """``IP:PORT`` of every gateway that runs.

    One that is not ready, or on its way out, still has requests on the engines.
    """
    for pod in pods:
        selected = labels.items() <= pod.labels.items()
        if selected and pod.phase == "Running":
            yield from endpoint_names(pod, (port,))
