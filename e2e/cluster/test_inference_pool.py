"""An InferencePool without an endpoint picker is served, and told so."""

from collections.abc import Iterator

import pytest

from running.cluster import objects
from running.cluster.api import Api, Object, path_of
from running.cluster.installation import Installation
from running.cluster.rollout import wait_until_rolled_out

GROUP = "inference.networking.k8s.io"
API_VERSION = f"{GROUP}/v1"


@pytest.fixture(scope="module")
def definition(api: Api) -> Iterator[Object]:
    """InferencePool as far as it is read here; the real definition is the extension's own."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    names = {"kind": "InferencePool", "plural": "inferencepools", "singular": "inferencepool"}
    item = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # Groups of Kubernetes itself are protected: the definition names who approved it.
        "metadata": {
            "name": f"inferencepools.{GROUP}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {**names, "listKind": "InferencePoolList"},
            "versions": [version],
        },
    }
    api.create(item)
    api.wait(f"/apis/{API_VERSION}/inferencepools", bool, 30, "the definition is established")
    yield item
    api.delete(path_of(item))


def test_its_endpoints_are_served_and_its_status_says_by_whom(
    site: Installation, definition: Object
) -> None:
    engines = objects.engines(site.cluster, site.namespace, "pooled", 1, extra=("--alias=pooled",))
    site.api.apply(engines)
    spec = {
        "selector": {"matchLabels": {"app": "pooled"}},
        "targetPorts": [{"number": objects.ENGINE_PORT}],
    }
    metadata = {"name": "pooled", "namespace": site.namespace}
    pool = {"apiVersion": API_VERSION, "kind": "InferencePool", "metadata": metadata, "spec": spec}
    site.api.create(pool)
    try:
        wait_until_rolled_out(site.api, engines)
        # Installed before the definition was: it is noticed without a restart.
        site.wait_for_endpoints(3, 90)
        with site.client() as client:
            models = {model.id for model in client.models.list()}
        assert "pooled" in models
        told = site.api.wait(
            path_of(pool),
            lambda item: bool(item.get("status", {}).get("parents")),
            30,
            "status.parents names the gateway",
        )
        [parent] = told["status"]["parents"]
        assert parent["parentRef"]["name"] == f"{site.release.prefix}-gateway"
        assert {each["status"] for each in parent["conditions"]} == {"True"}
    finally:
        site.api.delete(path_of(pool))
        site.api.delete(path_of(engines))
        site.wait_for_endpoints(2)
