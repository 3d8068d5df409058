"""A trace: what is sent when and how long its answer is, as JSON lines that anybody can write.

One object a line: ``arrival_s`` (seconds, any origin), ``prompt`` or ``messages``,
``output_tokens`` and, as far as known, ``model``, ``tenant``, ``service_tier``,
``prompt_tokens``, ``tools``, ``source`` and ``prefix_group``. Other keys are passed over.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from alise_core.errors import ConfigError
from alise_core.service_class import SERVICE_TIERS

BYTES_PER_TOKEN = 4
"""Bytes of text that one token stands for where nobody counted: English prose and code come to
3.5 to 4.5 with the tokenizers of today's models."""

_SHOWN_CHARS = 40
_REMEDY = "correct or remove the line"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """One request.

    Attributes:
        arrival_s: When it is sent, seconds after the trace's first request.
        output_tokens: Length of its answer, at least 1.
        prompt_tokens: Length of all its text: as the trace says, or estimated from bytes.
        prompt: The user's words; ``None`` where ``messages`` are given.
        messages: The conversation in OpenAI's shape; ``None`` where ``prompt`` is given.
        model: Model asked for; ``None`` leaves it to who sends the trace.
        tenant: Who sends it, if anybody in particular.
        service_tier: As in OpenAI's API.
        tools: Tool definitions offered, in OpenAI's shape.
        source: Data set that the prompt comes from.
        prefix_group: Requests of one group begin with the same text.
    """

    arrival_s: float
    output_tokens: int
    prompt_tokens: int
    prompt: str | None = None
    messages: tuple[Mapping[str, Any], ...] | None = None
    model: str | None = None
    tenant: str | None = None
    service_tier: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    source: str | None = None
    prefix_group: str | None = None


def estimate_tokens(text: str) -> int:
    """Tokens of a text by its UTF-8 length, at least 1."""
    return max(1, math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN))


def read_trace(path: Path) -> list[TraceRow]:
    """The requests of a file, by time, the first one at 0.

    Args:
        path: JSON lines; empty lines are passed over.

    Raises:
        ConfigError: The file cannot be read, is empty or has a line that is not as documented;
            names file, line, field, value and remedy, and repeats no prompt.
    """
    try:
        with path.open("rb") as lines:
            rows = [line.row() for line in _parse(path, lines)]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if not rows:
        raise ConfigError(f"{path}: holds no request; write one JSON object a line")
    rows.sort(key=lambda row: row.arrival_s)
    start = rows[0].arrival_s
    return [replace(row, arrival_s=row.arrival_s - start) for row in rows]


def write_trace(path: Path, rows: Iterable[TraceRow]) -> None:
    """Write requests so that ``read_trace`` reads them back; what is unset is left out."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            values = {field.name: getattr(row, field.name) for field in fields(row)}
            kept = {name: value for name, value in values.items() if value not in (None, ())}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")


def _parse(path: Path, lines: Iterable[bytes]) -> "Iterator[_Line]":
    for number, raw in enumerate(lines, start=1):
        if not raw.strip():
            continue
        place = f"{path}, line {number}"
        try:
            values = json.loads(raw)
        except ValueError as error:
            raise ConfigError(f"{place}: not JSON ({_cause(error)}); {_REMEDY}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{place}: holds {_kind(values)}, not an object; {_REMEDY}")
        yield _Line(place, values)


@dataclass(frozen=True, slots=True)
class _Line:
    place: str
    values: Mapping[str, Any]

    def row(self) -> TraceRow:
        prompt, messages = self._prompt(), self._objects("messages")
        if (prompt is None) == (messages is None):
            have = "neither prompt nor messages" if prompt is None else "both prompt and messages"
            raise ConfigError(f"{self.place}: has {have}; give exactly one of them")
        if messages == ():
            raise self._wrong("messages", "[]", "at least one message")
        text = prompt if prompt is not None else _text(messages or ())
        given = self.values.get("prompt_tokens")
        return TraceRow(
            arrival_s=self._arrival(),
            output_tokens=self._count("output_tokens"),
            prompt_tokens=estimate_tokens(text) if given is None else self._count("prompt_tokens"),
            prompt=prompt,
            messages=messages,
            model=self._string("model"),
            tenant=self._string("tenant"),
            service_tier=self._tier(),
            tools=self._objects("tools") or (),
            source=self._string("source"),
            prefix_group=self._string("prefix_group"),
        )

    def _arrival(self) -> float:
        value = self.values.get("arrival_s")
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                seconds = float(value)
            except OverflowError:
                seconds = math.inf
            if math.isfinite(seconds) and seconds >= 0:
                return seconds
        raise self._wrong("arrival_s", _show(value), "a number of seconds >= 0")

    def _count(self, name: str) -> int:
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        raise self._wrong(name, _show(value), "a whole number of tokens >= 1")

    def _tier(self) -> str | None:
        value = self._string("service_tier")
        if value is None or value in SERVICE_TIERS:
            return value
        raise self._wrong(
            "service_tier", _show(value), f"one of {', '.join(sorted(SERVICE_TIERS))}"
        )

    def _prompt(self) -> str | None:
        value = self.values.get("prompt")
        if value is None or (isinstance(value, str) and value):
            return value
        shown = "empty" if value == "" else _kind(value)
        raise self._wrong("prompt", shown, "a text that is not empty")

    def _string(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is None or (isinstance(value, str) and value):
            return value
        raise self._wrong(name, _show(value), "a text that is not empty")

    def _objects(self, name: str) -> tuple[Mapping[str, Any], ...] | None:
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return tuple(value)
        raise self._wrong(name, _kind(value), "a list of objects in OpenAI's shape")

    def _wrong(self, name: str, shown: str, wanted: str) -> ConfigError:
        return ConfigError(f"{self.place}: {name} is {shown}, not {wanted}; {_REMEDY}")


def _text(messages: Iterable[Mapping[str, Any]]) -> str:
    parts: list[str] = []
    for message in messages:
        content = message.get("content")
        blocks = content if isinstance(content, list) else [{"text": content}]
        texts = (block.get("text") for block in blocks if isinstance(block, dict))
        parts += [text for text in texts if isinstance(text, str)]
    return "\n".join(parts)


def _cause(error: ValueError) -> str:
    # The message of a UnicodeDecodeError repeats bytes of the line.
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _kind(value: object) -> str:
    return "absent" if value is None else type(value).__name__


def _show(value: object) -> str:
    if value is None:
        return "absent"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
