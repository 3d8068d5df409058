"""Two releases in two namespaces do not see each other."""

from running.cluster import objects
from running.cluster.api import path_of
from running.cluster.installation import Installation
from running.cluster.objects import alise


def test_each_serves_its_own_pools(site: Installation, other: Installation) -> None:
    ours, theirs = (
        {name for pod in each.pods("gateway") for name in each.usable(pod)}
        for each in (site, other)
    )

    assert len(ours) == 2
    assert len(theirs) == 1
    assert not ours & theirs
    policy = alise("SchedulingPolicy", other.namespace, "theirs", {"ordering": {"name": "sjf"}})
    other.api.create(policy)
    pool = f"/apis/alise.dev/v1alpha1/namespaces/{other.namespace}/modelpools/engines"
    other.api.wait(
        pool,
        lambda item: item.get("status", {}).get("schedulingPolicy") == "theirs",
        20,
        "their operator tells of their policy",
    )
    [queue] = site.admin("/alise/queue")
    assert queue["ordering_by_model"].get(objects.MODEL, queue["ordering"]) != "sjf"
    other.api.delete(path_of(policy))
