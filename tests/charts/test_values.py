"""Values are documented, bounded and refused with a message that helps."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import chart_schema
from architecture.repository import pyproject
from charts.helm import CHART, Helm, HelmRefused

OPEN = {"config"}
"""Described elsewhere: the gateway's settings."""


def schema() -> dict[str, Any]:
    return dict(json.loads((CHART / "values.schema.json").read_text(encoding="utf-8")))


def defaults() -> dict[str, Any]:
    return dict(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))


def paths(values: Any, of: str = "") -> Iterator[str]:
    if isinstance(values, dict) and values and of.rpartition(".")[2] not in OPEN:
        for name, value in values.items():
            yield from paths(value, f"{of}.{name}" if of else name)
    else:
        yield of


def described(part: dict[str, Any], of: str = "") -> Iterator[str]:
    definitions = schema()["definitions"]
    if "$ref" in part:
        part = definitions[part["$ref"].removeprefix("#/definitions/")]
    if "properties" in part and of.rpartition(".")[2] not in OPEN:
        for name, child in part["properties"].items():
            yield from described(child, f"{of}.{name}" if of else name)
    else:
        yield of


def test_values_and_schema_name_the_same() -> None:
    # Inside these the defaults set what Kubernetes defines, or what the owner may name.
    free = r"^(podSecurityContext|containerSecurityContext|.*\.(resources|behavior|labels))(\..*)?$"
    in_values = {path for path in paths(defaults()) if not re.match(free, path)}
    in_schema = {path for path in described(schema()) if not re.match(free, path)} - {"global"}

    assert in_values == in_schema


def test_the_schema_knows_the_gateways_settings() -> None:
    current = schema()

    assert chart_schema.with_settings(current) == current, "run: python tools/chart_schema.py"


def test_the_chart_has_the_version_of_the_distribution() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))

    assert chart["version"] == chart["appVersion"] == pyproject()["project"]["version"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gatway": {}}, "gatway"),
        ({"gateway": {"replica": 3}}, "replica"),
        ({"gateway": {"replicas": "three"}}, "replicas"),
        ({"gateway": {"autoscaling": {"by": "vpa"}}}, "'none', 'hpa', 'keda'"),
        ({"gateway": {"service": {"port": 0}}}, "minimum"),
        ({"gateway": {"image": {"digest": "latest"}}}, "digest"),
        ({"gateway": {"secretNames": ["Team_A"]}}, "secretNames"),
        ({"gateway": {"config": {"timeout": {}}}}, "timeout"),
        ({"gateway": {"config": {"timeouts": {"drain_second": 1}}}}, "drain_second"),
        ({"gateway": {"config": {"scheduling": {"ordering": "random"}}}}, "ordering"),
        ({"gateway": {"config": {"port": 80}}}, r"gateway\.config\.port.*use gateway\.ports\.http"),
        ({"gateway": {"config": {"kubernetes": {}}}}, "use gateway.kubernetes"),
        ({"gateway": {"autoscaling": {"by": "keda"}}}, "prometheusAddress: give the address"),
        ({"gateway": {"ingress": {"enabled": True}}}, "name at least one host"),
        ({"gateway": {"httpRoute": {"enabled": True}}}, "parentRefs: name the Gateway"),
        ({"gateway": {"serviceAccount": {"create": False}}}, "name an existing ServiceAccount"),
        ({"networkPolicy": {"engines": {"enabled": True}}}, "matchLabels: give the labels"),
        ({"gateway": {"ports": {"http": 8081}}}, r"gateway\.ports: http and admin"),
        (
            {"monitoring": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
            "enable one of them",
        ),
        (
            {
                "gateway": {
                    "snapshots": {
                        "persistentVolume": {"enabled": True, "accessModes": ["ReadWriteOnce"]}
                    }
                }
            },
            r"use \[ReadWriteMany\], or gateway\.replicas: 1",
        ),
        (
            {"gateway": {"autoscaling": {"by": "hpa", "minReplicas": 5, "maxReplicas": 2}}},
            "maxReplicas",
        ),
    ],
)
def test_wrong_values_are_refused_with_a_reason(
    values: dict[str, Any], message: str, helm: Helm
) -> None:
    with pytest.raises(HelmRefused, match=f"(?s){message}"):
        helm.render(values)
