"""What a client says about the length of its answer, and how far that is believed. Pure.

A hint moves a prediction as a whole, by at most ``MOST_FACTOR`` in either direction; ``max_tokens``
still caps the result. Only tenants that may schedule are listened to, because a hint is rank.

Source: NVIDIA Dynamo's ``nvext.agent_hints.osl``; the semantic router's
``vllm_xargs.agentic_context.expected_output_length``.
"""

from collections.abc import Sequence
from math import log, log1p

import msgspec

from alise_gateway.domain.content import ABSENT, ContentFields

MOST_FACTOR = 4.0
"""A hint off by more than this is less likely right than the prediction, whose quartiles lie a
factor of two to three apart."""
_MOST_BYTES = 4_096
"""Extensions are small; one that is not is not looked into."""
_MOST_TOKENS = 2**31 - 1


class _AgentHints(msgspec.Struct):
    osl: int | None = None


class _Nvext(msgspec.Struct):
    agent_hints: _AgentHints | None = None


class _AgenticContext(msgspec.Struct):
    expected_output_length: int | None = None


class _VllmXargs(msgspec.Struct):
    agentic_context: _AgenticContext | None = None


_decode_nvext = msgspec.json.Decoder(_Nvext).decode
_decode_xargs = msgspec.json.Decoder(_VllmXargs).decode


def hinted_tokens(content: ContentFields) -> int | None:
    """Output tokens that the client expects; ``None`` where it does not say or says it wrongly."""
    if content.nvext is ABSENT and content.vllm_xargs is ABSENT:
        return None
    try:
        tokens = _stated(content)
    except (msgspec.DecodeError, RecursionError):
        return None
    return tokens if tokens is not None and 0 < tokens <= _MOST_TOKENS else None


def _stated(content: ContentFields) -> int | None:
    if content.nvext is not ABSENT and len(content.nvext) <= _MOST_BYTES:
        hints = _decode_nvext(content.nvext).agent_hints
        if hints is not None and hints.osl is not None:
            return hints.osl
    if content.vllm_xargs is not ABSENT and len(content.vllm_xargs) <= _MOST_BYTES:
        context = _decode_xargs(content.vllm_xargs).agentic_context
        return None if context is None else context.expected_output_length
    return None


def moved(log_quantiles: Sequence[float], tokens: int) -> tuple[float, ...]:
    """Quantiles moved so that their median is at a hint, or as near as a hint may move it.

    Args:
        log_quantiles: ``log(1 + tokens)`` at each level.
        tokens: What the client expects.
    """
    bound = log(MOST_FACTOR)
    shift = log1p(tokens) - log_quantiles[len(log_quantiles) // 2]
    shift = min(max(shift, -bound), bound)
    return tuple(value + shift for value in log_quantiles)
