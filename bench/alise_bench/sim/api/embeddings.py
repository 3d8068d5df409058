"""``/v1/embeddings``: deterministic unit vectors that depend on the input's tokens."""

import base64
import math
import struct
from typing import Any

from alise_bench.sim.api.bodies import EmbeddingsBody
from alise_bench.sim.api.errors import refused, too_long
from alise_bench.sim.text import encode, mix, seed_of

DIMENSIONS = 64


def embed(
    body: EmbeddingsBody, reply_id: str, model: str, created: int, max_model_len: int
) -> dict[str, Any]:
    """The reply body.

    Raises:
        ApiError: 400: an empty or too long input, or an unknown encoding.
    """
    if body.encoding_format not in {"float", "base64"}:
        raise refused("encoding_format must be float or base64", "encoding_format")
    items: list[Any] = [body.input]
    if isinstance(body.input, list) and body.input and not isinstance(body.input[0], int):
        items = list(body.input)
    prompts = [encode(item) if isinstance(item, str) else tuple(item) for item in items]
    for prompt in prompts:
        if not prompt:
            raise refused("The decoder prompt cannot be empty", "input")
        if len(prompt) > max_model_len:
            raise too_long(max_model_len, len(prompt))
    tokens = sum(map(len, prompts))
    size = body.dimensions or DIMENSIONS
    data = [
        {
            "index": index,
            "object": "embedding",
            "embedding": _encoded(_vector(prompt, size), body.encoding_format),
        }
        for index, prompt in enumerate(prompts)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
    return {
        "id": reply_id,
        "object": "list",
        "created": created,
        "model": model,
        "data": data,
        "usage": {**usage, "prompt_tokens_details": None},
    }


def _vector(prompt: tuple[int, ...], size: int) -> list[float]:
    seed = seed_of(*prompt)
    raw = [mix(seed, index) / 2**30 - 1 for index in range(size)]
    norm = math.sqrt(sum(value * value for value in raw)) or 1.0
    return [value / norm for value in raw]


def _encoded(vector: list[float], encoding: str) -> list[float] | str:
    if encoding == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
