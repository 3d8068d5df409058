import pytest

from alise_operator.canary.budgets import blocking
from fakes.rolling_workload import Json

PODS = [{"app": "engines", "tier": "a"}, {"app": "engines", "tier": "b"}]


def budget(selector: Json | None, allowed: object = 0, observed: int = 3) -> Json:
    return {
        "metadata": {"name": "b", "generation": 3},
        "spec": {"selector": selector},
        "status": {"observedGeneration": observed, "disruptionsAllowed": allowed},
    }


def blocks(*budgets: Json, empty: bool = True) -> bool:
    return blocking(budgets, PODS, empty_selects_all=empty) == ("b",)


@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        ({"matchLabels": {"app": "engines"}}, True),
        ({"matchLabels": {"tier": "b"}}, True),
        ({"matchLabels": {"app": "engines", "tier": "c"}}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["b"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["c"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a", "b"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "Near", "values": []}]}, True),
        (None, False),
    ],
)
def test_it_is_about_the_pods_that_it_selects(selector: Json | None, *, selects: bool) -> None:
    assert blocks(budget(selector)) is selects


def test_an_empty_selector_is_all_pods_or_none_by_the_version() -> None:
    assert blocks(budget({}), empty=True)
    assert not blocks(budget({}), empty=False)


@pytest.mark.parametrize(
    ("allowed", "observed", "stands"), [(1, 3, False), (0, 3, True), (1, 2, True), (None, 3, True)]
)
def test_what_is_left_counts_once_it_was_counted(
    allowed: object, observed: int, *, stands: bool
) -> None:
    assert blocks(budget({"matchLabels": {"app": "engines"}}, allowed, observed)) is stands
