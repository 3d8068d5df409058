"""Reading and writing a bundle: nothing is used that was not verified."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files as resource_files
from pathlib import Path
from secrets import token_hex
from shutil import rmtree

from pydantic import ValidationError

from alise_predictor.artifact.errors import RETRAIN, ArtifactError
from alise_predictor.artifact.files import read_at_most, read_verified, verify
from alise_predictor.artifact.manifest import (
    MANIFEST,
    MOST_FILE_BYTES,
    Description,
    FileFacts,
    Manifest,
    parse_manifest,
    serialise,
)

MOST_MANIFEST_BYTES = 1 << 20
"""A manifest is a few kilobytes; reading stops here whatever the file claims to be."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A directory whose every listed file was found to be what the manifest says.

    Attributes:
        directory: Where it lies.
        manifest: What it says about itself.
    """

    directory: Path
    manifest: Manifest

    def read(self, name: str) -> bytes:
        """Content of a listed file, verified again.

        The check is repeated because the directory may be replaced between loading the bundle and
        opening its models.

        Args:
            name: One of ``manifest.files``.

        Raises:
            ArtifactError: The file is not listed, cannot be read, or has changed.
        """
        return read_verified(self.directory / name, self._facts(name))

    @contextmanager
    def unchanged(self, name: str) -> Iterator[Path]:
        """Path of a listed file for a reader that opens it itself; verified before and after.

        Args:
            name: One of ``manifest.files``.

        Raises:
            ArtifactError: The file is not listed, cannot be read, or has changed, be it while it
                was being read.
        """
        path, facts = self.directory / name, self._facts(name)
        verify(path, facts)
        yield path
        verify(path, facts)

    def _facts(self, name: str) -> FileFacts:
        facts = self.manifest.files.get(name)
        if facts is None:
            raise ArtifactError(
                str(self.directory / name),
                found="no such file in the manifest",
                expected="one",
                remedy=RETRAIN,
            )
        return facts


def load_bundle(directory: Path) -> Bundle:
    """Verify a bundle.

    Sizes are looked at before contents, so that no file costs more than the manifest allows it.

    Args:
        directory: Holds ``manifest.json`` and the files that it lists.

    Raises:
        ArtifactError: A file is missing, differs or is too large, or the bundle was made for
            another version of alise.
    """
    path = directory / MANIFEST
    manifest = parse_manifest(read_at_most(path, MOST_MANIFEST_BYTES), str(path))
    for name, facts in manifest.files.items():
        verify(directory / name, facts)
    return Bundle(directory, manifest)


def shipped_bundle() -> Path:
    """Directory of the bundle that comes with this package."""
    return Path(str(resource_files("alise_predictor").joinpath("bundle")))


def write_bundle(directory: Path, description: Description, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle that a reader sees whole or not at all.

    It is put together and verified beside its destination and renamed into place; a bundle that
    lies there is replaced. The same input gives the same bytes.

    Args:
        directory: Destination; absent, empty or a bundle.
        description: Everything about the bundle but its files.
        files: Name to content.

    Raises:
        ArtifactError: The result would not load, or the destination holds something else.
        OSError: The file system refuses.
    """
    manifest = _manifest(directory, description, files)
    # A link stays one: what it points to is replaced.
    directory = directory.resolve()
    _check_destination(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = directory.with_name(f".{directory.name}.{token_hex(4)}")
    staging.mkdir()
    try:
        for name, content in files.items():
            _write(staging / name, content)
        _write(staging / MANIFEST, serialise(manifest))
        load_bundle(staging)
        _move_into_place(staging, directory)
    finally:
        rmtree(staging, ignore_errors=True)
    return Bundle(directory, manifest)


def _manifest(directory: Path, description: Description, files: Mapping[str, bytes]) -> Manifest:
    facts = {
        name: FileFacts(sha256=sha256(content).hexdigest(), bytes=len(content))
        for name, content in files.items()
        if 0 < len(content) <= MOST_FILE_BYTES
    }
    refused = sorted(set(files) - set(facts))
    if refused:
        raise ArtifactError(
            str(directory / refused[0]),
            found=f"{len(files[refused[0]])} bytes",
            expected=f"between 1 and {MOST_FILE_BYTES} bytes",
            remedy="make the file smaller",
        )
    fields = {name: getattr(description, name) for name in Description.model_fields}
    try:
        return Manifest(files=facts, **fields)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise ArtifactError(
            str(directory),
            found=", ".join(sorted(files)) or "no files",
            expected=fault["msg"],
            remedy="give the bundle the files that its description calls for",
        ) from error


def _check_destination(directory: Path) -> None:
    """Refuse to remove what is not a bundle."""
    if not directory.exists():
        return
    if not directory.is_dir() or (
        any(directory.iterdir()) and not (directory / MANIFEST).is_file()
    ):
        raise ArtifactError(
            str(directory),
            found="something that is no bundle",
            expected="nothing, an empty directory or a bundle",
            remedy="choose another destination",
        )


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _move_into_place(staging: Path, directory: Path) -> None:
    """Rename; an old bundle is set aside first and comes back if the rename fails."""
    if not directory.exists():
        staging.rename(directory)
        return
    aside = staging.with_name(f"{staging.name}.old")
    directory.rename(aside)
    try:
        staging.rename(directory)
    except OSError:
        aside.rename(directory)
        raise
    rmtree(aside, ignore_errors=True)
