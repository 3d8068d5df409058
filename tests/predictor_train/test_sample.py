"""The committed sample: small, clean, laid out as real data is, and in no package."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from alise_predictor.train.dataset.parts import read_part
from alise_predictor.train.dataset.spec import DATASETS, DatasetSpec
from architecture.repository import ROOT, pyproject
from make_predictor_sample import LINES, LISTS, TABLES, main

SAMPLE = ROOT / "predictor/sample"
MOST_BYTES = 1_500_000
SPECS = [spec for spec in DATASETS if (SAMPLE / spec.folder).is_dir() and spec.folder != "."]


def test_it_is_small() -> None:
    files = [path for path in SAMPLE.rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    assert {path.suffix for path in files} == {".md", ".zst", ".parquet"}


def test_it_may_be_distributed_and_says_where_it_is_from() -> None:
    readme = (SAMPLE / "README.md").read_text(encoding="utf-8")
    folders = {path.name for path in SAMPLE.iterdir() if path.is_dir()}

    assert {spec.folder for spec in SPECS} == folders
    for spec in SPECS:
        repository, _, commit = spec.upstream.partition("@")
        assert spec.permissive
        assert not spec.drop_shared
        assert f"[{repository}](https://github.com/{repository})@{commit}" in readme
        assert spec.licence.partition(" ")[0] in readme


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_data_set_can_be_read(spec: DatasetSpec) -> None:
    part = read_part(spec, SAMPLE, seed=0)

    assert 400 <= len(part.raw.prompts) <= 450
    assert sum(len(block.prompts) for block in part.raw.blocks) >= 400


def test_no_wheel_holds_it() -> None:
    packages = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert not any(SAMPLE.is_relative_to(ROOT / package) for package in packages)


def _write_data(data: Path) -> None:
    for name in LISTS:
        rows = [{"instruction": f"do {i}", "input": "", "response": "ok é"} for i in range(30)]
        _write(data / f"{name}.zst", json.dumps(rows))
    for name in LINES:
        _write(data / f"{name}.zst", "".join(f'{{"question": "{i}"}}\n' for i in range(30)))
    for prompts, lengths in TABLES:
        ids = [f"p{i}" for i in range(30)]
        _table(data / prompts, {"pid": ids, "prompt": ids, "ptok": [1] * 30})
        _table(data / lengths, {"pid": ids * 2, "tok": list(range(60)), "chars": [1] * 60})


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zstandard.ZstdCompressor().compress(text.encode()))


def _table(path: Path, columns: dict[str, list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def _draw(data: Path, out: Path, *flags: str) -> dict[str, bytes]:
    assert main(["--data", str(data), "--out", str(out), "--prompts", "7", *flags]) == 0
    return {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_draw_follows_from_the_seed(tmp_path: Path) -> None:
    _write_data(tmp_path / "data")
    first = _draw(tmp_path / "data", tmp_path / "one")

    assert first == _draw(tmp_path / "data", tmp_path / "two")
    assert first != _draw(tmp_path / "data", tmp_path / "three", "--seed", "1")


def test_rows_are_copied_in_order_and_answers_follow_their_prompts(tmp_path: Path) -> None:
    _write_data(tmp_path / "data")
    out = tmp_path / "out"
    _draw(tmp_path / "data", out)
    rows = json.loads(zstandard.decompress((out / f"{LISTS[0]}.zst").read_bytes()))
    lines = zstandard.decompress((out / f"{LINES[0]}.zst").read_bytes()).decode().splitlines()
    numbers = [int(json.loads(line)["question"]) for line in lines]

    assert len(rows) == len(numbers) == 7
    assert rows[0]["response"] == "ok é"
    assert numbers == sorted(numbers)
    for prompts, lengths in TABLES:
        asked = pyarrow.parquet.read_table(out / prompts)
        answered = pyarrow.parquet.read_table(out / lengths)
        assert asked.column_names == ["pid", "prompt"]
        assert answered.column_names == ["pid", "tok"]
        assert answered["pid"].to_pylist() == asked["pid"].to_pylist() * 2
