"""A body's JSON becomes an ``InferenceRequest``: decoded once, kept as it came. Pure.

Only the fields the gateway acts on are read; everything else is the backend's business. Where a
key occurs twice the last one counts, as in the engines' own JSON parsers, so that both sides
always understand the same request.
"""

import msgspec

from alise_core.errors import InvalidRequest
from alise_core.units import ModelName
from alise_core.wire.openai import Endpoint
from alise_gateway.domain.content import ABSENT, ContentFields
from alise_gateway.domain.request import InferenceRequest

_MAX_TOKENS_LIMIT = 2**31 - 1
_MAX_MODEL_CHARS = 512
_SHOWN_CHARS = 64
_USAGE_OPTION = b'"stream_options":{"include_usage":true}'

_STREAMS_USAGE = frozenset({Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS})
"""Endpoints whose streams state usage only on request; the others always do."""


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(ContentFields):
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | msgspec.UnsetType | None = msgspec.UNSET
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    priority: msgspec.Raw = ABSENT
    vllm_xargs: msgspec.Raw = ABSENT
    service_tier: str | None = None


_decode = msgspec.json.Decoder(_Body).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def parse_request(
    endpoint: Endpoint, body: bytes, *, keep_content: bool = False
) -> InferenceRequest:
    """Read a body.

    Args:
        endpoint: Where it was sent to.
        body: The bytes, whole.
        keep_content: Also say where its texts are, for whoever predicts from them. They are
            found while the rest is read, at no cost of their own, and not decoded.

    Raises:
        InvalidRequest: It is not UTF-8, not JSON, not an object, or a field is wrong; the error
            names field, value and remedy.
    """
    if not body:
        raise InvalidRequest("The request has no body; send a JSON object.", code="missing_body")
    _check_text(body)
    try:
        fields = _decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_field(error) from error
    except (msgspec.DecodeError, RecursionError) as error:
        detail = str(error)[:_SHOWN_CHARS] if isinstance(error, msgspec.DecodeError) else "nesting"
        raise InvalidRequest(
            f"The body is not valid JSON: {detail}.", code="invalid_json"
        ) from error
    model = _check_model(fields.model)
    stream = bool(fields.stream)
    injects_usage = stream and endpoint in _STREAMS_USAGE and not _asks_for_usage(fields)
    if injects_usage:
        body = _ask_for_usage(body, replace=fields.stream_options is not msgspec.UNSET)
    return InferenceRequest(
        endpoint=endpoint,
        model=model,
        stream=stream,
        max_tokens=_check_max_tokens(fields),
        body=body,
        injects_usage=injects_usage,
        client_priority=bytes(fields.priority) != b"null",
        stated_xargs=b"" if fields.vllm_xargs is ABSENT else bytes(fields.vllm_xargs),
        content=fields if keep_content else None,
        service_tier=fields.service_tier,
    )


def _asks_for_usage(fields: _Body) -> bool:
    options = fields.stream_options
    return isinstance(options, _StreamOptions) and bool(options.include_usage)


def with_model(body: bytes, model: str) -> bytes:
    """The body with another model name; every other value keeps its bytes."""
    return _replaced(body, "model", model)


def _ask_for_usage(body: bytes, *, replace: bool) -> bytes:
    """Have the backend report token counts at the end of the stream."""
    if replace:
        # Null counts as present: a second key would be overruled by it.
        raw = bytes(_decode_fields(body)["stream_options"])
        options = {} if raw == b"null" else _decode_fields(raw)
        # Engines ignore it while include_usage is off, and the client did not ask for either.
        options.pop("continuous_usage_stats", None)
        options["include_usage"] = msgspec.Raw(b"true")
        return _replaced(body, "stream_options", options)
    start = body.index(b"{") + 1
    # The object is not empty: it has a model.
    return b"".join((body[:start], _USAGE_OPTION, b",", body[start:]))


def _replaced(body: bytes, key: str, value: object) -> bytes:
    fields = _decode_fields(body)
    fields[key] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(fields)


def _check_text(body: bytes) -> None:
    """JSON travels as UTF-8 (RFC 8259 section 8.1); the decoder does not look inside values."""
    if body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"The body is not valid UTF-8 at byte {error.start}; encode it as UTF-8.",
            code="invalid_encoding",
        ) from error


def _check_model(model: str | None) -> ModelName:
    if not model:
        raise InvalidRequest(
            "'model' is missing; name one of the models that /v1/models lists.",
            param="model",
            code="missing_model",
        )
    if len(model) > _MAX_MODEL_CHARS:
        raise InvalidRequest(
            f"'model' is longer than {_MAX_MODEL_CHARS} characters.",
            param="model",
            code="invalid_model",
        )
    return ModelName(model)


def _check_max_tokens(fields: _Body) -> int | None:
    """The tightest of the three spellings."""
    tightest: int | None = None
    for name, value in (
        ("max_tokens", fields.max_tokens),
        ("max_completion_tokens", fields.max_completion_tokens),
        ("max_output_tokens", fields.max_output_tokens),
    ):
        if value is None:
            continue
        if not 0 <= value <= _MAX_TOKENS_LIMIT:
            raise InvalidRequest(
                f"'{name}' is {str(value)[:_SHOWN_CHARS]}; "
                f"it must be between 0 and {_MAX_TOKENS_LIMIT}.",
                param=name,
                code="invalid_max_tokens",
            )
        tightest = value if tightest is None else min(tightest, value)
    return tightest


def _wrong_field(error: msgspec.ValidationError) -> InvalidRequest:
    """Turn msgspec's ``... - at `$.field``` into OpenAI's ``param``."""
    detail, _, path = str(error).partition(" - at `$")
    param = path.strip("`").lstrip(".") or None
    where = f"'{param}' is wrong: " if param else "The body is wrong: "
    return InvalidRequest(where + detail[:200] + ".", param=param, code="invalid_type")
