"""Where files live: the tree is the first thing a newcomer reads."""

import sys

import pytest

from architecture.repository import COMPONENTS, ROOT, packages, python_files, relative

MOST_LINES = 500
DEEPEST = 5


@pytest.mark.parametrize("component", COMPONENTS)
def test_component_holds_packages_and_no_modules(component: str) -> None:
    # A module right in operator/ would shadow the standard library's operator for every process
    # started there; the rule is the same for all.
    assert [relative(path) for path in (ROOT / component).glob("*.py")] == []


def test_every_component_exists() -> None:
    assert [name for name in COMPONENTS if not (ROOT / name).is_dir()] == []


def test_every_package_says_that_it_is_typed() -> None:
    found = packages()

    assert found
    assert [relative(path) for path in found if not (path / "py.typed").is_file()] == []


def test_no_package_shadows_the_standard_library() -> None:
    tops = [path.name for path in packages()]

    assert [name for name in tops if name in sys.stdlib_module_names] == []
    assert [name for name in tops if not name.startswith("alise_")] == []


def test_every_source_directory_is_a_package() -> None:
    bare = {
        relative(path.parent)
        for package in packages()
        for path in python_files(relative(package))
        if not (path.parent / "__init__.py").is_file()
    }

    assert bare == set()


def test_files_stay_small_enough_to_read() -> None:
    long = {}
    for path in python_files("core", "gateway", "bench", "tests", "e2e", "tools"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES:
            long[relative(path)] = lines

    assert long == {}


def test_directories_stay_shallow() -> None:
    deep = [
        relative(path)
        for path in python_files(*COMPONENTS)
        if len(path.relative_to(ROOT).parts) > DEEPEST
    ]

    assert deep == []


def test_no_module_is_named_for_nothing() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "misc", "shared"}
    sources = python_files(*COMPONENTS, "tests", "e2e", "tools")

    assert [relative(path) for path in sources if vague & {path.stem, path.parent.name}] == []
