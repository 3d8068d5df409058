"""One chart for clusters from 1.20 on."""

import copy

import pytest
from kubernetes_validate import ValidationError, validate

from charts.helm import NEWEST, OLDEST, Helm, Rendered, read_values, value_sets

SETS = list(value_sets())
CORE_GROUPS = {
    "",
    "apps",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "apiextensions.k8s.io",
}
"""Groups whose schemas come with Kubernetes; others are somebody's custom resources."""
OFTEN = ("default", "everything")
VALIDATED = [
    (minor, name) for minor in range(28, 35) for name in SETS if name in OFTEN or minor in {28, 34}
]
"""Every minor version; the sets that add little to others at both ends only."""


def group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


@pytest.mark.slow
@pytest.mark.parametrize(("minor", "name"), VALIDATED)
def test_objects_fit_the_schemas_of_kubernetes(minor: int, name: str, helm: Helm) -> None:
    values = read_values(name)
    if name != "everything":  # definitions are long, and the same in every set
        values["crds"] = {"install": False}
    rendered = helm.render(values, kube_version=f"v1.{minor}.0")
    core = [item for item in rendered.objects if group(item["apiVersion"]) in CORE_GROUPS]

    assert len(core) >= 5 - (name == "minimal")
    for item in core:
        validate(item, f"1.{minor}", strict=True)


def test_the_schemas_find_what_is_wrong(helm: Helm) -> None:
    deployment = copy.deepcopy(helm.render().one("Deployment", "alise-gateway"))
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}

    with pytest.raises(ValidationError, match="livenesProbe"):
        validate(deployment, "1.34", strict=True)


def api_versions(rendered: Rendered) -> dict[str, str]:
    return {item["kind"]: item["apiVersion"] for item in rendered.objects}


@pytest.mark.parametrize(
    ("version", "disruption", "scaling"),
    [
        (OLDEST, "policy/v1beta1", "autoscaling/v2beta2"),
        ("v1.22.17", "policy/v1", "autoscaling/v2beta2"),
        ("v1.23.0", "policy/v1", "autoscaling/v2"),
        ("v1.31.4-gke.1256000", "policy/v1", "autoscaling/v2"),
        (NEWEST, "policy/v1", "autoscaling/v2"),
    ],
)
def test_api_versions_follow_the_cluster(
    version: str, disruption: str, scaling: str, helm: Helm
) -> None:
    found = api_versions(helm.render(read_values("everything"), kube_version=version))

    assert found["PodDisruptionBudget"] == disruption
    assert found["HorizontalPodAutoscaler"] == scaling
    assert found["Ingress"] == "networking.k8s.io/v1"


@pytest.mark.parametrize(
    ("version", "hook"),
    [("v1.29.9", {"exec": {"command": ["sleep", "10"]}}), ("v1.30.0", {"sleep": {"seconds": 10}})],
)
def test_the_wait_before_sigterm_follows_the_cluster(
    version: str, hook: dict[str, object], helm: Helm
) -> None:
    pods = dict(helm.render(kube_version=version).pod_specs())
    (container,) = pods["Deployment alise-gateway"]["containers"]

    assert container["lifecycle"] == {"preStop": hook}


def test_fields_that_the_oldest_does_not_know_are_left_out(helm: Helm) -> None:
    old = helm.render(read_values("everything"), kube_version=OLDEST)

    for item in old.of("PodDisruptionBudget"):
        assert "unhealthyPodEvictionPolicy" not in item["spec"]
    for item in old.of("CustomResourceDefinition"):
        assert "x-kubernetes-validations" not in str(item)
