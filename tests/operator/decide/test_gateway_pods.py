"""Which pods are gateways."""

import pytest

from alise_operator.decide.gateway_pods import metrics_addresses, parse_labels
from alise_operator.decide.pods import Pod

LABELS = {"app": "alise", "component": "gateway"}


def pod(name: str, **changes: object) -> Pod:
    values = {"ip": "10.0.0.1", "phase": "Running", "labels": LABELS, "ready": True, **changes}
    return Pod("ns", name, name, **values)  # type: ignore[arg-type]


def test_labels_are_read() -> None:
    assert parse_labels("app=alise, component==gateway") == LABELS


@pytest.mark.parametrize("text", ["", "app", "app in (a)", "app!=a", "=a", "a=b=c"])
def test_what_is_not_understood_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="KEY=VALUE"):
        parse_labels(text)


def test_gateways_that_run_are_found_ready_or_not() -> None:
    pods = [
        pod("a"),
        pod("b", ip="fd00::1", ready=False, terminating=True),
        pod("c", phase="Succeeded"),
        pod("d", ip=None),
        pod("e", labels={"app": "alise"}),
    ]

    found = metrics_addresses(pods, LABELS, 8081)

    assert list(found) == ["10.0.0.1:8081", "[fd00::1]:8081"]
