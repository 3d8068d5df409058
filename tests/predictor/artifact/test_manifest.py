"""A manifest is for one version of alise, complete, and makes sense, or it is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import LEVELS
from alise_predictor.artifact import (
    MANIFEST,
    ArtifactError,
    Description,
    FileFacts,
    Manifest,
    load_bundle,
)
from alise_predictor.artifact.manifest import MOST_FILE_BYTES, parse_manifest, serialise
from alise_predictor.features import schema_hash
from fakes.predictor_bundle import description, drop_field, edit_manifest, tiny_bundle

FILES = {"tier0.onnx": FileFacts(sha256="a" * 64, bytes=10)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "bundle").directory


def _manifest() -> Manifest:
    about = description()
    return Manifest(
        files=FILES, **{name: getattr(about, name) for name in Description.model_fields}
    )


def test_a_manifest_survives_its_file() -> None:
    assert parse_manifest(serialise(_manifest()), "here") == _manifest()


def test_the_file_ends_in_a_newline_and_is_sorted() -> None:
    text = serialise(_manifest()).decode()

    assert text.endswith("}\n")
    keys = [line.split('"')[1] for line in text.splitlines() if line.startswith('  "')]
    assert keys == sorted(keys)


def test_the_range_is_in_logarithms() -> None:
    assert _manifest().log_range == pytest.approx((0.6931, 7.6014), abs=1e-4)


@pytest.mark.parametrize("version", [0, 2, "1", None, True, [1]])
def test_another_format_is_refused_before_its_fields_are_read(
    directory: Path, version: object
) -> None:
    edit_manifest(directory, format_version=version, field_of_the_future=1)

    with pytest.raises(ArtifactError, match=r"manifest.json: format_version: .*expected 1; train"):
        load_bundle(directory)


def test_another_feature_schema_is_refused(directory: Path) -> None:
    edit_manifest(directory, feature_schema="0" * 64)

    with pytest.raises(ArtifactError, match=rf"feature_schema: found 0+, expected {schema_hash()}"):
        load_bundle(directory)


def test_other_levels_are_refused(directory: Path) -> None:
    edit_manifest(directory, levels=[0.1, *LEVELS[1:]])

    with pytest.raises(
        ArtifactError, match=r"levels: found \(0\.1, 0\.1, .*expected \(0\.02, 0\.1"
    ):
        load_bundle(directory)


@pytest.mark.parametrize("field", sorted(set(Manifest.model_fields) - {"format_version"}))
def test_no_field_can_be_left_out(directory: Path, field: str) -> None:
    drop_field(directory, field)

    with pytest.raises(ArtifactError, match=f"{MANIFEST}: {field}: .*Field required"):
        load_bundle(directory)


def test_no_field_can_be_added(directory: Path) -> None:
    edit_manifest(directory, surprise=1)

    with pytest.raises(ArtifactError, match="surprise: found 1, expected Extra inputs"):
        load_bundle(directory)


TIER1 = {"head_pieces": 6, "tail_pieces": 3, "weight": 0.7, "embedding_size": 4}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"lowest_tokens": 2000}, "lowest_tokens must be below highest_tokens"),
        ({"lowest_tokens": -1}, "lowest_tokens: found -1"),
        ({"highest_tokens": 10**9}, "highest_tokens: found 1000000000"),
        ({"prior": {"log_quantiles": [1, 2]}}, "one value for each of levels"),
        ({"prior": {"log_quantiles": [3, 2, 3, 4, 5, 6, 7]}}, "must not decrease"),
        ({"prior": {"log_quantiles": [2, 2, 3, 4, 5, 6, 70]}}, "must lie within"),
        ({"prior": {"log_quantiles": [float("nan")] * 7}}, "finite number"),
        ({"model_offsets": {"m": 6}}, "model_offsets.m: found 6"),
        ({"tier1": TIER1}, "files must list tier1.onnx, tokenizer.json"),
        ({"tier1": TIER1 | {"weight": 1.5}}, "tier1.weight: found 1.5"),
        ({"tier1": TIER1 | {"head_pieces": 0}}, "tier1.head_pieces: found 0"),
        ({"tier1": TIER1 | {"tail_pieces": 1000}}, "tier1.tail_pieces: found 1000"),
        ({"files": {}}, "files must list tier0.onnx"),
        ({"files": {"tier0.onnx": {"sha256": "A" * 64, "bytes": 1}}}, "files.tier0.onnx.sha256"),
        (
            {"files": {"tier0.onnx": {"sha256": "0" * 64, "bytes": MOST_FILE_BYTES + 1}}},
            "less than or equal to 268435456",
        ),
        ({"created": "yesterday"}, "created: found 'yesterday'"),
    ],
)
def test_nonsense_is_refused(directory: Path, fields: dict[str, object], says: str) -> None:
    edit_manifest(directory, **fields)

    with pytest.raises(ArtifactError, match=says):
        load_bundle(directory)


def test_what_is_found_is_quoted_in_part_only(directory: Path) -> None:
    edit_manifest(directory, created="x" * 10_000)

    with pytest.raises(ArtifactError) as caught:
        load_bundle(directory)

    assert len(str(caught.value)) < 1_000


@given(st.binary() | st.sampled_from([b"[" * 100_000, b'{"format_version": 1}', b"null", b"[1]"]))
def test_any_bytes_are_refused_with_our_error(raw: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"^here"):
        parse_manifest(raw, "here")
