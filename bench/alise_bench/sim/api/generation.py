"""A validated request as the engine needs it: prompts, outputs, ids and reply options.

In: a parsed body of any generating endpoint. Out: a ``Generation``. Decides output lengths,
tool calls and context-length errors; refuses what vLLM refuses, in its shape. Next: the engine
runs ``sequences`` and a renderer of ``alise_bench.sim.api`` writes the reply.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from alise_bench.sim.api.bodies import ChatBody, CompletionBody, MessagesBody, ResponsesBody
from alise_bench.sim.api.errors import ApiError, refused, too_long
from alise_bench.sim.api.outputs import Output, as_tool_call, chooses_tool, plain, with_stop
from alise_bench.sim.kv_dtype import AUTO, DTYPES, KvDtype
from alise_bench.sim.lengths import Lengths, conversation_key, prompt_key
from alise_bench.sim.sequence import SequenceRequest
from alise_bench.sim.text import encode, sampler, seed_of
from alise_core.wire.openai import Endpoint

MAX_LOGPROBS = 20
"""vLLM's ``--max-logprobs``."""
ID_PREFIX = {
    Endpoint.CHAT_COMPLETIONS: "chatcmpl-",
    Endpoint.COMPLETIONS: "cmpl-",
    Endpoint.RESPONSES: "resp_",
    Endpoint.MESSAGES: "chatcmpl-",
    Endpoint.EMBEDDINGS: "embd-",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What intake needs to know of the engine."""

    lengths: Lengths
    max_model_len: int
    seed: int = 0
    tool_call_share: float = 0.5
    """Share of requests with tools under ``auto`` that call one."""
    kv_dtype: KvDtype = DTYPES[AUTO]


@dataclass(frozen=True, slots=True)
class Scoring:
    """What a completion says about tokens.

    Attributes:
        prompt_logprobs: Likeliest tokens to list for each of the prompt's; ``None`` for none.
        token_ids: The tokens themselves are asked for.
        dtype: Of the KV cache, which decides how exact log-probabilities are.
    """

    prompt_logprobs: int | None = None
    token_ids: bool = False
    dtype: KvDtype = DTYPES[AUTO]


@dataclass(frozen=True, slots=True)
class Generation:
    """One request, ready to run."""

    endpoint: Endpoint
    reply_id: str
    model: str
    created: int
    prompts: tuple[tuple[int, ...], ...]
    outputs: tuple[Output, ...]
    """Choices: ``n`` for each prompt, in order."""
    priority: int = 0
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    echo: dict[str, Any] = field(default_factory=dict)
    """Request fields that the reply repeats."""
    scoring: Scoring = Scoring()

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts; each counts once, however many choices it has."""
        return sum(map(len, self.prompts))

    def sequences(self) -> list[SequenceRequest]:
        """One engine request per choice, named as vLLM names them."""
        per_prompt = len(self.outputs) // len(self.prompts)
        named = self.endpoint is Endpoint.COMPLETIONS or len(self.outputs) > 1
        return [
            SequenceRequest(
                request_id=f"{self.reply_id}-{index}" if named else self.reply_id,
                prompt=self.prompts[index // per_prompt],
                output_tokens=output.tokens,
                finish=output.finish,
                priority=self.priority,
                sample=sampler(output.seed),
            )
            for index, output in enumerate(self.outputs)
        ]


@dataclass(frozen=True, slots=True)
class Identity:
    """What the transport knows of a request before its body."""

    request_id: str
    model: str
    created: int
    priority: int | None = None
    """From the header; overrides the body."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The common part of all bodies."""

    prompts: tuple[tuple[int, ...], ...]
    keys: tuple[tuple[str, ...], ...]
    """Replay keys of each prompt."""
    max_tokens: int | None
    stops: list[str]
    tools: list[dict[str, Any]] | None = None
    tool_choice: object = None
    limit_field: str = "max_tokens"


Generating = ChatBody | CompletionBody | ResponsesBody | MessagesBody


def prepare(body: Generating, identity: Identity, options: Options) -> Generation:
    """Turn a body into a generation.

    Raises:
        ApiError: The request is one that vLLM refuses with 400.
    """
    wanted = _wanted(body)
    _validate(body, wanted, options.max_model_len)
    outputs = [
        _output(body, wanted, prompt, choice, options)
        for prompt in range(len(wanted.prompts))
        for choice in range(_choices(body))
    ]
    endpoint = _ENDPOINTS[type(body)]
    stream_options = getattr(body, "stream_options", None)
    priority = body.priority if identity.priority is None else identity.priority
    if not -(2**63) <= priority < 2**63:
        raise ApiError(500, "int too big to convert")
    return Generation(
        endpoint=endpoint,
        reply_id=ID_PREFIX[endpoint] + identity.request_id,
        model=identity.model,
        created=identity.created,
        prompts=wanted.prompts,
        outputs=tuple(outputs),
        priority=priority,
        stream=bool(body.stream),
        include_usage=bool(stream_options and stream_options.include_usage),
        continuous_usage=bool(
            stream_options
            and stream_options.include_usage
            and stream_options.continuous_usage_stats
        ),
        echo=_echo(body),
        scoring=_scoring(body, options),
    )


_ENDPOINTS: dict[type, Endpoint] = {
    ChatBody: Endpoint.CHAT_COMPLETIONS,
    CompletionBody: Endpoint.COMPLETIONS,
    ResponsesBody: Endpoint.RESPONSES,
    MessagesBody: Endpoint.MESSAGES,
}


def _wanted(body: Generating) -> _Wanted:
    if isinstance(body, CompletionBody):
        prompts, keys = _completion_prompts(body.prompt)
        return _Wanted(prompts, keys, body.max_tokens, _stops(body.stop))
    if isinstance(body, ResponsesBody):
        items = (
            [{"role": "user", "content": body.input}]
            if isinstance(body.input, str)
            else (body.input)
        )
        messages = _messages(items, body.instructions)
        limit, stops = body.max_output_tokens, _stops(body.stop)
        return _chat_wanted(messages, limit, stops)
    if isinstance(body, MessagesBody):
        messages = _messages(body.messages, _content_text(body.system))
        return _chat_wanted(
            messages,
            body.max_tokens,
            body.stop_sequences or [],
            body.tools,
            _anthropic_tool_choice(body.tool_choice),
        )
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    return _chat_wanted(
        _messages(body.messages, None), limit, _stops(body.stop), body.tools, body.tool_choice
    )


def _chat_wanted(
    messages: list[tuple[str, str]],
    max_tokens: int | None,
    stops: list[str],
    tools: list[dict[str, Any]] | None = None,
    tool_choice: object = None,
) -> _Wanted:
    if not messages:
        raise refused("Cannot apply chat template to an empty conversation.")
    rendered = "".join(f"<|{role}|>\n{text}\n" for role, text in messages)
    users = [text for role, text in messages if role == "user"]
    keys = (conversation_key(messages), prompt_key(users[-1] if users else messages[-1][1]))
    prompt = encode(f"{rendered}<|assistant|>\n")
    return _Wanted((prompt,), (keys,), max_tokens, stops, tools, tool_choice)


def _messages(items: Iterable[dict[str, Any]], system: str | None) -> list[tuple[str, str]]:
    messages = [] if not system else [("system", system)]
    for item in items:
        role = item.get("role", "user")
        if not isinstance(role, str):
            raise refused("role must be a string", "messages")
        messages.append((role, _content_text(item.get("content")) or ""))
    return messages


def _content_text(content: object) -> str | None:
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise refused("content must be a string or a list of parts", "messages")
    texts = (part.get("text", "") if isinstance(part, dict) else part for part in content)
    return "".join(str(text) for text in texts)


def _completion_prompts(
    prompt: str | list[int] | list[list[int]] | list[str] | None,
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[str, ...], ...]]:
    if prompt == []:
        raise refused("You must pass at least one prompt")
    if not prompt:
        raise refused("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    items: list[Any] = [prompt]
    if isinstance(prompt, list) and not isinstance(prompt[0], int):
        items = list(prompt)
    ids = [encode(item) if isinstance(item, str) else tuple(item) for item in items]
    keys = [(prompt_key(item),) if isinstance(item, str) else () for item in items]
    if not all(ids):
        raise refused("The decoder prompt cannot be empty", "prompt")
    return tuple(ids), tuple(keys)


def _stops(stop: str | list[str] | None) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop or []
    return [text for text in stops if text]


def _anthropic_tool_choice(choice: dict[str, Any] | None) -> object:
    kinds: dict[object, object] = {"auto": "auto", "any": "required", "none": "none"}
    if choice is None:
        return None
    return (
        {"name": choice.get("name")}
        if choice.get("type") == "tool"
        else (kinds.get(choice.get("type")))
    )


def _choices(body: Generating) -> int:
    """Outputs per prompt; only the older two endpoints have more than one."""
    return 1 if isinstance(body, ResponsesBody | MessagesBody) or body.n is None else body.n


def _validate(body: Generating, wanted: _Wanted, limit: int) -> None:
    if _choices(body) < 1:
        raise refused(f"n must be at least 1, got {body.n}.")
    if body.temperature is not None and body.temperature < 0:
        raise refused(
            f"temperature must be non-negative, got {body.temperature}.",
            "temperature",
            body.temperature,
        )
    if getattr(body, "stream_options", None) is not None and not body.stream:
        raise refused("Stream options can only be defined when `stream=True`.", "stream_options")
    _validate_lengths(body.min_tokens, wanted, limit)
    if wanted.tools is not None and not wanted.tools:
        raise refused("`tools` must not be an empty array.", "tools")
    if wanted.tools is None and wanted.tool_choice not in (None, "none", "auto"):
        raise refused("When using `tool_choice`, `tools` must be set.", "tool_choice")


def _validate_lengths(minimum: int, wanted: _Wanted, limit: int) -> None:
    maximum = wanted.max_tokens
    if maximum is not None and maximum > limit:
        raise refused(
            f"{wanted.limit_field}={maximum} cannot be greater than max_model_len={limit}. "
            "Please request fewer output tokens.",
            wanted.limit_field,
            maximum,
        )
    if maximum is not None and maximum < 1:
        raise refused(f"max_tokens must be at least 1, got {maximum}.", "max_tokens", maximum)
    if minimum < 0:
        raise refused(f"min_tokens must be greater than or equal to 0, got {minimum}.")
    if maximum is not None and minimum > maximum:
        raise refused(
            f"min_tokens must be less than or equal to max_tokens={maximum}, got {minimum}."
        )


def _output(
    body: Generating, wanted: _Wanted, prompt: int, choice: int, options: Options
) -> Output:
    tokens = wanted.prompts[prompt]
    limit = _limit(wanted, len(tokens), options)
    seed = seed_of(options.seed, body.seed, hash(tokens), choice)
    natural = limit if body.ignore_eos else options.lengths.natural(wanted.keys[prompt], seed)
    output = plain(seed, natural, limit, body.min_tokens)
    try:
        function = chooses_tool(
            wanted.tools or [], wanted.tool_choice, seed, options.tool_call_share
        )
    except LookupError as error:
        raise refused(
            "The tool specified in `tool_choice` does not match any of the specified `tools`",
            "tool_choice",
        ) from error
    if function is not None:
        return as_tool_call(output, function, named=isinstance(wanted.tool_choice, dict))
    if wanted.stops:
        return with_stop(output, wanted.stops, body.min_tokens)
    return output


def _limit(wanted: _Wanted, prompt_tokens: int, options: Options) -> int:
    """Output tokens that fit: vLLM shortens a limit that prompt and output exceed together."""
    room = options.max_model_len - prompt_tokens
    if room < 0:
        raise too_long(options.max_model_len, prompt_tokens)
    if room == 0:
        raise refused("max_tokens must be at least 1, got 0.", "max_tokens", 0)
    return room if wanted.max_tokens is None else min(room, wanted.max_tokens)


def _scoring(body: Generating, options: Options) -> Scoring:
    if not isinstance(body, CompletionBody):
        return Scoring()
    wanted = body.prompt_logprobs
    if wanted is not None and body.stream and wanted != 0:
        text = "`prompt_logprobs` are not available when `stream=True`."
        raise refused(text, "prompt_logprobs")
    if wanted is not None and wanted < 0:
        # vLLM takes -1 for its whole vocabulary where --max-logprobs allows that.
        text = "`prompt_logprobs` must be a positive value or -1."
        raise refused(text, "prompt_logprobs", wanted)
    if wanted is not None and wanted > MAX_LOGPROBS:
        text = f"Requested prompt logprobs of {wanted}, which is greater than max allowed: "
        raise refused(f"{text}{MAX_LOGPROBS}", "prompt_logprobs", wanted)
    return Scoring(wanted, bool(body.return_token_ids), options.kv_dtype)


def _echo(body: Generating) -> dict[str, Any]:
    if isinstance(body, ResponsesBody):
        return {
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "temperature": 1.0 if body.temperature is None else body.temperature,
            "top_p": 1.0 if body.top_p is None else body.top_p,
        }
    return {}
