"""What the predictor sees of a request; the same for training, evaluation and serving.

A request is reduced to a few strings and numbers here, once, before any feature is computed:
whatever is not in ``PredictionRequest`` cannot influence a prediction, and a training set is a
list of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_TEXT_BYTES = 6_144
"""Of each text at most this much is looked at: its head and its tail."""

_TAIL_BYTES = 1_536
_HEAD_BYTES = MAX_TEXT_BYTES - _TAIL_BYTES
_MAX_MESSAGES = 64
"""Messages looked at from the end; older ones count as turns only."""
# Tuples, not sets: what a client puts there need not be hashable.
_SYSTEM_ROLES = ("system", "developer")
_JSON_TYPES = ("json_object", "json_schema")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRequest:
    """One request as the predictor sees it.

    Attributes:
        model: Name of the served model.
        prompt: The last user turn, UTF-8, cut to head and tail.
        system: System or developer instructions, UTF-8, cut to head and tail.
        prompt_bytes: Length of all text of the request, history included, before cutting.
        turns: User and assistant messages in the request.
        max_tokens: What the client allows, if it says.
        tools: Number of tools offered.
        json_mode: The answer must be JSON (``response_format``, guided decoding).
        after_tool: The last message is a tool's result.
    """

    model: str
    prompt: bytes
    system: bytes = b""
    prompt_bytes: int = 0
    turns: int = 1
    max_tokens: int | None = None
    tools: int = 0
    json_mode: bool = False
    after_tool: bool = False


def cut(text: bytes) -> bytes:
    """Head and tail of a long text, so that the cost of a prediction has a bound.

    The cut may fall inside a UTF-8 sequence: features are computed on bytes.
    """
    if len(text) <= MAX_TEXT_BYTES:
        return text
    return text[:_HEAD_BYTES] + b"\n" + text[1 - _TAIL_BYTES :]


def from_prompt(
    prompt: str, model: str, *, system: str = "", max_tokens: int | None = None
) -> PredictionRequest:
    """A single-turn request.

    Args:
        prompt: What the user asks.
        model: Name of the served model.
        system: System instructions.
        max_tokens: Limit on the answer, if any.
    """
    raw, raw_system = _encode(prompt), _encode(system)
    return PredictionRequest(
        model=model,
        prompt=cut(raw),
        system=cut(raw_system),
        prompt_bytes=len(raw) + len(raw_system),
        max_tokens=max_tokens,
    )


def from_body(body: Mapping[str, object], model: str) -> PredictionRequest:
    """A request in the shape of any OpenAI endpoint that generates, or Anthropic's messages.

    Never raises: what does not have the documented shape counts as absent, because judging a
    request's validity is the engine's business.

    Args:
        body: The decoded JSON object.
        model: Name of the served model (aliases resolved).
    """
    messages = body.get("messages")
    if messages is None:
        messages = body.get("input", body.get("prompt"))
    reading = _Reading()
    reading.add_system(body.get("system"))
    reading.add_system(body.get("instructions"))
    if isinstance(messages, list) and any(isinstance(item, dict) for item in messages):
        reading.add_messages(messages)
    else:
        reading.add_user(messages)
    tools = body.get("tools", body.get("functions"))
    return PredictionRequest(
        model=model,
        prompt=cut(reading.prompt),
        system=cut(reading.system),
        prompt_bytes=reading.total_bytes,
        turns=max(1, reading.turns),
        max_tokens=_limit(body),
        tools=len(tools) if isinstance(tools, list) else 0,
        json_mode=_wants_json(body),
        after_tool=reading.after_tool,
    )


class _Reading:
    """Collects text from messages of unknown shape."""

    __slots__ = ("after_tool", "prompt", "system", "total_bytes", "turns")

    def __init__(self) -> None:
        self.prompt = b""
        self.system = b""
        self.total_bytes = 0
        self.turns = 0
        self.after_tool = False

    def add_system(self, content: object) -> None:
        text = _text(content)
        self.total_bytes += len(text)
        if text:
            self.system = self.system + b"\n" + text if self.system else text

    def add_user(self, content: object) -> None:
        text = _text(content)
        self.total_bytes += len(text)
        self.prompt = text
        self.turns += 1
        self.after_tool = False

    def add_messages(self, messages: list[object]) -> None:
        skipped = max(0, len(messages) - _MAX_MESSAGES)
        self.turns += skipped
        for index, message in enumerate(messages):
            if 0 < index <= skipped or not isinstance(message, dict):
                continue
            role = message.get("role")
            content = message.get("content", message.get("output"))
            if role in _SYSTEM_ROLES:
                self.add_system(content)
            elif role == "user" and not _is_tool_result(content):
                self.add_user(content)
            else:
                self.total_bytes += len(_text(content))
                self.turns += role == "assistant"
                self.after_tool = (
                    role in ("tool", "user") or message.get("type") == "function_call_output"
                )


def _is_tool_result(content: object) -> bool:
    """Anthropic's shape: what a tool returned comes as a user message of such blocks."""
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") == "tool_result" for part in content
    )


def _text(content: object) -> bytes:
    if isinstance(content, str):
        return _encode(content)
    if isinstance(content, list):
        return b"\n".join(_parts(content))
    return b""


def _parts(content: list[object]) -> Iterable[bytes]:
    for part in content:
        if isinstance(part, str):
            yield _encode(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            yield _encode(part["text"])


def _encode(text: str) -> bytes:
    # JSON may smuggle in lone surrogates, which UTF-8 has no bytes for.
    return text.encode("utf-8", "replace")


def _limit(body: Mapping[str, object]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _wants_json(body: Mapping[str, object]) -> bool:
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") in _JSON_TYPES:
        return True
    text = body.get("text")
    shape = text.get("format") if isinstance(text, dict) else None
    if isinstance(shape, dict) and shape.get("type") in _JSON_TYPES:
        return True
    return bool(body.get("guided_json") or body.get("structured_outputs"))
