"""Commands that are written down exist."""

import ast
import re
from pathlib import Path

import pytest

from alise_cli import COMMANDS
from architecture.repository import ROOT, files, packages, pyproject, relative

DOCUMENTS = [
    path
    for path in files("README.md", "CONTRIBUTING.md", "SCOPE.md", "docs", ".ci")
    if path.suffix in {".md", ""}
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_alise_command_has_its_function(name: str) -> None:
    module, _, function = COMMANDS[name].target.partition(":")
    package = next(path for path in packages() if path.name == module.partition(".")[0])
    source = package.parent / (module.replace(".", "/") + ".py")

    tree = ast.parse(source.read_text(encoding="utf-8"))

    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_alise_command_names_an_extra_that_exists(name: str) -> None:
    assert COMMANDS[name].extra in pyproject()["project"]["optional-dependencies"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_documents_name_only_make_targets_that_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    text = document.read_text(encoding="utf-8")
    # In prose only what is marked as code counts: "make sure" is no target.
    named = set(re.findall(r"(?:^|`|\$ |section )make ([a-z0-9-]+)", text, re.MULTILINE))

    assert named - targets == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_documents_name_only_alise_commands_that_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`|\$ |bin/)alise ([a-z][a-z-]*)", text, re.MULTILINE))

    assert named - set(COMMANDS) == set()


def test_architecture_names_only_paths_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text[text.index("## From concept to file") :]
    paths = re.findall(r"`([a-z_]+/[^`]*)`", table)

    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_links_inside_the_repository_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text)

    assert [link for link in targets if not (document.parent / link).exists()] == []


def test_every_make_target_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    explained = set(re.findall(r"^([a-z0-9-]+):[^=\n]*## \S", makefile, re.MULTILINE))

    assert phony
    assert set(phony[1].split()) == explained
