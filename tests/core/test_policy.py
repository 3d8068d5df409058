"""The scheduling policy: every class has limits, and values cannot change under the queue."""

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import pytest

from alise_core.policy import ClassLimits, SchedulingPolicy
from alise_core.service_class import ServiceClass


def test_every_class_has_limits_and_its_own() -> None:
    policy = SchedulingPolicy()
    assert list(policy.classes) == list(ServiceClass)
    for limits in policy.classes.values():
        assert limits.ttl_seconds > 0
        assert 0 <= limits.trickle_share < 1


def test_a_better_class_never_trickles_into_the_best() -> None:
    assert SchedulingPolicy().classes[ServiceClass.PRIORITY].trickle_share == 0


def test_the_default_limits_cannot_be_changed_for_everybody() -> None:
    classes: Any = SchedulingPolicy().classes
    with pytest.raises(TypeError):
        classes[ServiceClass.BATCH] = ClassLimits()


def test_no_part_can_be_changed() -> None:
    policy = SchedulingPolicy()
    parts = [policy, *(getattr(policy, item.name) for item in fields(policy)), ClassLimits()]
    found = [part for part in parts if is_dataclass(part)]
    assert len(found) >= 5
    for part in found:
        with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
            setattr(part, fields(part)[0].name, None)


def test_what_is_reserved_does_not_fall_when_a_backend_preempts() -> None:
    admission = SchedulingPolicy().admission
    assert 0 < admission.quantile <= admission.high_quantile < 1
