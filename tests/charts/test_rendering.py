"""Whatever the values, what is rendered is whole and fits together."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from charts.helm import NEWEST, OLDEST, Helm, HelmCrashed, Object, Rendered, read_values, value_sets

SETS = list(value_sets())
LABELS = {"name", "instance", "component", "part-of", "version", "managed-by"}
OF_OTHERS = {"my-admin", "my-account", "learned", "bundle"}
"""Objects that the sets of values say exist."""


@pytest.fixture(params=SETS)
def rendered(request: pytest.FixtureRequest, helm: Helm) -> Rendered:
    return helm.render(read_values(request.param))


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", SETS)
def test_helm_has_nothing_to_complain_about(name: str, version: str, helm: Helm) -> None:
    assert helm.lint(read_values(name), version) == []


def test_every_object_is_named_and_labelled(rendered: Rendered) -> None:
    for item in rendered.objects:
        labels = item["metadata"]["labels"]
        assert re.fullmatch(r"[a-z0-9][-a-z0-9.]{0,62}", item["metadata"]["name"])
        if item["kind"] != "CustomResourceDefinition":
            assert {f"app.kubernetes.io/{label}" for label in LABELS} <= set(labels)
        assert "namespace" not in item["metadata"]


def test_no_two_objects_share_a_name(rendered: Rendered) -> None:
    names = [(item["kind"], item["metadata"]["name"]) for item in rendered.objects]

    assert len(set(names)) == len(names)


def test_selectors_find_the_pods_of_one_deployment(rendered: Rendered) -> None:
    pods = [item["spec"]["template"]["metadata"]["labels"] for item in rendered.of("Deployment")]
    for item in rendered.objects:
        for selector in own_selectors(item):
            found = [labels for labels in pods if selector.items() <= labels.items()]
            assert len(found) == 1, (item["kind"], item["metadata"]["name"], selector)


def own_selectors(item: Object) -> Iterator[dict[str, str]]:
    """The selectors of an object that are meant for pods of the same release."""
    spec = item.get("spec", {})
    if item["kind"] == "Service":
        yield spec["selector"]
    elif item["kind"] in {"Deployment", "PodDisruptionBudget", "PodMonitor"}:
        yield spec["selector"]["matchLabels"]
    elif item["kind"] == "NetworkPolicy" and not item["metadata"]["name"].endswith("-engines"):
        yield spec["podSelector"]["matchLabels"]


def test_service_monitors_find_one_service_each(helm: Helm) -> None:
    rendered = helm.render(read_values("service-monitor"))
    services = [item["metadata"]["labels"] for item in rendered.of("Service")]
    for monitor in rendered.of("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        assert len([labels for labels in services if wanted.items() <= labels.items()]) == 1


def test_ports_that_are_named_exist(rendered: Rendered) -> None:
    ports = {
        port["name"]
        for _, spec in rendered.pod_specs()
        for container in spec["containers"]
        for port in container.get("ports", [])
    }
    named = {
        port["targetPort"] for item in rendered.of("Service") for port in item["spec"]["ports"]
    }
    named |= {probe["httpGet"]["port"] for probe in probes(rendered)}
    named |= {
        end["port"]
        for item in rendered.of("PodMonitor")
        for end in item["spec"]["podMetricsEndpoints"]
    }

    assert named <= ports


def probes(rendered: Rendered) -> Iterator[Object]:
    for _, spec in rendered.pod_specs():
        for container in spec["containers"]:
            yield from (value for key, value in container.items() if key.endswith("Probe"))


def test_volumes_and_what_they_hold_exist(rendered: Rendered) -> None:
    existing = {item["metadata"]["name"] for item in rendered.objects} | OF_OTHERS
    for name, spec in rendered.pod_specs():
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for container in spec["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= set(volumes), (
                name
            )
        assert set(sources(volumes.values())) <= existing
        assert spec.get("serviceAccountName", "default") in existing | {"default"}


def sources(volumes: Any) -> Iterator[str]:
    for volume in volumes:
        if "configMap" in volume:
            yield volume["configMap"]["name"]
        elif "secret" in volume:
            yield volume["secret"]["secretName"]
        elif "persistentVolumeClaim" in volume:
            yield volume["persistentVolumeClaim"]["claimName"]


def test_bindings_lead_from_an_account_to_a_role(rendered: Rendered) -> None:
    names = {(item["kind"], item["metadata"]["name"]) for item in rendered.objects}
    for item in rendered.of("RoleBinding") + rendered.of("ClusterRoleBinding"):
        assert (item["roleRef"]["kind"], item["roleRef"]["name"]) in names
        for subject in item["subjects"]:
            assert ("ServiceAccount", subject["name"]) in names
            assert subject["namespace"] == "llm"


def test_what_scales_the_gateway_is_alone_in_it(rendered: Rendered) -> None:
    gateway = rendered.one("Deployment", "alise-gateway")
    scaled = rendered.of("HorizontalPodAutoscaler") + rendered.of("ScaledObject")

    assert ("replicas" in gateway["spec"]) == (scaled == [])
    for item in scaled:
        assert item["spec"]["scaleTargetRef"]["name"] == "alise-gateway"


def test_notes_name_what_was_installed(rendered: Rendered) -> None:
    for item in rendered.of("Deployment"):
        assert item["metadata"]["name"] in rendered.notes
    assert "<no value>" not in rendered.notes
    assert "\n\n\n" not in rendered.notes


def test_notes_say_the_next_command(helm: Helm) -> None:
    assert "create secret generic alise-tenant-keys" in helm.render().notes
    anonymous = helm.render(read_values("minimal")).notes
    assert "WARNING" in anonymous
    assert "secret" not in anonymous.split("Next:")[1]


def test_a_crash_of_helm_is_told_and_survived() -> None:
    helm = Helm()
    with pytest.raises(HelmCrashed, match=r"(?s)exit code -6.*'crash'.*Abort"):
        helm.ask(operation="crash")

    assert helm.render().objects
    helm.close()
