"""A policy that is applied is in force within two seconds; one that is wrong changes nothing."""

import time
from collections.abc import Iterator

import httpx
import pytest

from running.cluster.api import MERGE, Object, condition, path_of
from running.cluster.figures import Figures
from running.cluster.installation import Installation
from running.cluster.objects import MODEL, alise
from running.scrape import eventually

IN_FORCE_SECONDS = 2.0
CHANGES = 6


@pytest.fixture
def policy(site: Installation) -> Iterator[Object]:
    item = alise("SchedulingPolicy", site.namespace, "usual", {"ordering": {"name": "fcfs"}})
    site.api.create(item)
    try:
        eventually(lambda: orderings(site) == {"fcfs"}, 30, "the policy is in force")
        yield item
    finally:
        site.api.delete(path_of(item))
    eventually(lambda: orderings(site) != {"fcfs"}, 30, "the defaults are back")


def orderings(site: Installation) -> set[str]:
    """What orders the model's requests, at each gateway."""
    queues = site.admin("/alise/queue")
    return {queue["ordering_by_model"].get(MODEL, queue["ordering"]) for queue in queues}


def test_a_change_is_in_force_within_two_seconds(
    site: Installation, policy: Object, figures: Figures
) -> None:
    took = []
    for number in range(CHANGES):
        name = ("sjf", "fcfs")[number % 2]
        site.api.patch(path_of(policy), {"spec": {"ordering": {"name": name}}})
        changed = time.monotonic()
        eventually(lambda name=name: orderings(site) == {name}, IN_FORCE_SECONDS, name)  # type: ignore[misc]
        took.append(time.monotonic() - changed)

    figures.add_latencies("policy_change_to_in_force", took)


def test_the_schema_refuses_what_is_out_of_bounds(site: Installation, policy: Object) -> None:
    wrong = '{"spec": {"ordering": {"guardFactor": -1}}}'

    answer = site.api.request(
        "PATCH", path_of(policy), content=wrong, headers={"Content-Type": MERGE}
    )

    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert "spec.ordering.guardFactor" in answer.json()["message"]


def test_of_an_invalid_policy_the_last_good_one_stays(site: Installation, policy: Object) -> None:
    # Between fields: an API server without CEL takes it, and every reader has to notice.
    wrong = {"admission": {"quantile": 0.9, "highQuantile": 0.5}, "ordering": {"name": "sjf"}}
    site.api.patch(path_of(policy), {"spec": wrong})

    def reported(item: Object) -> bool:
        return condition(item, "Accepted").get("status") == "False"

    told = condition(site.api.wait(path_of(policy), reported, 30, "it is reported"), "Accepted")

    assert told["reason"] == "Invalid"
    assert "highQuantile" in told["message"]
    assert orderings(site) == {"fcfs"}
    site.api.patch(path_of(policy), {"spec": {"admission": None}})
    eventually(lambda: orderings(site) == {"sjf"}, IN_FORCE_SECONDS, "put right, it counts")
    site.api.wait(path_of(policy), lambda item: not reported(item), 30, "accepted again")
