"""A SchedulingPolicy object means what the gateway's settings of the same names mean."""

from typing import Any

import pytest

from alise_core.crds.scheduling_policy import SchedulingPolicySpec
from alise_core.crds.to_policy import scheduling_policy
from alise_core.policy import OrderingName, SchedulingPolicy
from alise_core.service_class import ServiceClass
from alise_gateway.settings import GatewaySettings

EVERYTHING: dict[str, Any] = {
    "ordering": {
        "name": "cost",
        "gamma": 0.5,
        "beta": 0.3,
        "agingHalfLifeSeconds": 40,
        "guardSeconds": 7,
        "guardFactor": 3,
    },
    "fairness": {
        "enabled": False,
        "inputWeight": 2,
        "outputWeight": 3,
        "idleHalfLifeSeconds": 5,
    },
    "admission": {
        "quantile": 0.6,
        "highQuantile": 0.9,
        "preemptionRatio": 0.1,
        "runAhead": 7,
        "orderingRunAhead": 11,
        "staleSeconds": 3,
    },
    "queue": {"maxWaiting": 17, "ttlSeconds": 90, "backfill": 2},
    "classes": [{"name": "flex", "maxWaiting": 3, "ttlSeconds": 12, "trickleShare": 0.2}],
}
SETTINGS: dict[str, Any] = {
    "queue": {"max_waiting": 17, "ttl_seconds": 90},
    "scheduling": {
        "ordering": "cost",
        "gamma": 0.5,
        "beta": 0.3,
        "aging_half_life_seconds": 40,
        "guard_seconds": 7,
        "guard_factor": 3,
        "fairness": False,
        "input_weight": 2,
        "output_weight": 3,
        "idle_half_life_seconds": 5,
        "admission_quantile": 0.6,
        "high_admission_quantile": 0.9,
        "preemption_ratio": 0.1,
        "run_ahead": 7,
        "ordering_run_ahead": 11,
        "stale_seconds": 3,
        "backfill": 2,
        "classes": {"flex": {"max_waiting": 3, "ttl_seconds": 12, "trickle_share": 0.2}},
    },
}


def of(spec: dict[str, Any]) -> SchedulingPolicy:
    return scheduling_policy(SchedulingPolicySpec.model_validate(spec))


def test_nothing_said_is_the_default() -> None:
    assert of({}) == SchedulingPolicy() == GatewaySettings().policy()


def test_everything_said_is_obeyed_as_the_settings_are() -> None:
    assert of(EVERYTHING) == GatewaySettings(**SETTINGS).policy()


def leaves(spec: dict[str, Any]) -> list[tuple[str, str]]:
    return [(group, name) for group, it in spec.items() if isinstance(it, dict) for name in it]


@pytest.mark.parametrize(("group", "name"), leaves(EVERYTHING))
def test_each_field_makes_a_difference(group: str, name: str) -> None:
    said = {name: EVERYTHING[group][name]}
    if name == "quantile":
        said["highQuantile"] = 0.7  # the default: only the quantile differs
    assert of({group: said}) != of({})


@pytest.mark.parametrize("name", ["maxWaiting", "ttlSeconds", "trickleShare"])
def test_each_field_of_a_class_makes_a_difference(name: str) -> None:
    said = {"name": "flex", name: EVERYTHING["classes"][0][name]}
    assert of({"classes": [said]}) != of({"classes": [{"name": "flex"}]}) == of({})


@pytest.mark.parametrize(("queue_ttl", "expected"), [(5, 300), (400, 400)])
def test_work_that_may_wait_keeps_its_longer_patience(queue_ttl: float, expected: float) -> None:
    classes = of({"queue": {"ttlSeconds": queue_ttl}}).classes
    assert classes[ServiceClass.FLEX].ttl_seconds == expected
    assert classes[ServiceClass.DEFAULT].ttl_seconds == queue_ttl


@pytest.mark.parametrize("name", OrderingName)
def test_every_ordering_can_be_named(name: OrderingName) -> None:
    assert of({"ordering": {"name": str(name)}}).ordering.name is name
