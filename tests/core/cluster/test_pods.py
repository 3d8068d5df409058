"""A pod is given work while it has an address, runs, is ready and is not about to go."""

from typing import Any

import pytest

from alise_cluster.pods import PodState, endpoint_name, pod_state
from fakes.custom_objects import a_pod


def state(**changes: Any) -> PodState:
    return pod_state(a_pod(**changes))


def test_a_pod_that_is_ready_is_an_endpoint() -> None:
    found = state()
    assert (found.address, found.phase) == ("10.0.0.1", "Running")
    assert (found.is_ready, found.is_endpoint) == (True, True)
    assert (found.is_leaving, found.is_over) == (False, False)


@pytest.mark.parametrize(
    ("changes", "is_ready", "is_leaving"),
    [
        ({"ip": None}, True, False),
        ({"ready": False}, False, False),
        ({"phase": "Pending"}, False, False),
        ({"phase": "Unknown"}, False, False),
        ({"phase": "Failed"}, False, True),
        ({"phase": "Succeeded"}, False, True),
        ({"terminating": True}, True, True),
    ],
)
def test_and_not_before_or_after(changes: dict[str, Any], is_ready: bool, is_leaving: bool) -> None:
    found = state(**changes)

    assert not found.is_endpoint
    assert (found.is_ready, found.is_leaving) == (is_ready, is_leaving)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_what_ran_to_its_end_is_over_and_what_is_being_deleted_is_not_yet(phase: str) -> None:
    assert state(phase=phase).is_over
    assert not state(terminating=True).is_over


@pytest.mark.parametrize(
    "status",
    [
        None,
        [],
        {"podIP": 7, "phase": ["Running"]},
        {"podIP": "10.0.0.1", "phase": "Running", "conditions": {"Ready": "True"}},
        {"podIP": "10.0.0.1", "phase": "Running", "conditions": ["Ready", {"type": "Ready"}]},
    ],
)
def test_what_is_missing_or_absurd_is_not_said(status: object) -> None:
    assert not pod_state({"metadata": None, "status": status}).is_endpoint


def test_other_conditions_do_not_count() -> None:
    raw = a_pod(ready=False)
    raw["status"]["conditions"].append({"type": "ContainersReady", "status": "True"})

    assert not pod_state(raw).is_ready


def test_an_endpoint_is_named_by_address_and_port() -> None:
    assert endpoint_name("10.0.0.1", 8000) == "10.0.0.1:8000"
    assert endpoint_name("fd00::1", 8000) == "[fd00::1]:8000"
