"""What a comparison sends to real vLLM, and the table from which it replays each answer's length.

A length must not travel with its request, where the gateway could see it: the engine finds it by
the token ids of the prompt (``alise_vllm.replay``). A prompt that comes again therefore gets an
answer as long as the first one's.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alise_bench.processes import ChildFailed
from alise_bench.workloads.traces import TraceRow, estimate_tokens
from alise_vllm.lengths import RecordedLength, prompt_key

LENGTH_SHARE = 0.5
"""Answers are half as long as recorded: enough requests for a percentile in a minute of two tiny
models on two CPUs. All of them are, so who is longer than whom stays as it was."""
MOST_OUTPUT_TOKENS = 400
MOST_PROMPT_CHARS = 2_000
"""At most so many tokens, of the 4,096 that the context holds: a character is at least one byte of
byte-level BPE, and takes up to four."""

_TOKENIZE_SECONDS = 180.0
_SCRIPT = """\
import json, sys, transformers
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
for line in sys.stdin:
    asked = json.loads(line)
    text = tokenizer.apply_chat_template(
        asked["messages"], tools=asked["tools"] or None, add_generation_prompt=True, tokenize=False
    )
    print(json.dumps(tokenizer.encode(text, add_special_tokens=False)))
"""
"""Runs in vLLM's environment: its tokenizer is the one that Transformers makes of the model's."""


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
        rows.append(replace(item, output_tokens=lengths.setdefault(conversation(item), tokens)))
    return rows


def conversation(item: TraceRow) -> str:
    """What the engine makes a prompt of, as JSON; equal ones are equal prompts."""
    return json.dumps({"messages": _messages(item), "tools": list(item.tools)})


def chat_body(item: TraceRow, model: str) -> bytes:
    """A streamed chat request that says nothing of its answer's length."""
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(item),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if item.tools:
        body["tools"] = list(item.tools)
    if item.service_tier is not None:
        body["service_tier"] = item.service_tier
    return json.dumps(body).encode()


def lengths_of(rows: Iterable[TraceRow]) -> dict[str, int]:
    """Output tokens by conversation."""
    return {conversation(item): item.output_tokens for item in rows}


def tokenized(python: Path, model: str, conversations: Sequence[str]) -> list[list[int]]:
    """Token ids of prompts, as vLLM will compute them.

    Args:
        python: Interpreter of vLLM's environment.
        model: Directory of the model.
        conversations: Of ``conversation``.

    Raises:
        ChildFailed: The environment cannot do that.
    """
    try:
        done = subprocess.run(  # noqa: S603  the commands are ours
            ["/usr/bin/env", "HF_HUB_OFFLINE=1", str(python), "-c", _SCRIPT, model],
            input="\n".join(conversations) + "\n",
            capture_output=True,
            text=True,
            timeout=_TOKENIZE_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or ""
        raise ChildFailed(f"prompts cannot be tokenized with {python}: {error}\n{said}") from error
    return [json.loads(line) for line in done.stdout.splitlines()]


def table_lines(lengths: Mapping[str, int], ids: Sequence[Sequence[int]]) -> str:
    """The file that the engines replay from.

    Args:
        lengths: Output tokens by conversation.
        ids: Token ids of the conversations, in the same order.
    """
    rows = zip(lengths.values(), ids, strict=True)
    return "".join(RecordedLength(prompt_key(its), n).line() + "\n" for n, its in rows)


def _messages(item: TraceRow) -> list[Mapping[str, Any]]:
    if item.messages is not None:
        return list(item.messages)
    return [{"role": "user", "content": item.prompt}]
