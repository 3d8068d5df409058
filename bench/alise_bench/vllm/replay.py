"""The table from which a real engine replays each answer's length.

A length must not travel with its request, where the gateway could see it: the engine finds it by
the token ids of the prompt (``alise_vllm.replay``). A prompt that comes again therefore gets an
answer as long as the first one's.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alise_bench.processes import ChildFailed
from alise_bench.vllm.place import VllmPlace
from alise_vllm.lengths import RecordedLength, prompt_key

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


def conversation(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
) -> str:
    """What the engine makes a prompt of, as JSON; equal ones are equal prompts."""
    return json.dumps({"messages": list(messages), "tools": list(tools)})


def write_table(path: Path, place: VllmPlace, lengths: Mapping[str, int]) -> list[list[int]]:
    """Write the file that engines replay from.

    Args:
        path: Where.
        place: Where vLLM and the model are.
        lengths: Output tokens by ``conversation``.

    Returns: The prompts' token ids, in the order of ``lengths``.

    Raises:
        ChildFailed: The environment cannot tokenize them.
    """
    ids = _tokenized(place, list(lengths))
    path.write_text(table_lines(lengths, ids), encoding="utf-8")
    return ids


def table_lines(lengths: Mapping[str, int], ids: Sequence[Sequence[int]]) -> str:
    """The content of the file.

    Args:
        lengths: Output tokens by conversation.
        ids: Token ids of the conversations, in the same order.
    """
    rows = zip(lengths.values(), ids, strict=True)
    return "".join(RecordedLength(prompt_key(its), n).line() + "\n" for n, its in rows)


def _tokenized(place: VllmPlace, conversations: Sequence[str]) -> list[list[int]]:
    """Token ids of prompts, as vLLM will compute them."""
    python = place.python
    try:
        done = subprocess.run(  # noqa: S603  the commands are ours
            ["/usr/bin/env", "HF_HUB_OFFLINE=1", str(python), "-c", _SCRIPT, place.model],
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
