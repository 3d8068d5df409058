"""Request bodies of the inference endpoints, as far as the simulator reads them.

Unknown fields are accepted and ignored, as vLLM does. Types follow vLLM's protocol models.
"""

import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alise_bench.sim.api.errors import SchemaError

Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Objects = Annotated[list[dict[str, Any]], Field(fail_fast=True)]
"""The first that is none ends the look: a hundred thousand findings would take seconds to write."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    stream: bool | None = False
    seed: Int64 | None = None
    priority: Int64 = 0
    ignore_eos: bool = False
    min_tokens: int = 0
    n: int | None = 1
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None


class StreamOptions(BaseModel):
    """``stream_options``."""

    include_usage: bool | None = True
    continuous_usage_stats: bool | None = False


class ChatBody(_Body):
    """``POST /v1/chat/completions``."""

    messages: Objects
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: Objects | None = None
    tool_choice: str | dict[str, Any] | None = None


class CompletionBody(_Body):
    """``POST /v1/completions``."""

    prompt: str | list[int] | list[list[int]] | list[str] | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = 16
    echo: bool | None = False
    prompt_logprobs: int | None = None
    return_token_ids: bool | None = None


class ResponsesBody(_Body):
    """``POST /v1/responses``."""

    input: str | Objects
    instructions: str | None = None
    max_output_tokens: int | None = None


class MessagesBody(_Body):
    """``POST /v1/messages``."""

    model: str
    messages: Objects
    max_tokens: int
    system: str | Objects | None = None
    stop_sequences: list[str] | None = None
    tools: Objects | None = None
    tool_choice: dict[str, Any] | None = None


class EmbeddingsBody(BaseModel):
    """``POST /v1/embeddings``."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: str = "float"
    dimensions: int | None = None


B = TypeVar("B", bound=BaseModel)


def parse(schema: type[B], raw: bytes, content_type: str) -> B:
    """Validate a body.

    Raises:
        SchemaError: 400 in vLLM's shape, for a wrong content type, broken JSON or wrong fields.
    """
    if content_type.split(";", maxsplit=1)[0].strip().lower() != "application/json":
        raise SchemaError(["Unsupported Media Type: Only 'application/json' is allowed"])
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        finding = _json_finding(error)
        raise SchemaError([finding], finding["loc"]) from error
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        findings = [_finding(dict(found)) for found in error.errors()]
        raise SchemaError(findings, findings[0]["loc"]) from error


def _json_finding(error: Exception) -> dict[str, Any]:
    return {
        "type": "json_invalid",
        "loc": f"body.{getattr(error, 'pos', 0)}",
        "msg": "JSON decode error",
        "input": "<dict of 0 items>",
        "ctx": {"error": getattr(error, "msg", type(error).__name__)},
    }


def _finding(found: dict[str, Any]) -> dict[str, Any]:
    """One finding; what was sent is described and never repeated."""
    given = found["input"]
    size = f" of {len(given)} items" if isinstance(given, dict | list) else ""
    return {
        "type": found["type"],
        "loc": ".".join(["body", *map(str, found["loc"])]),
        "msg": found["msg"],
        "input": f"<{type(given).__name__}{size}>",
    }
