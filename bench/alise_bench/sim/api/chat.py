"""Replies of ``/v1/chat/completions`` as vLLM 0.32 writes them.

A stream is: one event with the role per choice, one event per token, the last token's event
carrying ``finish_reason``, the usage event when asked for, ``[DONE]``.
"""

from typing import Any

from alise_bench.sim.api.generation import Generation
from alise_bench.sim.api.outputs import Output
from alise_bench.sim.api.rendering import (
    DONE,
    FINGERPRINT,
    FINGERPRINT_FIELD,
    Totals,
    encode_json,
    openai_usage,
    quoted,
    sse,
    whole_usage,
)
from alise_bench.sim.engine import Gain
from alise_bench.sim.sequence import FinishReason


def finish_reason(output: Output, finish: FinishReason) -> str:
    """``finish_reason``: a completed tool call ends with its own."""
    if output.tool is not None and finish is FinishReason.STOP and not output.named:
        return "tool_calls"
    return finish.value


class ChatRenderer:
    """Writes one chat completion."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._head = {
            "id": generation.reply_id,
            "object": "chat.completion.chunk",
            "created": generation.created,
            "model": generation.model,
        }
        # Everything before the choice's own fields is the same in each event of the stream.
        self._prefix = b"data: " + encode_json(self._head)[:-1] + b',"choices":[{"index":'
        self._counts = generation.continuous_usage

    def opening(self) -> bytes:
        """Nothing precedes the first token."""
        return b""

    def first(self) -> bytes:
        """The role of each choice."""
        events = []
        for index in range(len(self._generation.outputs)):
            choice = {
                "index": index,
                "delta": {"role": "assistant", "content": ""},
                "logprobs": None,
                "finish_reason": None,
            }
            usage: dict[str, Any] = {}
            if self._counts:
                usage["usage"] = _running_usage(self._generation.prompt_tokens, 0)
            tail = {"prompt_token_ids": None, "prompt_text": None}
            events.append(sse({**self._head, "choices": [choice], **usage, **tail}))
        return b"".join(events)

    def gain(self, gain: Gain, completed: int) -> bytes:
        """One event with the new text or argument fragment."""
        output = self._generation.outputs[gain.choice]
        text = output.text(gain.start, gain.count)
        tail = b'"finish_reason":null,"token_ids":null}]'
        if gain.finish is not None:
            reason = finish_reason(output, gain.finish).encode()
            stop = encode_json(output.stop_reason)
            tail = b'"finish_reason":"%b","stop_reason":%b,"token_ids":null}]' % (reason, stop)
        delta = (
            b'{"content":%b}' % quoted(text)
            if output.tool is None
            else encode_json(self._fragments(output, gain, text))
        )
        event = b'%b%d,"delta":%b,"logprobs":null,%b' % (self._prefix, gain.choice, delta, tail)
        if self._counts:
            usage = _running_usage(self._generation.prompt_tokens, completed)
            event += b',"usage":' + encode_json(usage)
        if gain.finish is not None and not self._generation.include_usage:
            event += FINGERPRINT_FIELD
        return event + b"}\n\n"

    def ending(self, totals: Totals) -> bytes:
        """The usage event, if asked for, and the end mark."""
        if not self._generation.include_usage:
            return DONE
        usage = {"usage": openai_usage(totals), "system_fingerprint": FINGERPRINT}
        return sse({**self._head, "choices": [], **usage}) + DONE

    def whole(self, totals: Totals) -> dict[str, Any]:
        """The ``chat.completion`` object."""
        outputs = self._generation.outputs
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [self._choice(index, output) for index, output in enumerate(outputs)],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": whole_usage(totals),
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "prompt_text": None,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }

    def _choice(self, index: int, output: Output) -> dict[str, Any]:
        calls: dict[str, Any] = {}
        if output.tool is not None:
            function = {"name": output.tool, "arguments": output.whole}
            call = {"id": self._call_id(index), "type": "function", "function": function}
            calls["tool_calls"] = [call]
        return {
            "index": index,
            "message": {
                "role": "assistant",
                "content": "" if calls else output.whole,
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                **calls,
                "reasoning": None,
            },
            "logprobs": None,
            "finish_reason": finish_reason(output, output.finish),
            "stop_reason": output.stop_reason,
            "token_ids": None,
            "routed_experts": None,
        }

    def _fragments(self, output: Output, gain: Gain, text: str) -> dict[str, Any]:
        """The delta of a tool call: its name with the first token, then its arguments."""
        calls: list[dict[str, Any]] = []
        if gain.start == 0:
            head = {"id": self._call_id(gain.choice), "type": "function", "index": 0}
            calls.append({**head, "function": {"name": output.tool}})
        if text:
            calls.append({"index": 0, "function": {"arguments": text}})
        return {"content": None, "tool_calls": calls} if calls else {}

    def _call_id(self, choice: int) -> str:
        return f"chatcmpl-tool-{self._generation.outputs[choice].seed:08x}{choice}"


def _running_usage(prompt_tokens: int, completed: int) -> dict[str, Any]:
    usage = openai_usage(Totals(prompt_tokens, completed))
    return {**usage, "completion_tokens_details": None}
