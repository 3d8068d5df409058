"""How long an output is: known to the simulator, never visible in a request.

In: the prompt's keys and a seed. Out: the natural length in tokens. A replay table maps a
prompt (by SHA-256 of its text) to recorded lengths; everything else draws from a log-normal
distribution, the shape that conversation lengths have.

Source of the default median and spread: conversation outputs of the LMSYS-Chat and ShareGPT
collections centre near 200 tokens with a tail to the thousands.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any

from alise_bench.sim.text import mix
from alise_core.errors import ConfigError

MEDIAN_TOKENS = 180.0
SIGMA = 0.9
_NORMAL = NormalDist()


def prompt_key(text: str) -> str:
    """Key of one prompt: SHA-256 of its UTF-8 text, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def conversation_key(messages: Iterable[tuple[str, str]]) -> str:
    """Key of a conversation: SHA-256 of the compact JSON list of [role, text] pairs."""
    return prompt_key(json.dumps([list(pair) for pair in messages], separators=(",", ":")))


@dataclass(slots=True)
class ReplayTable:
    """Recorded output lengths by prompt key; a repeated prompt replays its rows in turn."""

    rows: dict[str, list[int]] = field(default_factory=dict)
    _next: dict[str, int] = field(default_factory=dict)

    def add(self, key: str, output_tokens: int) -> None:
        """Record one length, in tokens >= 1."""
        if output_tokens < 1:
            raise ConfigError(f"output_tokens must be at least 1, not {output_tokens}")
        self.rows.setdefault(key, []).append(output_tokens)

    def take(self, keys: Iterable[str]) -> int | None:
        """The next recorded length of the first key that has any."""
        for key in keys:
            lengths = self.rows.get(key)
            if lengths:
                turn = self._next.get(key, 0)
                self._next[key] = turn + 1
                return lengths[turn % len(lengths)]
        return None

    def __len__(self) -> int:
        return sum(len(lengths) for lengths in self.rows.values())


def load_replay(path: Path) -> ReplayTable:
    """Read a JSON Lines file.

    Each row holds ``output_tokens`` and one of ``prompt_sha256``, ``prompt`` (text; for chat,
    the text of the last user message) or ``messages`` (the whole conversation).

    Raises:
        ConfigError: The file cannot be read or a row is not of that form; names the line.
    """
    table = ReplayTable()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"cannot read the replay file {path}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
                table.add(_row_key(row), int(row["output_tokens"]))
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{path}:{number}: a row needs output_tokens and prompt, prompt_sha256 or "
                    "messages"
                ) from error
    return table


def _row_key(row: Mapping[str, Any]) -> str:
    if "prompt_sha256" in row:
        return str(row["prompt_sha256"])
    if "messages" in row:
        return conversation_key((str(m["role"]), str(m["content"])) for m in row["messages"])
    return prompt_key(str(row["prompt"]))


@dataclass(frozen=True, slots=True)
class Lengths:
    """Natural output lengths of one engine."""

    replay: ReplayTable = field(default_factory=ReplayTable)
    median_tokens: float = MEDIAN_TOKENS
    sigma: float = SIGMA

    def natural(self, keys: Iterable[str], seed: int) -> int:
        """Tokens the model would generate with no limit, >= 1; a replayed length is exact."""
        recorded = self.replay.take(keys)
        if recorded is not None:
            return recorded
        uniform = (mix(seed, -1) + 0.5) / 2**31
        return max(1, round(self.median_tokens * math.exp(self.sigma * _NORMAL.inv_cdf(uniform))))
