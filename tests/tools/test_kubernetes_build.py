"""The cache of Kubernetes goes by what builds it, and a build changes what it is made of."""

from pathlib import Path

import pytest

import cached_env
import kubernetes_build
import kubernetes_source
from cached_env import SetupError
from kubernetes_source import CONTROL_PLANE, EMPTY_STRINGS, NODE, REFLECT2, VERSION

CODE = '"""What it is."""\n\nBUILT = ("a", "b")\n"""Why."""\n'
KNOWN = f"if data == nil{EMPTY_STRINGS.text} {{\n"


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that builds, in the place of our own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "builder.py"
    file.write_text(CODE, encoding="utf-8")
    monkeypatch.setattr(kubernetes_build, "BUILDERS", (file,))
    return file


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What of a source tree is changed; its newer reflect2 lies in ``newer`` beside it."""
    file = tmp_path / "vendor" / EMPTY_STRINGS.package / EMPTY_STRINGS.file
    file.parent.mkdir(parents=True)
    file.write_text(KNOWN, encoding="utf-8")
    for directory, name in (
        (tmp_path / "vendor" / REFLECT2, "old.go"),
        (tmp_path / "newer", "new.go"),
    ):
        directory.mkdir(parents=True)
        (directory / name).touch()
    return tmp_path


def test_other_code_builds_somewhere_else(builder: Path) -> None:
    before = kubernetes_build.directory(CONTROL_PLANE)
    builder.write_text(CODE.replace('"b"', '"c"'), encoding="utf-8")

    assert kubernetes_build.directory(CONTROL_PLANE) != before


def test_other_words_do_not_build_anew(builder: Path) -> None:
    before = kubernetes_build.directory(CONTROL_PLANE)
    builder.write_text('"""Other."""\nBUILT = (  # why\n    "a",\n    "b",\n)\n', encoding="utf-8")

    assert kubernetes_build.directory(CONTROL_PLANE) == before


def test_a_body_of_words_alone_is_code_all_the_same(builder: Path) -> None:
    builder.write_text('class Error(Exception):\n    """Why."""\n', encoding="utf-8")

    assert cached_env.code_of(builder) == ["class Error(Exception):\n    pass"]


def test_what_decides_about_a_build_is_what_the_cache_goes_by() -> None:
    names = [file.name for file in kubernetes_build.BUILDERS]

    assert names == ["kubernetes_source.py", "debian_packages.py"]


def test_each_set_has_a_place_of_its_own() -> None:
    places = {kubernetes_build.directory(build).name for build in (CONTROL_PLANE, NODE)}

    assert len(places) == 2
    assert all(VERSION in name for name in places)


def test_what_is_complete_is_not_built_again(builder: Path) -> None:
    del builder
    root = kubernetes_build.directory(NODE)
    root.mkdir(parents=True)
    (root / cached_env.STAMP).touch()

    assert kubernetes_build.ensure(NODE) == root / "bin"


def test_a_source_tree_is_suited_to_the_newer_go(tree: Path) -> None:
    kubernetes_source.suit_newer_go(tree / "vendor", tree / "newer", [EMPTY_STRINGS])

    changed = tree / "vendor" / EMPTY_STRINGS.package / EMPTY_STRINGS.file
    assert changed.read_text(encoding="utf-8") == "if data == nil {\n"
    assert [file.name for file in (tree / "vendor" / REFLECT2).iterdir()] == ["new.go"]


@pytest.mark.parametrize("text", ["if data == nil {\n", KNOWN + KNOWN])
def test_a_source_tree_that_is_not_known_is_refused(tree: Path, text: str) -> None:
    file = tree / "vendor" / EMPTY_STRINGS.package / EMPTY_STRINGS.file
    file.write_text(text, encoding="utf-8")

    with pytest.raises(SetupError, match=r"validate/type\.go of the source tree is not the one"):
        kubernetes_source.suit_newer_go(tree / "vendor", tree / "newer", [EMPTY_STRINGS])


def test_a_change_of_what_is_not_compiled_is_refused() -> None:
    used = ["errors", "k8s.io/kubernetes/cmd/kubelet", f"k8s.io/kubernetes/vendor/{REFLECT2}"]
    kubernetes_source.check_used(used, [REFLECT2])

    with pytest.raises(SetupError, match=f"no part of what is built: {EMPTY_STRINGS.package}$"):
        kubernetes_source.check_used(used, [REFLECT2, EMPTY_STRINGS.package])
