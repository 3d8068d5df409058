"""The leading operator is killed: another takes over and goes on telling."""

import time

from running.cluster.figures import Figures
from running.cluster.installation import Installation
from running.cluster.rollout import scale
from running.scrape import eventually

CHANGE_SECONDS = 20.0


def holder(site: Installation) -> str:
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{site.namespace}/leases"
    found = site.api.find(f"{leases}/{site.release.prefix}-operator") or {"spec": {}}
    return found["spec"].get("holderIdentity") or ""


def operators(site: Installation) -> set[str]:
    return {pod["metadata"]["name"] for pod in site.pods("operator")}


def test_another_leads_within_twenty_seconds(other: Installation, figures: Figures) -> None:
    site = other
    eventually(lambda: holder(site) != "", 30, "somebody leads")
    first = holder(site)

    # Without grace: where pods are processes that is SIGKILL, and the Lease is not given up. A real
    # kubelet sends SIGTERM all the same, and the pod that takes this one's place may lead as well.
    pods = f"/api/v1/namespaces/{site.namespace}/pods"
    site.api.delete(f"{pods}/{first}", params={"gracePeriodSeconds": "0"})
    killed = time.monotonic()
    eventually(lambda: holder(site) not in {"", first}, CHANGE_SECONDS, "another leads")
    figures.add("leader_change_seconds", round(time.monotonic() - killed, 1))

    eventually(lambda: holder(site) in operators(site) - {first}, 30, "it is a ready pod")
    scale(site.api, site.engines, 2)
    pool = f"/apis/alise.dev/v1alpha1/namespaces/{site.namespace}/modelpools/engines"
    site.api.wait(
        pool,
        lambda item: item.get("status", {}).get("endpoints", {}).get("ready") == 2,
        30,
        "the new leader tells of the second engine",
    )
    scale(site.api, site.engines, 1)
    site.wait_for_endpoints(1)
