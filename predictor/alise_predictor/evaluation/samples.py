"""Finished requests out of anybody's JSON Lines file, seen as the gateway would have seen them.

One object per line:

======================  ==========================================================================
``prompt``              what was asked, a string; or instead of it
``messages``            a conversation in OpenAI's or Anthropic's shape (wins if both are there)
``model``               name of the model that answered
``output_tokens``       how long the answer was, a whole number
``tenant``              optional: who asked; learning in place keeps tenants apart
``max_tokens``          optional: limit on the answer
``timestamp``           optional: when, as a number of seconds or in ISO 8601
``system``, ``tools``,  optional, as in a request's body
``response_format``
======================  ==========================================================================

Anything else in a line is ignored. Prompts never stand in an error message.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from io import BufferedReader
from math import isfinite
from pathlib import Path
from typing import BinaryIO, cast

from alise_core.errors import AliseError
from alise_predictor.request import PredictionRequest, from_body

STANDARD_INPUT = Path("-")
"""Stands for the standard input where a file is asked for."""

MOST_TOKENS = 10_000_000
"""No model answers this long: a larger number is in another unit."""

_SHOWN = 40
"""Characters of a wrong value that an error shows."""


class SampleError(AliseError):
    """A file of samples cannot be read, or a line of it is wrong."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One finished request.

    Attributes:
        request: What the predictor sees.
        output_tokens: How long the answer was.
        tenant: Who asked; empty if the file does not say.
        timestamp: Seconds since some fixed moment, where the file has them.
    """

    request: PredictionRequest
    output_tokens: int
    tenant: str
    timestamp: float | None

    @property
    def is_censored(self) -> bool:
        """The answer ended because it reached ``max_tokens``: it would have been longer."""
        limit = self.request.max_tokens
        return limit is not None and self.output_tokens >= limit


@dataclass(frozen=True, slots=True)
class Samples:
    """A file's content.

    Attributes:
        rows: In file order.
        errors: Messages about the lines that were skipped.
    """

    rows: tuple[Sample, ...]
    errors: tuple[str, ...]


def read(file: Path, stdin: BinaryIO, *, skip_bad: bool = False) -> Samples:
    """Read a whole file.

    Args:
        file: ``.jsonl``, ``.jsonl.zst`` or ``-``.
        stdin: Read in place of ``-``.
        skip_bad: Collect the errors of bad lines instead of raising the first.

    Raises:
        SampleError: The file cannot be read; a line is wrong and is not to be skipped.
    """
    rows, errors = [], []
    with _open(file, stdin) as lines:
        for number, line in enumerate(_lines(lines, file), 1):
            if not line.strip():
                continue
            try:
                rows.append(decode(line, f"{called(file)} line {number}"))
            except SampleError as error:
                if not skip_bad:
                    raise SampleError(f"{error}; repair the line or pass --skip-bad") from error
                errors.append(str(error))
    return Samples(tuple(rows), tuple(errors))


def called(file: Path) -> str:
    """The file's name for people."""
    return "standard input" if file == STANDARD_INPUT else str(file)


def decode(line: bytes, place: str) -> Sample:
    """Understand one line.

    Args:
        line: A JSON object.
        place: File and line number, for the error.

    Raises:
        SampleError: Names place, field, value and what is expected.
    """
    fields = _Fields(_json_object(line, place), place)
    fields.need_text()
    model = fields.text("model", required=True)
    fields.expect("tools", list, "a list")
    fields.expect("response_format", dict, "an object")
    fields.expect("system", (str, list), "a string or a list of parts")
    fields.whole_number("max_tokens", 1, required=False)
    return Sample(
        request=from_body(fields.body, model),
        output_tokens=fields.whole_number("output_tokens", 0, required=True),
        tenant=fields.text("tenant", required=False),
        timestamp=fields.time("timestamp"),
    )


