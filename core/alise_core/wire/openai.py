"""The parts of the OpenAI-compatible surface that the gateway understands.

Source: the OpenAI API reference and vLLM's OpenAI-compatible server; ``/v1/messages`` follows
Anthropic's Messages API, which vLLM also serves.
"""

from enum import StrEnum


class Endpoint(StrEnum):
    """Inference endpoints; the value is the metric label."""

    CHAT_COMPLETIONS = "chat_completions"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    MESSAGES = "messages"
    EMBEDDINGS = "embeddings"


PATHS: dict[bytes, Endpoint] = {
    b"/v1/chat/completions": Endpoint.CHAT_COMPLETIONS,
    b"/v1/completions": Endpoint.COMPLETIONS,
    b"/v1/responses": Endpoint.RESPONSES,
    b"/v1/messages": Endpoint.MESSAGES,
    b"/v1/embeddings": Endpoint.EMBEDDINGS,
}

ANTHROPIC_ENDPOINTS = frozenset({Endpoint.MESSAGES})
"""Error events and authentication follow Anthropic's shape here."""
