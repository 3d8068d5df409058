"""``alise crds`` prints what kubectl can apply."""

import json
from pathlib import Path

import pytest
import yaml

from alise_cli import main
from alise_core.crds.definition import DEFINITIONS, custom_resource_definition
from alise_core.crds.docs import crds_page
from alise_core.crds.schema import RuleSupport


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["crds", *arguments]) == 0
    return capsys.readouterr().out


def documents(text: str) -> list[object]:
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


def test_all_definitions_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    found = documents(printed(capsys))
    assert found == [custom_resource_definition(kind) for kind in DEFINITIONS]


@pytest.mark.parametrize(
    ("arguments", "support"),
    [
        (["--without-cel"], RuleSupport.NONE),
        (["--kube-version", "1.20"], RuleSupport.NONE),
        (["--kube-version", "v1.27.3"], RuleSupport.WITHOUT_FIELD_PATH),
        (["--kube-version", "1.30+"], RuleSupport.FULL),
    ],
)
def test_older_api_servers_get_what_they_know(
    capsys: pytest.CaptureFixture[str], arguments: list[str], support: RuleSupport
) -> None:
    found = documents(printed(capsys, *arguments))
    assert found == [custom_resource_definition(kind, support) for kind in DEFINITIONS]


def test_json_is_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "--json"))
    assert found["kind"] == "List"
    assert [item["spec"]["names"]["kind"] for item in found["items"]] == [*map(str, DEFINITIONS)]


def test_the_documentation_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--docs") == crds_page()


def test_templates_are_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert printed(capsys, "--chart", str(tmp_path / "new")) == ""
    assert len(list((tmp_path / "new").glob("*.yaml"))) == len(DEFINITIONS)


def test_a_directory_that_cannot_be_written_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert main(["crds", "--chart", str(tmp_path / "file")]) == 2
    assert "--chart" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["2.0", "1", "new", "1.x"])
def test_a_version_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], version: str
) -> None:
    assert main(["crds", "--kube-version", version]) == 2
    assert "write 1.34" in capsys.readouterr().err
