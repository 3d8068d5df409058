from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_operator.decide.parents import (
    Parent,
    TooManyParents,
    decide_parents,
    is_served,
    parents_with,
)
from fakes.custom_objects import Raw, a_pool, a_scope, an_inference_pool

NOW, LATER = 1_750_000_000.0, 1_750_009_999.0
US = Parent("ns", "alise-gateway")
THEIRS = {
    "controllerName": "istio.io/gateway-controller",
    "parentRef": {"kind": "Gateway", "name": "edge"},
    "conditions": [{"type": "Accepted", "status": "True"}],
}


def a_served(parents: list[Any]) -> Raw:
    return an_inference_pool() | {"status": {"parents": parents}}


def test_our_entry_is_added_behind_the_others() -> None:
    (first, ours) = parents_with(a_served([THEIRS]), US, NOW, served=True)

    assert first == THEIRS
    assert isinstance(ours, dict)
    assert ours["controllerName"] == "alise.dev/gateway"
    assert ours["parentRef"] == {
        "group": "",
        "kind": "Service",
        "name": "alise-gateway",
        "namespace": "ns",
    }
    assert [(each["type"], each["status"]) for each in ours["conditions"]] == [
        ("Accepted", "True"),
        ("ResolvedRefs", "True"),
    ]


def test_what_stands_already_is_left_as_it_is() -> None:
    parents = parents_with(a_served([THEIRS]), US, NOW, served=True)

    assert parents_with(a_served(parents), US, LATER, served=True) == parents


def test_another_generation_is_observed_without_moving_the_time() -> None:
    raw = a_served(parents_with(a_served([]), US, NOW, served=True))
    raw["metadata"]["generation"] = 2

    (ours,) = parents_with(raw, US, LATER, served=True)

    assert isinstance(ours, dict)
    assert [each["observedGeneration"] for each in ours["conditions"]] == [2, 2]
    assert {each["lastTransitionTime"] for each in ours["conditions"]} == {"2025-06-15T15:06:40Z"}


def test_only_our_entry_goes() -> None:
    other_release = Parent("elsewhere", "alise-gateway")
    both = parents_with(a_served([THEIRS]), US, NOW, served=True)
    both = parents_with(a_served(both), other_release, NOW, served=True)

    left = parents_with(a_served(both), US, NOW, served=False)

    assert len(both) == 3
    assert left == [both[0], both[2]]


def test_a_namespace_left_out_is_the_pools_own() -> None:
    entry = {
        "controllerName": "alise.dev/gateway",
        "parentRef": {"kind": "Service", "name": "alise-gateway"},
    }

    assert parents_with(a_served([entry]), US, NOW, served=False) == []


def test_ours_twice_becomes_ours_once() -> None:
    (ours,) = parents_with(a_served([]), US, NOW, served=True)

    assert parents_with(a_served([ours, THEIRS, ours]), US, NOW, served=True) == [ours, THEIRS]


def test_a_pool_without_a_status_has_no_parents() -> None:
    standing: list[dict[str, Any]] = [{}, {"parents": "?"}, {"parents": []}]
    for status in standing:
        raw = an_inference_pool() | {"status": status}
        assert decide_parents(raw, US, NOW, served=False).status == {}
    assert parents_with(an_inference_pool(), US, NOW, served=False) == []


def test_a_full_list_is_left_alone() -> None:
    many = [THEIRS | {"parentRef": {"name": str(index)}} for index in range(32)]

    with pytest.raises(TooManyParents, match="32"):
        decide_parents(a_served(many), US, NOW, served=True)


def test_which_pools_are_served() -> None:
    alone, picked = an_inference_pool("alone"), an_inference_pool("picked", picker=True)
    named = an_inference_pool("named", picker=True)
    broken = an_inference_pool("broken", targetPorts=[])
    scope = a_scope(
        pools=(a_pool(inferencePoolRef={"name": "named"}),),
        inference_pools=(alone, picked, named, broken),
    )

    served = {name: is_served(pool, scope) for name, pool in scope.inference_pools.items()}

    assert served == {"alone": True, "picked": False, "named": True, "broken": False}


def test_pools_that_have_a_picker_are_served_on_request() -> None:
    scope = replace(
        a_scope(inference_pools=(an_inference_pool("picked", picker=True),)), serve_picked=True
    )

    assert is_served(scope.inference_pools["picked"], scope)


def test_what_is_being_deleted_is_not_served() -> None:
    going, via = an_inference_pool("going"), a_pool(inferencePoolRef={"name": "named"})
    for raw in (going, via):
        raw["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    named = an_inference_pool("named", picker=True)
    scope = a_scope(pools=(via,), inference_pools=(going, named))

    assert not any(is_served(pool, scope) for pool in scope.inference_pools.values())


ENTRIES = st.lists(
    st.none()
    | st.integers()
    | st.just(THEIRS)
    | st.just({"controllerName": "alise.dev/gateway", "parentRef": 5})
    | st.just(
        {
            "controllerName": "alise.dev/gateway",
            "parentRef": {"kind": "Service", "name": "alise-gateway"},
            "conditions": [7],
        }
    ),
    max_size=5,
)


@given(ENTRIES, st.booleans())
def test_others_are_never_touched_and_twice_is_once(entries: list[Any], served: bool) -> None:
    ours = [
        each
        for each in entries
        if isinstance(each, dict)
        and each["controllerName"] == "alise.dev/gateway"
        and isinstance(each["parentRef"], dict)
    ]
    wanted = parents_with(a_served(entries), US, NOW, served=served)

    assert [each for each in wanted if each in entries and each not in ours] == [
        each for each in entries if each not in ours
    ]
    assert parents_with(a_served(wanted), US, LATER, served=served) == wanted
    assert len(wanted) - (len(entries) - len(ours)) == int(served)
