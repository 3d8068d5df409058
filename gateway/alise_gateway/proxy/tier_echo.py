"""The tier that served a request, stated in its answer as OpenAI does. Pure.

In: an answer's body or one of its events. Out: the same with ``service_tier`` set; every other
value keeps its bytes. Engines do not know the tier: vLLM answers null or repeats the request's.
Only answers to requests that state a tier come here; all others travel untouched.

Where it goes: into a JSON body at the top; into every chunk of a chat or completions stream; into
the ``response`` that some events of a Responses stream carry. Errors have none.

Source: OpenAI API reference, ``service_tier`` of chat completions, their chunks, and responses.
"""

import re

import msgspec

from alise_core.wire.openai import Endpoint
from alise_gateway.domain.request import InferenceRequest

_TIER = "service_tier"
_TIER_KEY = b'"service_tier"'
_CHOICES_KEY = b'"choices"'
_RESPONSE = "response"
_RESPONSE_KEY = b'"response"'
_LINE_END = re.compile(rb"\r\n|\n")

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class TierEcho:
    """Sets one tier in one answer.

    Args:
        endpoint: Whose answer it is.
        tier: The tier to state.
    """

    __slots__ = ("_first_member", "_in_responses", "_value")

    def __init__(self, endpoint: Endpoint, tier: str) -> None:
        self._in_responses = endpoint is Endpoint.RESPONSES
        self._value = msgspec.Raw(msgspec.json.encode(tier))
        self._first_member = b"{" + _TIER_KEY + b":" + bytes(self._value) + b","

    def in_body(self, body: bytes) -> bytes:
        """A whole answer; one that is no JSON object, or an empty one, stays as it is."""
        return self._replaced(body)

    def in_event(self, event: bytes, data: bytes) -> bytes:
        """One event of a stream, its end included.

        Args:
            event: As it came.
            data: Its data, lines joined.
        """
        stated = self._in_response(data) if self._in_responses else self._in_chunk(data)
        if stated is data:
            return event
        if data in event:
            return event.replace(data, stated, 1)
        # The data was spread over several lines.
        lines = [line for line in _LINE_END.split(event) if line and not line.startswith(b"data:")]
        lines += [b"data: " + line for line in stated.split(b"\n")]
        return b"\n".join(lines) + b"\n\n"

    def _in_chunk(self, data: bytes) -> bytes:
        return self._stated(data) if _CHOICES_KEY in data else data

    def _in_response(self, data: bytes) -> bytes:
        if _RESPONSE_KEY not in data:
            return data
        fields = _fields(data)
        response = bytes(fields.get(_RESPONSE, b""))
        stated = self._stated(response)
        if stated is response:
            return data
        fields[_RESPONSE] = msgspec.Raw(stated)
        return msgspec.json.encode(fields)

    def _stated(self, value: bytes) -> bytes:
        """A JSON object with the tier in it; it is decoded only where it has one already."""
        if value.startswith(b'{"') and _TIER_KEY not in value:
            return self._first_member + value[1:]
        return self._replaced(value)

    def _replaced(self, value: bytes) -> bytes:
        fields = _fields(value)
        if not fields:
            return value
        fields[_TIER] = self._value
        return msgspec.json.encode(fields)


def echo_of(request: InferenceRequest) -> TierEcho | None:
    """What sets the tier in the answer to ``request``; ``None`` where none is to be stated."""
    return None if request.tier_echo is None else TierEcho(request.endpoint, request.tier_echo)


def _fields(value: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _decode_fields(value)
    except (ValueError, RecursionError):  # a key that is no UTF-8 is no DecodeError
        return {}
