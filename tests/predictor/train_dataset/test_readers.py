"""Files of any source: a bad one is named with its line and what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from alise_predictor.train.dataset.errors import MalformedDataError
from alise_predictor.train.dataset.readers import find, read_lines, read_list, read_table


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.zst"])
def test_rows_are_the_same_plain_and_compressed(
    tmp_path: Path, write_lines: Callable[..., Path], name: str
) -> None:
    path = write_lines(tmp_path / name, [{"a": "ü"}, {"a": "b"}])
    assert [row.text("a") for row in read_lines(path)] == ["ü", "b"]


def test_a_plain_file_is_found_before_the_compressed_one(
    tmp_path: Path, write_list: Callable[..., Path]
) -> None:
    write_list(tmp_path / "x.json.zst", [])
    assert find(tmp_path, "x.json").name == "x.json.zst"
    write_list(tmp_path / "x.json", [])
    assert find(tmp_path, "x.json").name == "x.json"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MalformedDataError, match=r"x\.json: not found.*restore"):
        find(tmp_path, "x.json")


def test_a_line_that_is_not_json_is_named_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "b"}\n\n{"a": \n')
    with pytest.raises(MalformedDataError, match=r"rows\.jsonl, line 3: not JSON.*remove the line"):
        list(read_lines(path))


@pytest.mark.parametrize("line", ["[1]", "1", "null", '"text"'])
def test_a_line_that_is_no_object_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(MalformedDataError, match=r"line 1.*expected an object"):
        list(read_lines(path))


def test_a_cut_compressed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(b'{"a": 1}\n' * 9000)[:-9])
    with pytest.raises(MalformedDataError, match=r"rows\.jsonl\.zst"):
        list(read_lines(path))


def test_frames_one_after_the_other_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(b"".join(zstandard.ZstdCompressor().compress(b'{"a": "x"}\n') for _ in "12"))
    assert [row.text("a") for row in read_lines(path)] == ["x", "x"]


def test_a_file_that_is_not_compressed_but_named_so_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.json.zst"
    path.write_bytes(b"[]")
    with pytest.raises(MalformedDataError, match=r"rows\.json\.zst: cannot be read"):
        list(read_list(path))


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": "\xff\xfe"}\n')
    with pytest.raises(MalformedDataError, match="cannot be read"):
        list(read_lines(path))


def test_an_object_where_a_list_belongs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(MalformedDataError, match="holds dict; expected a list"):
        list(read_list(path))


@pytest.mark.parametrize("value", [None, 1, ["x"]])
def test_a_field_of_the_wrong_kind_is_named_without_the_row(
    tmp_path: Path, write_lines: Callable[..., Path], value: object
) -> None:
    path = write_lines(tmp_path / "x.jsonl", [{"text": value, "other": "a secret"}])
    row = next(iter(read_lines(path)))
    with pytest.raises(MalformedDataError, match="line 1: 'text' is") as caught:
        row.text("text")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [None, True, -1, 1.5, "3", 2**31])
def test_only_whole_numbers_count_as_such(
    tmp_path: Path, write_lines: Callable[..., Path], value: object
) -> None:
    path = write_lines(tmp_path / "x.jsonl", [{"n": value}])
    with pytest.raises(MalformedDataError, match="'n' is"):
        next(iter(read_lines(path))).integer("n")


def test_a_table_without_a_column_is_refused(
    tmp_path: Path, write_table: Callable[..., Path]
) -> None:
    path = write_table(tmp_path / "x.parquet", {"pid": ["1"]})
    with pytest.raises(MalformedDataError, match=r"no column \['prompt'\]"):
        read_table(path, ("pid", "prompt"))


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(MalformedDataError, match="cannot be read"):
        read_table(path, ("pid",))
