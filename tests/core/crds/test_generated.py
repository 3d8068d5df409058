"""The chart's CRDs and docs/crds.md are what the models say; Helm makes of them what we mean."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python.chart import Chart

from alise_core.crds.chart import template, template_name
from alise_core.crds.definition import DEFINITIONS, custom_resource_definition
from alise_core.crds.docs import crds_page
from alise_core.crds.names import Kind
from alise_core.crds.rules import FIELD_PATH
from alise_core.crds.schema import rule_support
from architecture.repository import ROOT

TEMPLATES = ROOT / "charts/alise/templates/crds"
STALE = "differs from the models; run 'make crds'"


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_the_chart_has_the_definitions_of_the_models(kind: Kind) -> None:
    path = TEMPLATES / template_name(kind)
    assert path.read_text(encoding="utf-8") == template(kind), f"{path.name} {STALE}"


def test_the_chart_has_no_other_definitions() -> None:
    found = {path.name for path in TEMPLATES.iterdir()}
    assert found == {template_name(kind) for kind in DEFINITIONS}


def test_the_page_is_that_of_the_models() -> None:
    assert (ROOT / "docs/crds.md").read_text(encoding="utf-8") == crds_page(), STALE


def test_examples_on_the_page_are_yaml_objects() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", crds_page(), re.DOTALL)
    assert [yaml.safe_load(block)["kind"] for block in blocks] == [str(k) for k in DEFINITIONS]


def test_tables_on_the_page_have_as_many_cells_as_headings() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", crds_page(), re.MULTILINE):
        rows = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
        assert len(set(rows)) == 1


def rendered(
    directory: Path, version: str, *, install: bool = True, keep: bool = True
) -> dict[str, Any]:
    """What Helm makes of the templates; the version is a value here, for Helm's own is fixed."""
    (directory / "templates").mkdir()
    (directory / "Chart.yaml").write_text("apiVersion: v2\nname: alise\nversion: 0.0.0\n")
    for kind in DEFINITIONS:
        text = template(kind).replace(".Capabilities.KubeVersion.Version", ".Values.version")
        (directory / "templates" / template_name(kind)).write_text(text)
    values = {"version": version, "crds": {"install": install, "keep": keep}}
    found = Chart.load(directory).render(values, name="release", namespace="serving")
    return {
        Path(path).name: yaml.load(text, Loader=yaml.CSafeLoader)
        for path, text in found.items()
        if text.strip()
    }


@pytest.mark.parametrize(
    ("version", "minor"),
    [
        ("v1.20.2", 20),
        ("v1.25.0-eks-1", 25),
        ("v1.27.9", 27),
        ("v1.28.0", 28),
        ("v1.34.1+k3s1", 34),
    ],
)
def test_helm_leaves_out_what_the_api_server_does_not_know(
    tmp_path: Path, version: str, minor: int
) -> None:
    found = rendered(tmp_path, version)
    for kind in DEFINITIONS:
        expected = custom_resource_definition(kind, rule_support(minor))
        assert found[template_name(kind)]["spec"] == expected["spec"]


def test_definitions_outlive_the_release_where_they_are_to(tmp_path: Path) -> None:
    for keep in (True, False):
        (tmp_path / str(keep)).mkdir()
        found = rendered(tmp_path / str(keep), "v1.30.0", keep=keep)
        for item in found.values():
            annotations = item["metadata"].get("annotations", {})
            assert annotations == ({"helm.sh/resource-policy": "keep"} if keep else {})
            assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_nothing_is_installed_where_it_is_not_wanted(tmp_path: Path) -> None:
    assert rendered(tmp_path, "v1.30.0", install=False) == {}


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_no_text_of_ours_is_read_as_a_template(kind: Kind) -> None:
    assert "{{" not in str(custom_resource_definition(kind))
    assert template(kind).count("{{- if") == template(kind).count("{{- end }}")
    assert FIELD_PATH in template(kind)
