"""How quickly the gateway follows the cluster, and what it and the operator cost when idle."""

import time
from collections.abc import Iterator

import pytest

from running.cluster import network
from running.cluster.api import Object, path_of
from running.cluster.figures import Figures
from running.cluster.installation import Installation
from running.cluster.objects import ENGINE_PORT
from running.cluster.readiness import LOST_SECONDS, follow
from running.cluster.rollout import ready_pods, seconds_until_told
from running.node.pod import HANDS_OFF
from running.node.usage import cpu_seconds, resident_bytes

FLIPS = 25
LEADING_SECONDS = 40.0
IDLE_SECONDS = 10.0
MOST_IDLE_RATIO = 0.1
"""Of one core."""
RECONCILED = 10
POLL_SECONDS = 0.002


@pytest.fixture
def engine(site: Installation) -> Iterator[Object]:
    """One of the engines, whose status the test writes; as before at the end."""
    if site.cluster.containers:
        pytest.skip("a kubelet takes back what others write into the status of its pod")
    pod = ready_pods(site.api, site.namespace, {"app": "engine"})[0]
    item = {**pod, "apiVersion": "v1", "kind": "Pod"}
    site.api.patch(path_of(item), {"metadata": {"annotations": {HANDS_OFF: ""}}})
    yield item
    site.api.patch(path_of(item), {"metadata": {"annotations": {HANDS_OFF: None}}})
    site.wait_for_endpoints(2)


def test_endpoint_changes_reach_routing(
    site: Installation, engine: Object, figures: Figures
) -> None:
    [gateway] = site.pods("gateway")
    name = f"{engine['status']['podIP']}:{ENGINE_PORT}"

    followed = follow(
        site.api, path_of(engine), FLIPS, lambda: name in site.usable(gateway), POLL_SECONDS
    )

    followed.add_to(figures)


def test_a_changed_spec_is_told_of_in_its_status(site: Installation, figures: Figures) -> None:
    path = f"/apis/alise.dev/v1alpha1/namespaces/{site.namespace}/modelpools/engines"
    took = [
        seconds_until_told(
            site.api,
            path,
            {"maxInFlightPerEndpoint": 200 + number},
            # Of a new installation the first operator has yet to lead.
            LOST_SECONDS if number else LEADING_SECONDS,
        )
        for number in range(1 + RECONCILED)
    ]

    figures.add_latencies("spec_change_to_status", took[1:])


def test_idle_processes_cost_little(site: Installation, figures: Figures) -> None:
    """CPU and memory of gateway and operator with nothing to do."""
    if not network.inside():
        pytest.skip("pods of a given cluster are not this machine's processes")
    names = {part: site.pods(part)[0]["metadata"]["name"] for part in ("gateway", "operator")}
    before = {part: cpu_seconds(name) for part, name in names.items()}
    started = time.monotonic()
    time.sleep(IDLE_SECONDS)
    for part, name in names.items():
        share = (cpu_seconds(name) - before[part]) / (time.monotonic() - started)
        figures.add(f"idle_{part}_cpu_ratio", round(share, 4))
        figures.add(f"idle_{part}_resident_mib", round(resident_bytes(name) / 2**20))
        assert before[part] > 0
        assert share < MOST_IDLE_RATIO
