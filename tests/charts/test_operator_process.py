"""What the chart tells the operator is what it understands, and what the gateway is told too."""

import pytest
import yaml

from alise_operator.settings import OperatorSettings, load_settings
from charts.helm import Helm, Rendered, read_values, value_sets

SETS = [name for name in value_sets() if name not in {"minimal", "no-operator"}]


def load(rendered: Rendered) -> OperatorSettings:
    (container,) = dict(rendered.pod_specs())["Deployment alise-operator"]["containers"]
    with pytest.MonkeyPatch.context() as patch:
        for variable in container["env"]:
            patch.setenv(variable["name"], variable.get("value", "alise-operator-0"))
        return load_settings({})


@pytest.mark.parametrize("name", SETS)
def test_the_operator_understands_its_settings(name: str, helm: Helm) -> None:
    values = read_values(name)
    rendered = helm.render(values)
    settings = load(rendered)
    gateway = yaml.safe_load(rendered.one("ConfigMap", "alise-gateway")["data"]["gateway.yaml"])
    services = {item["metadata"]["name"] for item in rendered.of("Service")}

    assert settings.identity == "alise-operator-0"
    assert settings.all_namespaces == values.get("clusterWide", False)
    assert settings.change_workloads == (
        values.get("operator", {}).get("autoTuning", {}).get("enabled", False)
    )
    assert settings.gateway_service in services
    assert settings.gateway_selector == gateway["kubernetes"]["peers_selector"]
    for field in ("serve_inference_pools", "serve_picked_inference_pools"):
        assert getattr(settings, field) == gateway["kubernetes"][field]


def test_every_variable_is_a_setting(helm: Helm) -> None:
    rendered = helm.render(read_values("everything"))
    (container,) = dict(rendered.pod_specs())["Deployment alise-operator"]["containers"]
    names = {item["name"].removeprefix("ALISE_OPERATOR_").lower() for item in container["env"]}

    assert names <= set(OperatorSettings.model_fields)


@pytest.mark.parametrize("wide", [False, True])
def test_cleaning_up_comes_after_everything_with_rights_of_its_own(wide: bool, helm: Helm) -> None:
    rendered = helm.render({"operator": {"cleanup": "always"}, "clusterWide": wide})
    job = rendered.one("Job", "alise-operator-cleanup")
    hooks = [
        item
        for item in rendered.objects
        if item["metadata"].get("annotations", {}).get("helm.sh/hook") == "post-delete"
    ]
    (container,) = job["spec"]["template"]["spec"]["containers"]

    assert {item["kind"].removeprefix("Cluster") for item in hooks} == {
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "Job",
    }
    assert (
        max(hooks, key=lambda item: item["metadata"]["annotations"]["helm.sh/hook-weight"]) is job
    )
    assert container["args"] == ["operator", "cleanup"]


@pytest.mark.parametrize(
    ("values", "present"),
    [
        ({"operator": {"cleanup": "auto"}}, False),
        ({"operator": {"cleanup": "never"}}, False),
        ({"operator": {"enabled": False, "cleanup": "always"}}, False),
        (
            {
                "operator": {"cleanup": "always"},
                "gateway": {"kubernetes": {"serveInferencePools": False}},
            },
            False,
        ),
        ({"operator": {"cleanup": "always"}}, True),
    ],
)
def test_nothing_is_cleaned_up_where_nothing_was_written(
    values: dict[str, object], present: bool, helm: Helm
) -> None:
    assert bool(helm.render(values).of("Job")) == present


def test_auto_looks_for_inference_pools(helm: Helm) -> None:
    with_pools = helm.render(api_versions=("inference.networking.k8s.io/v1",))

    assert with_pools.of("Job")
