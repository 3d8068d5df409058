"""Whatever is wrong with a bundle is found at load and said with file, finding and remedy."""

import json
import os
from pathlib import Path

import pytest

from alise_core.errors import AliseError
from alise_predictor.artifact import (
    MANIFEST,
    TIER0,
    TIER1,
    TOKENIZER,
    ArtifactError,
    load_bundle,
)
from alise_predictor.artifact.bundle import MOST_MANIFEST_BYTES
from fakes.predictor_bundle import BundleOptions, edit_manifest, flip_byte, tiny_bundle


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "bundle", BundleOptions(tier1=True)).directory


def _fault(directory: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        load_bundle(directory)
    message = str(caught.value)
    assert isinstance(caught.value, AliseError)
    assert "found " in message
    assert "expected " in message
    assert "; " in message
    return message


def _listed(directory: Path) -> dict[str, object]:
    listed: dict[str, object] = json.loads((directory / MANIFEST).read_bytes())["files"]
    return listed


@pytest.mark.parametrize("name", [TIER0, TIER1, TOKENIZER])
def test_a_changed_byte_is_found(directory: Path, name: str) -> None:
    flip_byte(directory / name)

    message = _fault(directory)

    assert f"{directory / name}: found sha256 " in message
    assert message.endswith(
        "install the bundle again: it was changed or cut short after it was written"
    )


def test_a_truncated_file_is_found(directory: Path) -> None:
    content = (directory / TIER0).read_bytes()
    (directory / TIER0).write_bytes(content[:-7])

    assert f"found {len(content) - 7} bytes, expected {len(content)} bytes" in _fault(directory)


def test_a_file_that_grew_is_not_read(directory: Path) -> None:
    size = (directory / TIER0).stat().st_size
    os.truncate(directory / TIER0, 1 << 40)

    assert f"found {1 << 40} bytes, expected at most {size} bytes" in _fault(directory)


@pytest.mark.parametrize("name", [MANIFEST, TIER0, TOKENIZER])
def test_a_missing_file_is_found(directory: Path, name: str) -> None:
    (directory / name).unlink()

    assert f"{directory / name}: found no such file or directory" in _fault(directory)


def test_a_file_that_claims_to_be_smaller_is_read_no_further(directory: Path) -> None:
    # The kernel gives such files as having no bytes.
    (directory / TIER0).unlink()
    (directory / TIER0).symlink_to("/proc/self/status")
    edit_manifest(directory, files={**_listed(directory), TIER0: {"sha256": "0" * 64, "bytes": 1}})

    assert f"{directory / TIER0}: found a file that grows, expected at most 1" in _fault(directory)


def test_a_missing_directory_is_found(tmp_path: Path) -> None:
    assert "found no such file or directory" in _fault(tmp_path / "nowhere")


def test_a_directory_in_place_of_a_file_is_found(directory: Path) -> None:
    (directory / TIER0).unlink()
    (directory / TIER0).mkdir()

    assert f"{directory / TIER0}: found is a directory" in _fault(directory)


def test_a_pipe_is_not_waited_for(directory: Path) -> None:
    (directory / TIER0).unlink()
    os.mkfifo(directory / TIER0)

    assert f"{directory / TIER0}: found no regular file" in _fault(directory)


def test_a_huge_manifest_is_not_read(directory: Path) -> None:
    os.truncate(directory / MANIFEST, 1 << 40)

    assert f"expected at most {MOST_MANIFEST_BYTES} bytes" in _fault(directory)


@pytest.mark.parametrize("name", ["../tier0.onnx", "/etc/passwd", "a/b", "..", ".hidden", ""])
def test_no_name_leads_out_of_the_directory(directory: Path, name: str) -> None:
    edit_manifest(directory, files={**_listed(directory), name: {"sha256": "0" * 64, "bytes": 1}})

    message = _fault(directory)

    assert f"{directory / MANIFEST}: files." in message
    assert "String should match pattern" in message


def test_links_are_followed_as_mounted_volumes_need(directory: Path, tmp_path: Path) -> None:
    (directory / TIER0).rename(tmp_path / "elsewhere")
    (directory / TIER0).symlink_to(tmp_path / "elsewhere")

    assert load_bundle(directory).read(TIER0)


def test_files_that_are_not_listed_are_nobodys_business(directory: Path) -> None:
    (directory / "README.md").write_text("Hello")

    assert "README.md" not in load_bundle(directory).manifest.files


def test_reading_verifies_again(directory: Path) -> None:
    bundle = load_bundle(directory)
    flip_byte(directory / TIER0)

    with pytest.raises(ArtifactError, match=r"tier0.onnx: found sha256"):
        bundle.read(TIER0)


def test_a_file_that_changes_while_it_is_read_is_noticed(directory: Path) -> None:
    bundle = load_bundle(directory)

    with (
        pytest.raises(ArtifactError, match=r"tier0.onnx: found sha256"),
        bundle.unchanged(TIER0) as path,
    ):
        flip_byte(path)


def test_only_listed_files_can_be_read(directory: Path) -> None:
    (directory / "README.md").write_text("Hello")

    with pytest.raises(ArtifactError, match=r"README.md: found no such file in the manifest"):
        load_bundle(directory).read("README.md")
