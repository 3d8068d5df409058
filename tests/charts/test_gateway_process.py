"""What the chart tells the gateway and the operator is what they understand."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from alise_gateway.settings import GatewaySettings, load_settings
from charts.helm import Helm, Rendered, read_values, value_sets

SETS = list(value_sets())


def settings_text(rendered: Rendered) -> str:
    return str(rendered.one("ConfigMap", "alise-gateway")["data"]["gateway.yaml"])


def load(rendered: Rendered, tmp_path: Path) -> GatewaySettings:
    file = tmp_path / "gateway.yaml"
    file.write_text(settings_text(rendered), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        (container, *_) = dict(rendered.pod_specs())["Deployment alise-gateway"]["containers"]
        for variable in container.get("env", ()):
            patch.setenv(variable["name"], variable.get("value", "alise-gateway-0"))
        return load_settings(file, {})


@pytest.mark.parametrize("name", SETS)
def test_the_gateway_understands_its_settings(name: str, helm: Helm, tmp_path: Path) -> None:
    rendered = helm.render(read_values(name))
    settings = load(rendered, tmp_path)
    (container, *_) = dict(rendered.pod_specs())["Deployment alise-gateway"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}

    assert (settings.port, settings.admin_port) == (ports["http"], ports["admin"])
    assert settings.predictor.snapshot_file is not None
    assert not mounts[str(settings.predictor.snapshot_file.parent)].get("readOnly")
    if settings.admin_token_file is not None:
        assert str(settings.admin_token_file.parent) in mounts


def test_given_settings_win_over_the_charts(helm: Helm, tmp_path: Path) -> None:
    given = {"predictor": {"snapshot_file": None, "max_keys": 7}, "queue": {"ttl_seconds": 5}}
    settings = load(helm.render({"gateway": {"config": given}}), tmp_path)

    assert settings.predictor.max_keys == 7
    assert settings.queue.ttl_seconds == 5


@pytest.mark.parametrize(
    "timeouts",
    [
        {},
        {"drain_seconds": 1},
        {"drain_seconds": 300.5, "linger_seconds": 0},
        {"linger_seconds": 60},
    ],
)
def test_pods_are_given_the_time_to_stop(
    timeouts: dict[str, float], helm: Helm, tmp_path: Path
) -> None:
    rendered = helm.render({"gateway": {"config": {"timeouts": timeouts}, "preStopSeconds": 7}})
    pod = dict(rendered.pod_specs())["Deployment alise-gateway"]
    settings = load(rendered, tmp_path).timeouts
    wanted = 7 + settings.linger_seconds + settings.drain_seconds + 20

    assert wanted <= pod["terminationGracePeriodSeconds"] < wanted + 2


def test_other_settings_roll_the_pods_and_nothing_else_does(helm: Helm) -> None:
    def template(values: dict[str, Any]) -> Any:
        return helm.render({"gateway": values}).one("Deployment", "alise-gateway")["spec"][
            "template"
        ]

    assert template({}) == template({"replicas": 5})
    assert template({}) != template({"config": {"queue": {"ttl_seconds": 5}}})


def test_updates_leave_no_gap(helm: Helm) -> None:
    strategy = helm.render().one("Deployment", "alise-gateway")["spec"]["strategy"]
    alone = helm.render(read_values("persistent")).one("Deployment", "alise-gateway")["spec"][
        "strategy"
    ]

    assert strategy["rollingUpdate"]["maxUnavailable"] == 0
    assert alone == {"type": "Recreate"}


def test_the_file_says_where_it_comes_from(helm: Helm) -> None:
    assert settings_text(helm.render()).startswith("# Written by the chart")
    assert yaml.safe_load(settings_text(helm.render()))["host"] == "0.0.0.0"  # noqa: S104  a pod's own
