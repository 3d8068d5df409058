"""Replies of ``/v1/messages`` in Anthropic's shape, as vLLM serves them."""

import json
from dataclasses import replace
from typing import Any

from alise_bench.sim.api.chat import finish_reason
from alise_bench.sim.api.generation import Generation
from alise_bench.sim.api.outputs import Output
from alise_bench.sim.api.rendering import Totals, named_sse
from alise_bench.sim.engine import Gain

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class MessageRenderer:
    """Writes one message."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._output = generation.outputs[0]

    def opening(self) -> bytes:
        """Nothing precedes the first token."""
        return b""

    def first(self) -> bytes:
        """The message's start and its only content block."""
        message: dict[str, Any] = {
            "id": self._generation.reply_id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": self._generation.model,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": self._generation.prompt_tokens, "output_tokens": 0},
        }
        block: dict[str, Any] = {"type": "text", "text": ""}
        if self._output.tool is not None:
            block = {**self._tool_block(), "input": {}}
        return _event("message_start", message=message) + _event(
            "content_block_start", content_block=block, index=0
        )

    def gain(self, gain: Gain, completed: int) -> bytes:
        """One delta; the last token of a natural ending has no text and no event."""
        text = self._output.text(gain.start, gain.count)
        if not text:
            return b""
        delta = {"type": "text_delta", "text": text}
        if self._output.tool is not None:
            delta = {"type": "input_json_delta", "partial_json": text}
        return _event("content_block_delta", delta=delta, index=0)

    def ending(self, totals: Totals) -> bytes:
        """Block end, stop reason with usage, message end; this API has no end mark."""
        return (
            _event("content_block_stop", index=0)
            + _event(
                "message_delta",
                delta={
                    "stop_reason": self._stop_reason(),
                    "stop_sequence": self._output.stop_reason,
                },
                usage={"input_tokens": totals.prompt, "output_tokens": totals.completion},
            )
            + _event("message_stop")
        )

    def whole(self, totals: Totals) -> dict[str, Any]:
        """The ``message`` object."""
        stop = self._output.stop_reason
        block: dict[str, Any] = {"type": "text", "text": self._output.whole}
        if self._output.tool is not None:
            block = {**self._tool_block(), "input": _arguments(self._output)}
        return {
            "id": self._generation.reply_id,
            "type": "message",
            "role": "assistant",
            "content": [block],
            "model": self._generation.model,
            "stop_reason": self._stop_reason(),
            **({"stop_sequence": stop} if stop is not None else {}),
            "usage": {"input_tokens": totals.prompt, "output_tokens": totals.completion},
        }

    def _stop_reason(self) -> str:
        return _STOP_REASONS[finish_reason(replace(self._output, named=False), self._output.finish)]

    def _tool_block(self) -> dict[str, Any]:
        return {
            "type": "tool_use",
            "id": f"chatcmpl-tool-{self._output.seed:08x}",
            "name": self._output.tool,
        }


def _arguments(output: Output) -> dict[str, Any]:
    try:
        arguments: dict[str, Any] = json.loads(output.whole)
    except ValueError:  # cut off by max_tokens
        return {}
    return arguments


def _event(kind: str, **fields: object) -> bytes:
    return named_sse(kind, {"type": kind, **fields})
