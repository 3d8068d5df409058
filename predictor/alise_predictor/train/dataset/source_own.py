"""Measured requests of one's own deployment, as JSON lines.

One object a line: ``prompt`` (text) or ``messages`` (a list as in a chat request), ``model``,
``output_tokens``; optional ``tenant``, ``max_tokens``, ``timestamp`` (Unix seconds) and
``source`` (a label for the workload). Lengths count as the engine's tokens, unchanged.
"""

import math
from pathlib import Path

import numpy as np

from alise_predictor.request import from_body
from alise_predictor.train.dataset.raw import AnswerBlock, RawPrompt, RawSource, count_samples
from alise_predictor.train.dataset.readers import Row, read_lines

OWN = "own"


def load_own(folder: Path) -> RawSource:
    """Every ``*.jsonl`` and ``*.jsonl.zst`` directly in the data directory.

    Rows stay apart even when their prompts are equal, because each has its own time.
    """
    prompts: list[RawPrompt] = []
    answers: dict[str, list[tuple[int, int, bool]]] = {}
    for path in own_files(folder):
        for row in read_lines(path):
            prompt = _prompt(f"{path.name}:{len(prompts)}", row)
            tokens = row.integer("output_tokens")
            limit = prompt.request.max_tokens
            hit = limit is not None and tokens >= limit
            answers.setdefault(row.text("model"), []).append((len(prompts), tokens, hit))
            prompts.append(prompt)
    return RawSource(prompts=prompts, blocks=[_block(*item) for item in answers.items()])


def own_files(folder: Path) -> list[Path]:
    """The files of own data in a data directory, in order."""
    return sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.zst")])


def _prompt(key: str, row: Row) -> RawPrompt:
    has_prompt = isinstance(row.values.get("prompt"), str)
    has_messages = isinstance(row.values.get("messages"), list)
    if has_prompt == has_messages:
        raise row.malformed("needs either 'prompt' (a string) or 'messages' (a list)")
    label, tenant = _label(row, "source"), _label(row, "tenant")
    return RawPrompt(
        key=key,
        request=from_body(row.values, ""),
        source=OWN if label is None else f"{OWN}:{label}",
        tenant=tenant,
        timestamp_s=_timestamp(row),
    )


def _label(row: Row, name: str) -> str | None:
    return None if row.values.get(name) is None else row.text(name)


def _timestamp(row: Row) -> float | None:
    value = row.values.get("timestamp")
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(float(value)):  # type: ignore[arg-type]
        raise row.malformed("'timestamp' is not a number of Unix seconds")
    return float(value)  # type: ignore[arg-type]


def _block(model: str, rows: list[tuple[int, int, bool]]) -> AnswerBlock:
    prompts = np.array([row[0] for row in rows], dtype=np.int32)
    return AnswerBlock(
        model=model,
        prompts=prompts,
        samples=count_samples(prompts),
        tokens=np.array([row[1] for row in rows], dtype=np.int32),
        censored=np.array([row[2] for row in rows], dtype=np.bool_),
    )
