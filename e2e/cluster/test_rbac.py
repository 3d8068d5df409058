"""What the gateway and the operator may do with their own ServiceAccounts, and no more."""

import base64
from collections.abc import Iterator

import pytest

from running.cluster.api import Api, connect_with_token, resource
from running.cluster.installation import Installation

FORBIDDEN = 403
ALISE = "/apis/alise.dev/v1alpha1"


def account(site: Installation, component: str) -> Iterator[Api]:
    """A client with the token that the component's pods carry."""
    name = f"{site.release.prefix}-{component}"
    accounts = f"/api/v1/namespaces/{site.namespace}"
    found = site.api.read(f"{accounts}/serviceaccounts/{name}")
    secret = site.api.read(f"{accounts}/secrets/{found['secrets'][0]['name']}")
    token = base64.b64decode(secret["data"]["token"]).decode()
    client = connect_with_token(site.cluster.kubeconfig, token)
    yield client
    client.close()


@pytest.fixture
def gateway(site: Installation) -> Iterator[Api]:
    yield from account(site, "gateway")


@pytest.fixture
def operator(site: Installation) -> Iterator[Api]:
    yield from account(site, "operator")


@pytest.fixture
def secrets(site: Installation) -> Iterator[str]:
    """Two Secrets: one that the chart's values name, and somebody else's."""
    path = f"/api/v1/namespaces/{site.namespace}/secrets"
    names = ["alise-tenant-keys", "somebody-elses"]
    for name in names:
        metadata = {"name": name, "namespace": site.namespace}
        item = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
        site.api.create({**item, "stringData": {"key": "sk-of-nobody"}})
    yield path
    for name in names:
        site.api.delete(f"{path}/{name}")


def status(api: Api, method: str, path: str, **options: object) -> int:
    code: int = api.request(method, path, **options).status_code
    return code


@pytest.mark.parametrize("component", ["gateway", "operator"])
def test_secrets_are_read_by_name_only(
    component: str, secrets: str, request: pytest.FixtureRequest
) -> None:
    api: Api = request.getfixturevalue(component)

    assert status(api, "GET", f"{secrets}/alise-tenant-keys") == 200
    assert status(api, "GET", f"{secrets}/somebody-elses") == FORBIDDEN
    assert status(api, "GET", secrets) == FORBIDDEN
    assert status(api, "GET", "/api/v1/secrets") == FORBIDDEN
    assert status(api, "GET", "/api/v1/namespaces/kube-system/secrets") == FORBIDDEN


def test_the_gateway_writes_nothing(site: Installation, gateway: Api, secrets: str) -> None:
    pools = f"{ALISE}/namespaces/{site.namespace}/modelpools"
    pods = f"/api/v1/namespaces/{site.namespace}/pods"
    assert status(gateway, "GET", pools) == 200
    assert status(gateway, "GET", pods) == 200

    change = {"content": "{}", "headers": {"Content-Type": "application/merge-patch+json"}}
    for path in (f"{pools}/engines", f"{pools}/engines/status", f"{secrets}/alise-tenant-keys"):
        assert status(gateway, "PATCH", path, **change) == FORBIDDEN
    assert status(gateway, "POST", pools, json={}) == FORBIDDEN
    assert status(gateway, "POST", f"/api/v1/namespaces/{site.namespace}/events", json={}) == 403
    assert status(gateway, "DELETE", f"{pools}/engines") == FORBIDDEN
    assert status(gateway, "DELETE", pods) == FORBIDDEN


def test_the_operator_writes_statuses_and_nothing_else(site: Installation, operator: Api) -> None:
    pools = f"{ALISE}/namespaces/{site.namespace}/modelpools"
    deployments = resource("apps/v1", "Deployment", site.namespace)
    change = {"content": "{}", "headers": {"Content-Type": "application/merge-patch+json"}}

    assert status(operator, "PATCH", f"{pools}/engines/status", **change) == 200
    assert status(operator, "PATCH", f"{pools}/engines", **change) == FORBIDDEN
    # Mode Auto is off in the chart's values: engines cannot be changed.
    assert status(operator, "PATCH", f"{deployments}/engine", **change) == FORBIDDEN
    assert status(operator, "DELETE", f"{deployments}/engine") == FORBIDDEN
    assert status(operator, "GET", "/api/v1/pods") == FORBIDDEN
