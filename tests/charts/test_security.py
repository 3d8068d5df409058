"""Pods pass the Pod Security Standard "restricted"; accounts may do what they need and no more."""

from collections.abc import Iterator
from typing import Any

import pytest

from charts.helm import Helm, Object, Rendered, read_values, value_sets

SETS = list(value_sets())
READING = {"get", "list", "watch"}
RESTARTING = {
    ("deployments", ("patch",)),
    ("statefulsets", ("patch",)),
    ("pods", ("delete",)),
}
"""What changes how engines are started."""
VOLUMES = {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "downwardAPI"}


def violations(spec: Object) -> Iterator[str]:
    """What of a pod is not allowed by "restricted", and what we ask for beyond it.

    Source: kubernetes.io, "Pod Security Standards", v1.34.
    """
    pod = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield field
    for volume in spec.get("volumes", []):
        if not set(volume) - {"name"} <= VOLUMES:
            yield f"volume {volume['name']}"
    if spec.get("automountServiceAccountToken") is None:
        yield "says nothing of automountServiceAccountToken"
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        for problem in of_container(container, pod):
            yield f"{container['name']}: {problem}"


def of_container(container: Object, pod: Object) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = pod | own
    if not both.get("runAsNonRoot") or both.get("runAsUser") == 0:
        yield "may be root"
    if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "no seccomp profile"
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield "may gain privileges"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or capabilities.get("add"):
        yield "keeps capabilities"
    if not own.get("readOnlyRootFilesystem"):
        yield "may write into its image"
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}) or "memory" not in resources.get("requests", {}):
        yield "no memory request and limit"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"


@pytest.mark.parametrize("name", SETS)
def test_every_pod_is_restricted(name: str, helm: Helm) -> None:
    pods = list(helm.render(read_values(name)).pod_specs())

    assert pods
    assert {pod: list(violations(spec)) for pod, spec in pods} == {pod: [] for pod, _ in pods}


def test_the_check_of_pods_finds_what_is_wrong() -> None:
    bad: dict[str, Any] = {
        "hostNetwork": True,
        "securityContext": {"runAsUser": 0, "runAsNonRoot": True},
        "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        "containers": [
            {"name": "c", "securityContext": {"privileged": True}, "ports": [{"hostPort": 1}]}
        ],
    }

    assert len(list(violations(bad))) == 10


def rules(rendered: Rendered, component: str) -> list[Object]:
    return [
        rule
        for item in rendered.of("Role") + rendered.of("ClusterRole")
        if item["metadata"]["labels"]["app.kubernetes.io/component"] == component
        for rule in item["rules"]
    ]


@pytest.mark.parametrize("name", SETS)
def test_the_gateway_reads_only(name: str, helm: Helm) -> None:
    values = read_values(name)
    rendered = helm.render(values)
    default = ["alise-tenant-keys", "alise-engine-keys"]
    for rule in rules(rendered, "gateway"):
        assert set(rule["verbs"]) <= READING
        assert "*" not in rule["resources"] + rule["apiGroups"]
        if "secrets" in rule["resources"]:
            assert rule["resources"] == ["secrets"]
            assert rule["resourceNames"] == values.get("gateway", {}).get("secretNames", default)
    namespaced = not values.get("clusterWide", False)
    assert bool(rendered.of("ClusterRole") + rendered.of("ClusterRoleBinding")) != namespaced


def test_without_names_no_secret_is_readable(helm: Helm) -> None:
    rendered = helm.render(
        {"gateway": {"secretNames": []}, "operator": {"adminTokenSecretNames": []}}
    )

    for component in ("gateway", "operator"):
        assert not [rule for rule in rules(rendered, component) if "secrets" in rule["resources"]]


@pytest.mark.parametrize("name", SETS)
def test_the_operator_writes_status_events_and_its_lease(name: str, helm: Helm) -> None:
    values = read_values(name)
    auto = values.get("operator", {}).get("autoTuning", {}).get("enabled", False)
    for rule in rules(helm.render(values), "operator"):
        assert "*" not in rule["resources"] + rule["apiGroups"] + rule["verbs"]
        if not set(rule["verbs"]) <= READING:
            for resource in rule["resources"]:
                restarts = auto and (resource, tuple(rule["verbs"])) in RESTARTING
                assert resource.endswith("/status") or resource in {"events", "leases"} or restarts
        if "secrets" in rule["resources"]:
            assert rule["resourceNames"]
            assert rule["verbs"] == ["get"]
        if "leases" in rule["resources"] and rule["verbs"] != ["create"]:
            assert rule["resourceNames"] == ["alise-operator"]


def test_workloads_are_changed_where_the_values_say_so(helm: Helm) -> None:
    granted = {
        enabled: {
            (resource, verb)
            for rule in rules(
                helm.render({"operator": {"autoTuning": {"enabled": enabled}}}), "operator"
            )
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
        for enabled in (False, True)
    }

    assert granted[True] - granted[False] == {
        ("deployments", "patch"),
        ("statefulsets", "patch"),
        ("pods", "delete"),
        ("poddisruptionbudgets", "list"),
    }


def test_tokens_of_accounts_are_mounted_where_the_api_server_is_asked(helm: Helm) -> None:
    quiet = dict(helm.render({"gateway": {"kubernetes": {"enabled": False}}}).pod_specs())

    assert quiet["Deployment alise-gateway"]["automountServiceAccountToken"] is False
    assert quiet["Deployment alise-operator"]["automountServiceAccountToken"] is True
    assert quiet["Pod alise-test"]["automountServiceAccountToken"] is False


def test_network_policies_let_in_whom_they_name(helm: Helm) -> None:
    rendered = helm.render(read_values("everything"))
    gateway = rendered.one("NetworkPolicy", "alise-gateway")["spec"]
    clients, admin = gateway["ingress"]
    (engines,) = rendered.one("NetworkPolicy", "alise-engines")["spec"]["ingress"]
    components = [
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for peer in engines["from"]
        if "podSelector" in peer
    ]

    assert clients["ports"] == [{"port": 8080}]
    assert {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "apps"}}
    } in clients["from"]
    assert admin["ports"] == [{"port": 8081}]
    assert admin["from"]
    assert components == ["gateway", "operator"]
    assert engines["ports"] == [{"port": 8000}, {"port": 8001}]


def test_an_admin_token_is_made_and_is_long(helm: Helm) -> None:
    first = helm.render().one("Secret", "alise-gateway-admin")["data"]["token"]
    second = helm.render(namespace="other").one("Secret", "alise-gateway-admin")["data"]["token"]

    assert first != second
    assert len(first) == 64  # 48 characters in base64


def test_an_own_admin_token_is_left_alone(helm: Helm) -> None:
    rendered = helm.render({"gateway": {"adminToken": {"existingSecret": "mine", "key": "t"}}})
    pod = dict(rendered.pod_specs())["Deployment alise-gateway"]
    (volume,) = [item for item in pod["volumes"] if item["name"] == "admin-token"]

    assert rendered.of("Secret") == []
    assert volume["secret"]["secretName"] == "mine"
    assert volume["secret"]["items"] == [{"key": "t", "path": "token"}]
