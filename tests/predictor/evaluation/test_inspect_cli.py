"""A bundle described for people, whatever its manifest holds."""

from pathlib import Path

import pytest

from alise_predictor.artifact import load_bundle
from alise_predictor.evaluation.inspect_cli import describe
from fakes.predictor_bundle import BundleOptions, edit_manifest, tiny_bundle


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "bundle").directory


def test_a_bundle_without_tier_1_says_so(directory: Path) -> None:
    assert "tier 1      none" in describe(load_bundle(directory))


def test_tier_1_is_described(tmp_path: Path) -> None:
    text = describe(tiny_bundle(tmp_path / "both", BundleOptions(tier1=True)))

    assert "first 6 and last 3 word pieces, weight 0.7, embedding of 4" in text


def test_the_encoder_has_its_source(directory: Path) -> None:
    base = {"name": "encoder", "licence": "MIT", "source": "https://example.org/encoder"}
    edit_manifest(directory, base_model=base)

    assert "encoder (MIT), https://example.org/encoder" in describe(load_bundle(directory))


def test_data_that_is_not_for_everybody_stands_out(directory: Path) -> None:
    datasets = [
        {
            "name": name,
            "licence": licence,
            "permissive": permissive,
            "prompts": 1_234,
            "answers": 5_678,
            "sha256": "a" * 64,
        }
        for name, licence, permissive in (("open", "MIT", True), ("closed", "CC-BY-NC-4.0", False))
    ]
    training = {"datasets": datasets, "split_salt": "s", "command": "make train", "seed": 3}
    edit_manifest(directory, training=training)

    lines = {line.split()[0]: line.split() for line in _lines(directory) if "aaaa" in line}

    assert lines["open"] == ["open", "MIT", "yes", "1,234", "5,678", "a" * 12]
    assert lines["closed"] == ["closed", "CC-BY-NC-4.0", "NO", "1,234", "5,678", "a" * 12]


def test_figures_that_a_data_set_lacks_are_a_dash(directory: Path) -> None:
    edit_manifest(directory, metrics={"a": {"tau": 0.37}, "b": {"n": 12}})

    lines = _lines(directory)[-3:]

    assert [line.split() for line in lines] == [
        ["data", "set", "tau", "n"],
        ["a", "0.37", "-"],
        ["b", "-", "12"],
    ]


def test_many_figures_are_not_one_wide_table(directory: Path) -> None:
    figures = {f"a_long_name_of_figure_{index}": 0.5 for index in range(8)}
    edit_manifest(directory, metrics={"a": figures})

    assert _lines(directory)[-1].startswith("  a: a_long_name_of_figure_0 0.5, ")


def test_a_bundle_without_figures_has_no_table_of_them(directory: Path) -> None:
    edit_manifest(directory, metrics={})

    assert "measured" not in describe(load_bundle(directory))


def _lines(directory: Path) -> list[str]:
    return describe(load_bundle(directory)).splitlines()
