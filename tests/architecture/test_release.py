"""What must agree before anything is released, and what must never be written down."""

import re

from architecture.repository import ROOT, files, pyproject, relative

# Spelled in two halves, or this file would find itself.
FORBIDDEN = [
    "/wor" + "k/",
    "/roo" + "t/",
    "../sha" + "red",
    "/opt/" + "pypi",
    "pythonhosted" + ".org",
    "pypi" + ".org",
]
BINARY = {".png", ".svg", ".gz", ".parquet", ".onnx", ".zst"}


def test_version_is_the_newest_of_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text, re.MULTILINE)

    assert versions
    assert versions[0] == pyproject()["project"]["version"]


def test_requirements_are_hashed_pins_without_addresses() -> None:
    for path in files("requirements"):
        text = path.read_text(encoding="utf-8")
        pins = re.findall(r"^[a-z0-9][^\s=]*==\S+", text, re.MULTILINE)
        blocks = re.split(r"\n(?=\S)", text.strip())

        assert "://" not in text, relative(path)
        assert "index-url" not in text, relative(path)
        assert len(pins) == len(blocks), relative(path)
        assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_lock_covers_every_direct_dependency() -> None:
    project = pyproject()["project"]
    declared = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        declared += extra
    names = {normal(re.split(r"[\[<>=!~; ]", line)[0]) for line in declared} - {"alise"}
    lock = "".join(path.read_text(encoding="utf-8") for path in files("requirements"))
    locked = {normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)}

    # Its CPU wheels are not on PyPI: tools/train_env.py pins it.
    assert names - locked == {"torch"}


def test_every_dependency_has_a_lower_bound() -> None:
    project = pyproject()["project"]
    declared = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        declared += extra

    assert [line for line in declared if ">=" not in line and not line.startswith("alise[")] == []


def test_nothing_names_the_machine_it_was_written_on() -> None:
    found = []
    for path in files():
        if path.suffix in BINARY:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [(relative(path), word) for word in FORBIDDEN if word in text]

    assert found == []


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
