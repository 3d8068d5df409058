"""The example that the documents begin with is valid, fits together, and fits the chart."""

import json
import re
from typing import Any

import pytest
import yaml
from kubernetes_validate import validate

from alise_core.crds.names import API_VERSION, Kind
from alise_core.crds.validate import SPECS, parse_spec
from architecture.repository import ROOT
from charts.helm import CHART, Object
from charts.test_security import of_container

TEXT = (ROOT / "examples/quickstart.yaml").read_text(encoding="utf-8")
OBJECTS: list[Object] = list(yaml.safe_load_all(TEXT))
OURS = [item for item in OBJECTS if item["apiVersion"] == API_VERSION]


def one(kind: str) -> Any:
    (found,) = [item for item in OBJECTS if item["kind"] == kind]
    return found


@pytest.mark.parametrize("item", OURS, ids=lambda item: item["kind"])
def test_custom_resources_are_valid(item: Object) -> None:
    kind = Kind(item["kind"])
    parse_spec(kind, item["spec"])
    SPECS[kind].model_validate(item["spec"])  # refuses what the API server would drop


def test_every_kind_is_shown() -> None:
    assert {item["kind"] for item in OURS} == set(Kind) - {Kind.INFERENCE_POOL}


@pytest.mark.parametrize("minor", [28, 34])
def test_the_deployment_is_valid(minor: int) -> None:
    validate(one("Deployment"), f"1.{minor}", strict=True)


def test_the_engine_is_restricted() -> None:
    spec = one("Deployment")["spec"]["template"]["spec"]
    found = list(of_container(spec["containers"][0], spec["securityContext"]))

    assert found == ["may write into its image"]  # what it compiles and downloads


def test_the_pool_is_of_these_pods() -> None:
    pool, template = one("ModelPool")["spec"], one("Deployment")["spec"]["template"]
    (container,) = template["spec"]["containers"]

    assert pool["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert [port["number"] for port in pool["targetPorts"]] == [
        port["containerPort"] for port in container["ports"]
    ]
    assert f"--max-num-seqs={pool['maxInFlightPerEndpoint']}" in container["args"]
    assert f"--model={pool['aliases'][0]['targets'][0]['model']}" in container["args"]


def test_policies_are_for_the_pool() -> None:
    for kind in ("SchedulingPolicy", "KVCachePolicy"):
        assert one(kind)["spec"]["targetRefs"] == [{"name": one("ModelPool")["metadata"]["name"]}]


def test_secrets_are_made_by_the_commands_above_and_readable() -> None:
    made = set(re.findall(r"create secret generic (\S+) --from-literal=([\w-]+)=", TEXT))
    keys = {(ref["name"], ref["key"]) for ref in one("Tenant")["spec"]["apiKeySecretRefs"]}
    admin = one("ModelPool")["spec"]["adminTokenSecretRef"]
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

    assert made == keys | {(admin["name"], admin["key"])}
    assert {name for name, _ in keys} <= set(values["gateway"]["secretNames"])
    assert admin["name"] in values["operator"]["adminTokenSecretNames"]


def test_flags_are_those_that_the_plugin_documents() -> None:
    documented = (ROOT / "docs/engine.md").read_text(encoding="utf-8")
    (container,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    ours = [flag for flag in container["args"] if "alise" in flag]

    assert len(ours) == 4
    for flag in ours:
        name, _, value = flag.partition("=")
        assert name in documented
        if value.startswith("{"):
            json.loads(value)
        else:
            assert value in documented
    paths = {container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")}
    assert paths == {"/alise/ready", "/health"}


def test_streams_may_finish() -> None:
    spec = one("Deployment")["spec"]["template"]["spec"]
    (timeout,) = [
        int(flag.partition("=")[2])
        for flag in spec["containers"][0]["args"]
        if flag.startswith("--shutdown-timeout=")
    ]

    assert spec["terminationGracePeriodSeconds"] > timeout
