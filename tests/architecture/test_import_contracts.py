"""The import contracts cover everything that can be imported."""

from typing import Any

import pytest

from architecture.repository import ROOT, packages, pyproject, relative


def contracts() -> dict[str, Any]:
    found = pyproject()["tool"]["importlinter"]["contracts"]
    return {contract["name"]: contract for contract in found}


def test_every_package_is_under_contract() -> None:
    names = sorted(path.name for path in packages())
    configured = pyproject()["tool"]["importlinter"]

    assert sorted(configured["root_packages"]) == names
    layers = contracts()["Packages are layered"]["layers"]
    assert sorted(name for layer in layers for name in layer.split(" | ")) == names


def test_every_package_is_in_the_wheel() -> None:
    wheel = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert sorted(wheel) == [relative(path) for path in packages()]


def test_every_package_is_measured_by_coverage() -> None:
    measured = pyproject()["tool"]["coverage"]["run"]["source_pkgs"]

    assert sorted(measured) == sorted(path.name for path in packages())


def test_unit_that_may_do_no_io_exists() -> None:
    pure = contracts()["Decision code does no I/O and reads no clock"]["source_modules"]
    homes = {path.name: path.parent for path in packages()}

    missing = []
    for module in pure:
        path = homes[module.partition(".")[0]] / module.replace(".", "/")
        if not (path.is_dir() or path.with_suffix(".py").is_file()):
            missing.append(module)
    assert missing == []


@pytest.mark.parametrize("package", ["alise_gateway", "alise_bench"])
def test_configuration_reads_the_environment_in_one_place(package: str) -> None:
    home = next(path for path in packages() if path.name == package)
    readers = {
        relative(path)
        for path in home.rglob("*.py")
        if "BaseSettings" in path.read_text(encoding="utf-8")
    }

    assert readers <= {relative(home / "settings.py")}
    assert (ROOT / "gateway/alise_gateway/settings.py").is_file()
