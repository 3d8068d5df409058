"""What a reply writer offers to the HTTP layer, whatever the endpoint."""

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from alise_bench.sim.engine import Gain

DONE = b"data: [DONE]\n\n"

encode_json = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Totals:
    """Token counts of a finished request."""

    prompt: int
    completion: int
    cached: int = 0


class Renderer(Protocol):
    """Writes one reply; streaming methods return complete SSE events."""

    def opening(self) -> bytes:
        """Sent with the response headers."""
        ...

    def first(self) -> bytes:
        """Sent just before the first token."""
        ...

    def gain(self, gain: Gain, completed: int) -> bytes:
        """New tokens of one choice; ``completed`` counts the request's output so far."""
        ...

    def ending(self, totals: Totals) -> bytes:
        """Sent after the last token."""
        ...

    def whole(self, totals: Totals) -> dict[str, Any]:
        """The body of a reply that is not streamed."""
        ...


def quoted(text: str) -> bytes:
    """``text`` as a JSON string."""
    return encode_json(text)


FINGERPRINT = "vllm-0.32.0-simulated"
"""``system_fingerprint``: on whole replies, and on the usage event or else the last token's."""
FINGERPRINT_FIELD = b',"system_fingerprint":' + encode_json(FINGERPRINT)


def openai_usage(totals: Totals) -> dict[str, Any]:
    """``usage`` with vLLM's fields in its order."""
    return {
        "prompt_tokens": totals.prompt,
        "total_tokens": totals.prompt + totals.completion,
        "completion_tokens": totals.completion,
    }


def whole_usage(totals: Totals) -> dict[str, Any]:
    """``usage`` of a reply that is not streamed."""
    return {
        **openai_usage(totals),
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }


def sse(document: object) -> bytes:
    """One unnamed event."""
    return b"data: " + encode_json(document) + b"\n\n"


def named_sse(name: str, document: object) -> bytes:
    """One named event."""
    return f"event: {name}\ndata: ".encode() + encode_json(document) + b"\n\n"
