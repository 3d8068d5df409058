"""A bundle appears whole, in the same bytes each time, and removes nothing that is not one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from alise_predictor.artifact import (
    MANIFEST,
    TIER0,
    ArtifactError,
    load_bundle,
    shipped_bundle,
    write_bundle,
)
from fakes.predictor_bundle import BundleOptions, description, files, tiny_bundle


def _listing(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_was_written_is_what_is_loaded(tmp_path: Path) -> None:
    written = tiny_bundle(tmp_path / "bundle", BundleOptions(tier1=True))

    assert load_bundle(tmp_path / "bundle") == written


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "first")
    tiny_bundle(tmp_path / "second")

    assert _listing(tmp_path / "first") == _listing(tmp_path / "second")


def test_nothing_is_left_beside_the_bundle(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle")
    tiny_bundle(tmp_path / "bundle", BundleOptions(tier1=True))

    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_bundle_is_replaced_as_a_whole(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle", BundleOptions(tier1=True))
    tiny_bundle(tmp_path / "bundle")

    assert sorted(_listing(tmp_path / "bundle")) == [MANIFEST, TIER0]


def test_a_link_to_a_bundle_stays_a_link(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle", BundleOptions(tier1=True))
    (tmp_path / "current").symlink_to("bundle")

    tiny_bundle(tmp_path / "current")

    assert (tmp_path / "current").is_symlink()
    assert sorted(_listing(tmp_path / "bundle")) == [MANIFEST, TIER0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "current"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()

    tiny_bundle(tmp_path / "bundle")

    assert load_bundle(tmp_path / "bundle").manifest.name == "tiny"


def test_missing_parents_are_made(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "a" / "b")

    assert load_bundle(tmp_path / "a" / "b").manifest.name == "tiny"


def _other_directory(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")


@pytest.mark.parametrize(
    "occupy", [_other_directory, Path.touch], ids=["a directory of something else", "a file"]
)
def test_what_is_no_bundle_is_not_replaced(tmp_path: Path, occupy: Callable[[Path], None]) -> None:
    occupy(tmp_path / "taken")

    with pytest.raises(ArtifactError, match=r"taken: found something that is no bundle"):
        tiny_bundle(tmp_path / "taken")
    assert (tmp_path / "taken").exists()


def test_what_would_not_load_is_not_put_in_place(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle")
    before = _listing(tmp_path / "bundle")
    stale = description().model_copy(update={"feature_schema": "0" * 64})

    with pytest.raises(ArtifactError, match="feature_schema"):
        write_bundle(tmp_path / "bundle", stale, files())

    assert _listing(tmp_path / "bundle") == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "found no files, expected .*tier0.onnx"),
        ({TIER0: b""}, "tier0.onnx: found 0 bytes, expected between 1 and"),
        ({TIER0: b"x", "../evil": b"x"}, "expected String should match pattern"),
        ({TIER0: b"x", MANIFEST: b"x"}, "must not list manifest.json itself"),
    ],
    ids=["no tier 0", "empty file", "name that climbs out", "manifest among the files"],
)
def test_wrong_files_are_refused(tmp_path: Path, content: dict[str, bytes], says: str) -> None:
    with pytest.raises(ArtifactError, match=says):
        write_bundle(tmp_path / "bundle", description(), content)

    assert list(tmp_path.iterdir()) == []


def test_tier1_needs_its_files(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"files must list tier1.onnx, tokenizer.json"):
        write_bundle(tmp_path / "bundle", description(tier1=True), files())


def test_the_shipped_bundle_lies_in_the_package() -> None:
    assert shipped_bundle().name == "bundle"
    assert (shipped_bundle().parent / "artifact").is_dir()
