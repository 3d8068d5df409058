"""Classes: their order, their bounds, and what tiers and objectives become."""

import pytest

from alise_core.service_class import (
    SERVICE_TIERS,
    ServiceClass,
    class_of_objective,
    class_of_tier,
)

ALL = list(ServiceClass)


def test_the_order_in_which_classes_are_served() -> None:
    assert sorted(ALL, key=lambda item: item.rank) == [
        ServiceClass.PRIORITY,
        ServiceClass.SCALE,
        ServiceClass.DEFAULT,
        ServiceClass.FLEX,
        ServiceClass.BATCH,
    ]
    assert ServiceClass.PRIORITY.rank == 0


@pytest.mark.parametrize("wanted", ALL)
@pytest.mark.parametrize("highest", ALL)
def test_a_clamped_class_is_the_worse_of_both(wanted: ServiceClass, highest: ServiceClass) -> None:
    assert wanted.clamped(highest).rank == max(wanted.rank, highest.rank)


@pytest.mark.parametrize("default", ALL)
def test_a_tier_is_a_class_or_leaves_the_choice(default: ServiceClass) -> None:
    for tier in SERVICE_TIERS - {"auto"}:
        assert class_of_tier(tier, default) == tier
    assert class_of_tier("auto", default) is default
    assert class_of_tier(None, default) is default


def test_every_class_is_stated_as_a_tier_that_clients_know() -> None:
    assert {item.tier for item in ALL} == SERVICE_TIERS - {"auto"}
    assert ServiceClass.BATCH.tier == "flex"


@pytest.mark.parametrize("default", ALL)
def test_an_objective_is_above_below_or_at_the_default(default: ServiceClass) -> None:
    assert class_of_objective(1, default) is ServiceClass.PRIORITY
    assert class_of_objective(0, default) is default
    assert class_of_objective(-1, default) is ServiceClass.BATCH
