"""What a comparison sends to real vLLM, which replays the lengths (``alise_bench.vllm.replay``)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from alise_bench.vllm.replay import conversation
from alise_bench.workloads.traces import TraceRow, estimate_tokens
from alise_gateway.domain.request import ANONYMOUS

LENGTH_SHARE = 0.5
"""Answers are half as long as recorded: enough requests for a percentile in a minute of two tiny
models on two CPUs. All of them are, so who is longer than whom stays as it was."""
MOST_OUTPUT_TOKENS = 400
MOST_PROMPT_CHARS = 2_000
"""At most so many tokens, of the 4,096 that the context holds: a character is at least one byte of
byte-level BPE, and takes up to four."""


def shaped(trace: Sequence[TraceRow]) -> list[TraceRow]:
    """A trace as two tiny engines can take it: shorter answers, long prompts cut.

    Returns: In the same order; equal prompts have answers of equal length.
    """
    lengths: dict[str, int] = {}
    rows = []
    for item in trace:
        prompt = item.prompt
        if prompt is not None and len(prompt) > MOST_PROMPT_CHARS:
            prompt = prompt[:MOST_PROMPT_CHARS]
            item = replace(item, prompt=prompt, prompt_tokens=estimate_tokens(prompt))  # noqa: PLW2901
        tokens = min(MOST_OUTPUT_TOKENS, max(1, round(LENGTH_SHARE * item.output_tokens)))
        rows.append(replace(item, output_tokens=lengths.setdefault(_key(item), tokens)))
    return rows


def seen_by_a_gateway(rows: Sequence[TraceRow], model: str) -> list[TraceRow]:
    """Requests as ``chat_body`` sends them, of the tenant that a gateway without keys knows."""
    tenant = ANONYMOUS.id
    return [
        replace(item, prompt=None, messages=tuple(_messages(item)), tenant=tenant, model=model)
        for item in rows
    ]


class Told(StrEnum):
    """What a request says to the engine of its answer's length."""

    NOTHING = "nothing"
    PRIORITY = "priority"
    """The median, as vLLM's own priority: shortest first, once and for all."""
    HINTS = "hints"
    """Median and 90th percentile, to the plugin."""

    def fields(self, p50: int, p90: int) -> dict[str, object]:
        """Of the request's body.

        Args:
            p50: Predicted output tokens, median.
            p90: 90th percentile.
        """
        if self is Told.PRIORITY:
            return {"priority": p50}
        if self is Told.HINTS:
            return {"vllm_xargs": {"alise_p50": p50, "alise_p90": max(p50, p90)}}
        return {}


def chat_body(
    item: TraceRow, model: str, told: Mapping[str, object] = MappingProxyType({})
) -> bytes:
    """A streamed chat request; it says of its answer's length what it is told to, and no more."""
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(item),
        "stream": True,
        "stream_options": {"include_usage": True},
        **told,
    }
    if item.tools:
        body["tools"] = list(item.tools)
    if item.service_tier is not None:
        body["service_tier"] = item.service_tier
    return json.dumps(body).encode()


def lengths_of(rows: Iterable[TraceRow]) -> dict[str, int]:
    """Output tokens by ``conversation``."""
    return {_key(item): item.output_tokens for item in rows}


def _messages(item: TraceRow) -> list[Mapping[str, Any]]:
    if item.messages is not None:
        return list(item.messages)
    return [{"role": "user", "content": item.prompt}]


def _key(item: TraceRow) -> str:
    return conversation(_messages(item), item.tools)
