"""Files of the sources: plain or zstandard-compressed JSON, JSON lines, and Parquet."""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.lib
import pyarrow.parquet
import zstandard

from alise_predictor.train.dataset.errors import MalformedDataError

_MAX_INTEGER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """One JSON object and where it stands.

    Attributes:
        place: File and line (or element), for messages.
        values: The object.
    """

    place: str
    values: Mapping[str, object]

    def text(self, name: str) -> str:
        """The string under ``name``; raises ``MalformedDataError`` when it is none."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self.malformed(f"{name!r} is {_kind(value)}; expected a string")
        return value

    def integer(self, name: str) -> int:
        """The whole number >= 0 under ``name``."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_INTEGER:
            return value
        raise self.malformed(
            f"{name!r} is {_kind(value)} or out of range; expected a whole number from 0 to "
            f"{_MAX_INTEGER}"
        )

    def rows(self, name: str) -> list["Row"]:
        """The list of objects under ``name``."""
        value = self.values.get(name)
        if not isinstance(value, list):
            raise self.malformed(f"{name!r} is {_kind(value)}; expected a list of objects")
        return [_row(f"{self.place}, {name}[{index}]", item) for index, item in enumerate(value)]

    def malformed(self, problem: str) -> MalformedDataError:
        """An error about this row; the row's content is not repeated."""
        return MalformedDataError(f"{self.place}: {problem}; correct or remove the row")


def find(folder: Path, name: str) -> Path:
    """``name`` in ``folder``, plain or with ``.zst``.

    Raises:
        MalformedDataError: There is neither.
    """
    for candidate in (folder / name, folder / f"{name}.zst"):
        if candidate.is_file():
            return candidate
    raise MalformedDataError(
        f"{folder / name}: not found, nor with .zst; restore the file or remove the folder"
    )


def read_lines(path: Path) -> Iterator[Row]:
    """The objects of a JSON-lines file; empty lines are passed over."""
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parse(f"{path}, line {number}", line)
    except (zstandard.ZstdError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def read_list(path: Path) -> Iterator[Row]:
    """The objects of a file that holds one JSON list."""
    try:
        with _open(path) as text:
            items = json.load(text)
    except (zstandard.ZstdError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(items, list):
        raise MalformedDataError(f"{path}: holds {_kind(items)}; expected a list of objects")
    for index, item in enumerate(items):
        yield _row(f"{path}, element {index}", item)


def read_table(path: Path, columns: tuple[str, ...]) -> pyarrow.lib.Table:
    """A Parquet table which has at least the given columns."""
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.lib.ArrowException) as error:
        raise _unreadable(path, error) from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise MalformedDataError(f"{path}: no column {missing}; fetch the file again")
    return table


def _open(path: Path) -> io.TextIOBase:
    if path.suffix == ".zst":
        return io.TextIOWrapper(io.BytesIO(_decompress(path.read_bytes())), encoding="utf-8")
    return path.open(encoding="utf-8")


def _decompress(raw: bytes) -> bytes:
    # A reader of streams takes a cut file for a short one, so the frames' ends are checked here.
    parts = []
    while raw:
        frame = zstandard.ZstdDecompressor().decompressobj()
        parts.append(frame.decompress(raw))
        if not frame.eof:
            raise zstandard.ZstdError("the file ends early")
        raw = frame.unused_data
    return b"".join(parts)


def _parse(place: str, line: str) -> Row:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise MalformedDataError(
            f"{place}: not JSON ({error}); correct or remove the line"
        ) from error
    return _row(place, value)


def _row(place: str, value: object) -> Row:
    if not isinstance(value, dict):
        raise MalformedDataError(
            f"{place}: holds {_kind(value)}; expected an object; correct or remove it"
        )
    return Row(place, value)


def _unreadable(path: Path, error: Exception) -> MalformedDataError:
    return MalformedDataError(f"{path}: cannot be read ({error}); fetch the file again")


def _kind(value: object) -> str:
    return "absent or null" if value is None else type(value).__name__
