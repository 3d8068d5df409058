"""Gateways are evicted under load, as draining a node does: the budget holds, no request fails."""

import time

import httpx
import pytest

from running.cluster.api import Api
from running.cluster.installation import Install, Installation
from running.cluster.load import COMPLETE, load
from running.scrape import eventually

EVICTED_SECONDS = 120.0
RETRY_SECONDS = 0.5
OPEN = {"config": {"identity": {"allow_anonymous": True}}}


def policy_version(api: Api) -> str:
    """Budgets and evictions are as old as the cluster."""
    return "policy/v1" if api.find("/apis/policy/v1") else "policy/v1beta1"


def evict(api: Api, namespace: str, pod: str) -> int:
    """Ask for an eviction once; returns the answer's status code."""
    item = {
        "apiVersion": policy_version(api),
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    }
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    return api.request("POST", path, json=item).status_code


def evict_when_allowed(site: Installation, pod: str) -> None:
    """Ask again for as long as the budget says no, as ``kubectl drain`` does."""
    deadline = time.monotonic() + EVICTED_SECONDS
    while (code := evict(site.api, site.namespace, pod)) == httpx.codes.TOO_MANY_REQUESTS:
        assert time.monotonic() < deadline, f"{pod} may not be evicted"
        time.sleep(RETRY_SECONDS)
    assert code == httpx.codes.CREATED


def budget_allows(site: Installation) -> int:
    version = policy_version(site.api)
    budgets = f"/apis/{version}/namespaces/{site.namespace}/poddisruptionbudgets"
    found = site.api.read(f"{budgets}/{site.release.prefix}-gateway").get("status", {})
    return int(found.get("disruptionsAllowed", 0))


@pytest.fixture
def site(install: Install) -> Installation:
    return install(1, {"gateway": {**OPEN, "replicas": 2}, "operator": {"enabled": False}})


def test_gateways_are_evicted_one_by_one(site: Installation) -> None:
    first, second = (pod["metadata"]["name"] for pod in site.pods("gateway"))
    eventually(lambda: budget_allows(site) == 1, 60, "the budget knows of both gateways")

    with load(site.url) as seen:
        assert evict(site.api, site.namespace, first) == httpx.codes.CREATED
        assert evict(site.api, site.namespace, second) == httpx.codes.TOO_MANY_REQUESTS
        seen.more(4)
        evict_when_allowed(site, second)
        seen.more(4)
        site.release.wait()
        seen.more(8)

    print(f"endings: {dict(seen.counts)}")
    assert set(seen.counts) == {COMPLETE}
    assert not {first, second} & {pod["metadata"]["name"] for pod in site.pods("gateway")}
