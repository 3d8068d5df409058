"""Recorded output lengths, found again by the token ids of the prompt; pure.

A file of them is JSON lines, one answer a line; other fields are left alone::

    {"prompt_sha256": "9f86d081884c7d65...", "output_tokens": 211}

Whoever sends the prompts writes the file, and the engine reads it at its start: a length that is
looked up by the prompt need not travel with the request, where a gateway could see it.
"""

import hashlib
import json
import re
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alise_core.errors import ConfigError

_KEY = re.compile(r"[0-9a-f]{64}")
_FORM = '{"prompt_sha256": 64 hexadecimal digits, "output_tokens": 1 or more}'


@dataclass(frozen=True, slots=True)
class RecordedLength:
    """How long the answer to one prompt was.

    Attributes:
        prompt_sha256: ``prompt_key`` of the prompt.
        output_tokens: Tokens of the answer, the one that ends it included; at least 1.
    """

    prompt_sha256: str
    output_tokens: int

    def line(self) -> str:
        """Its line of the file, without the line's end."""
        row = {"prompt_sha256": self.prompt_sha256, "output_tokens": self.output_tokens}
        return json.dumps(row)


def prompt_key(token_ids: Sequence[int]) -> str:
    """What a prompt is found by: SHA-256 over its ids as little-endian 32-bit numbers, in hex.

    Args:
        token_ids: As the engine computes them, from 0 to 2**32 - 1: of a chat with its template
            applied, and with the tokens that the tokenizer puts before a prompt.
    """
    return hashlib.sha256(struct.pack(f"<{len(token_ids)}I", *token_ids)).hexdigest()


class LengthTable:
    """The recorded lengths of each prompt, in the order of their rows.

    A prompt with several rows takes them in turn, and starts over after the last, so that a
    second run against the same engine replays what the first one did.
    """

    def __init__(self, rows: Iterable[RecordedLength]) -> None:
        self._turns: dict[str, deque[int]] = {}
        for row in rows:
            self._turns.setdefault(row.prompt_sha256, deque()).append(row.output_tokens)

    def take(self, key: str) -> int | None:
        """The next length for a prompt, in tokens; None when the table does not know it."""
        turns = self._turns.get(key)
        if turns is None:
            return None
        turns.rotate(-1)
        return turns[-1]

    def __len__(self) -> int:
        """Rows."""
        return sum(map(len, self._turns.values()))


def parse_lengths(lines: Iterable[str], name: str) -> Iterator[RecordedLength]:
    """Read the lines of a file; empty ones are skipped.

    Args:
        lines: With or without line ends.
        name: The file, for errors.

    Raises:
        ConfigError: A line is not what the file's form asks for; with file, line and remedy.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _parse(line)
        except ValueError as error:
            raise ConfigError(f"{name}, line {number}: {error}; a line is {_FORM}") from error


def _parse(line: str) -> RecordedLength:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("no valid JSON") from error
    if not isinstance(row, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  the caller turns one kind into ours
    key, tokens = row.get("prompt_sha256"), row.get("output_tokens")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError("'prompt_sha256' is missing or no lower-case SHA-256 in hex")
    if type(tokens) is not int or tokens < 1:
        raise ValueError("'output_tokens' is missing or no whole number of at least 1")
    return RecordedLength(key, tokens)