class _Fields:
    """The fields of one line, each checked as it is taken out."""

    __slots__ = ("_place", "body")

    def __init__(self, body: dict[str, object], place: str) -> None:
        self.body = body
        self._place = place

    def need_text(self) -> None:
        """There is a prompt or a conversation; its value stays out of the message."""
        prompt, messages = self.body.get("prompt"), self.body.get("messages")
        if prompt is None and messages is None:
            raise SampleError(f"{self._place}: needs a field 'prompt' or 'messages'")
        if messages is not None:
            if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
                raise SampleError(f"{self._place}: field 'messages' must be a list of objects")
        elif not isinstance(prompt, str):
            raise SampleError(f"{self._place}: field 'prompt' must be a string")

    def text(self, name: str, *, required: bool) -> str:
        """A string; empty where an optional one is missing."""
        value = self.body.get(name)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or (required and not value):
            raise self._wrong(name, "a string that is not empty" if required else "a string")
        return value

    def expect(self, name: str, kind: type | tuple[type, ...], expected: str) -> None:
        """An optional field has the right type."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, kind):
            raise self._wrong(name, expected)

    def whole_number(self, name: str, least: int, *, required: bool) -> int:
        """A number of tokens; ``least`` where an optional one is missing."""
        value = self.body.get(name)
        if value is None and not required:
            return least
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(name, "a whole number")
        if not least <= value <= MOST_TOKENS:
            raise self._wrong(name, f"between {least} and {MOST_TOKENS:,}")
        return value

    def time(self, name: str) -> float | None:
        """Seconds; an ISO 8601 moment without a zone is taken to be UTC."""
        value = self.body.get(name)
        if value is None:
            return None
        try:
            if isinstance(value, str):
                moment = datetime.fromisoformat(value)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            if isinstance(value, int | float) and not isinstance(value, bool):
                seconds = float(value)
                if isfinite(seconds):
                    return seconds
        except (ValueError, OverflowError) as error:
            raise self._wrong(name, "seconds or ISO 8601") from error
        raise self._wrong(name, "seconds or ISO 8601")

    def _wrong(self, name: str, expected: str) -> SampleError:
        if name not in self.body:
            return SampleError(f"{self._place}: field {name!r} is missing; it must be {expected}")
        shown = _shown(self.body[name])
        return SampleError(f"{self._place}: field {name!r} is {shown}; it must be {expected}")


def _shown(value: object) -> str:
    """A value as it may stand in a message: of what can hold text of a prompt only the kind."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    try:
        text = json.dumps(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a very large number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _json_object(line: bytes, place: str) -> dict[str, object]:
    try:
        body = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SampleError(f"{place}: is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise SampleError(f"{place}: is no JSON: {error.msg} (column {error.colno})") from error
    except (ValueError, RecursionError) as error:
        raise SampleError(f"{place}: JSON with a number too long or nested too deep") from error
    if not isinstance(body, dict):
        raise SampleError(f"{place}: must be a JSON object, not {_shown(body)}")
    return body


@contextmanager
def _open(file: Path, stdin: BinaryIO) -> Iterator[Iterable[bytes]]:
    if file == STANDARD_INPUT:
        yield stdin
        return
    try:
        raw = file.open("rb")
    except OSError as error:
        raise SampleError(f"cannot read {file}: {error.strerror or error}") from error
    with raw:
        yield _decompressed(raw) if file.suffix == ".zst" else raw


def _decompressed(raw: BinaryIO) -> Iterable[bytes]:
    try:
        zstandard = import_module("zstandard")
    except ModuleNotFoundError as error:
        raise SampleError(
            "a .zst file needs the Python package 'zstandard': pip install 'alise[train]', "
            "or decompress the file first"
        ) from error
    reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    return BufferedReader(cast("BufferedReader", reader))


def _lines(lines: Iterable[bytes], file: Path) -> Iterator[bytes]:
    """Lines of the file; whatever reading or decompressing raises becomes ours."""
    try:
        yield from lines
    except OSError as error:
        raise SampleError(f"cannot read {file}: {error.strerror or error}") from error
    except Exception as error:
        # zstandard is imported by name, so that its error is known by name only.
        if type(error).__name__ != "ZstdError":
            raise
        raise SampleError(f"cannot decompress {file}: {error}") from error
