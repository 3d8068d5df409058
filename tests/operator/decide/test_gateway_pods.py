"""Which pods are gateways."""

from alise_cluster.pods import PodState
from alise_operator.decide.gateway_pods import metrics_addresses
from alise_operator.decide.pods import Pod

LABELS = {"app": "alise", "component": "gateway"}


def pod(name: str, **changes: object) -> Pod:
    labels = changes.pop("labels", LABELS)
    state = PodState(**{"address": "10.0.0.1", "phase": "Running", **changes})  # type: ignore[arg-type]
    return Pod("ns", name, name, labels, state)  # type: ignore[arg-type]


def test_gateways_that_run_are_found_ready_or_not() -> None:
    pods = [
        pod("a"),
        pod("b", address="fd00::1", is_terminating=True),
        pod("c", phase="Succeeded"),
        pod("d", address=""),
        pod("e", labels={"app": "alise"}),
    ]

    found = metrics_addresses(pods, LABELS, 8081)

    assert list(found) == ["10.0.0.1:8081", "[fd00::1]:8081"]
