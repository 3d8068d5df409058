"""Replies of ``/v1/responses``: one message of text, whole or as typed events."""

from typing import Any

from alise_bench.sim.api.generation import Generation
from alise_bench.sim.api.rendering import Totals, named_sse
from alise_bench.sim.engine import Gain
from alise_bench.sim.sequence import FinishReason


class ResponsesRenderer:
    """Writes one response object."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._output = generation.outputs[0]
        self._item_id = f"msg_{generation.reply_id.removeprefix('resp_')}"
        self._number = 0

    def opening(self) -> bytes:
        """Sent before anything is computed."""
        response = self._response("in_progress", [], None)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def first(self) -> bytes:
        """The message item and its text part."""
        item = self._item("in_progress", None)
        return self._event("response.output_item.added", output_index=0, item=item) + self._event(
            "response.content_part.added", **self._place(), part=_part("", [])
        )

    def gain(self, gain: Gain, completed: int) -> bytes:
        """One text delta."""
        text = self._output.text(gain.start, gain.count)
        if not text:
            return b""
        return self._event("response.output_text.delta", **self._place(), delta=text, logprobs=[])

    def ending(self, totals: Totals) -> bytes:
        """Closes part, item and response; this API has no end mark."""
        text = self._output.whole
        response = self.whole(totals)
        item = response["output"][0]
        return b"".join(
            (
                self._event("response.output_text.done", **self._place(), text=text, logprobs=[]),
                self._event("response.content_part.done", **self._place(), part=_part(text)),
                self._event("response.output_item.done", output_index=0, item=item),
                self._event("response.completed", response=response),
            )
        )

    def whole(self, totals: Totals) -> dict[str, Any]:
        """The ``response`` object."""
        cut = self._output.finish is FinishReason.LENGTH
        status = "incomplete" if cut else "completed"
        return self._response(status, [self._item("completed", self._output.whole)], totals)

    def _response(
        self, status: str, output: list[dict[str, Any]], totals: Totals | None
    ) -> dict[str, Any]:
        usage = None
        if totals is not None:
            usage = _usage(totals)
        incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
        echo = self._generation.echo
        return {
            "id": self._generation.reply_id,
            "created_at": self._generation.created,
            "incomplete_details": incomplete,
            "instructions": echo["instructions"],
            "metadata": None,
            "model": self._generation.model,
            "object": "response",
            "output": output,
            "parallel_tool_calls": True,
            "temperature": echo["temperature"],
            "tool_choice": "none",
            "tools": [],
            "top_p": echo["top_p"],
            "background": False,
            "max_output_tokens": echo["max_output_tokens"],
            **dict.fromkeys(("max_tool_calls", "previous_response_id", "prompt", "reasoning")),
            "service_tier": "auto",
            "status": status,
            **dict.fromkeys(("text", "top_logprobs")),
            "truncation": "disabled",
            "usage": usage,
            "user": None,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            **dict.fromkeys(("kv_transfer_params", "ec_transfer_params")),
            **dict.fromkeys(("input_messages", "output_messages")),
        }

    def _item(self, status: str, text: str | None) -> dict[str, Any]:
        return {
            "id": self._item_id,
            "content": [] if text is None else [_part(text)],
            "role": "assistant",
            "status": status,
            "type": "message",
            "phase": None,
        }

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **fields: object) -> bytes:
        number, self._number = self._number, self._number + 1
        document = {**fields, "sequence_number": number, "type": kind}
        return named_sse(kind, dict(sorted(document.items())))


def _part(text: str, logprobs: list[str] | None = None) -> dict[str, Any]:
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": logprobs}


def _usage(totals: Totals) -> dict[str, Any]:
    return {
        "input_tokens": totals.prompt,
        "input_tokens_details": {
            "cached_tokens": totals.cached,
            "cache_write_tokens": 0,
            "input_tokens_per_turn": [],
            "cached_tokens_per_turn": [],
        },
        "output_tokens": totals.completion,
        "output_tokens_details": {
            "reasoning_tokens": 0,
            "tool_output_tokens": 0,
            "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": [],
        },
        "total_tokens": totals.prompt + totals.completion,
    }
