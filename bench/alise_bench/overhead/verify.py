"""Whether a server gives the right replies: looked at before anything is measured.

Uses the standard library's client, so that a mistake of the load client cannot hide here.
"""

import http.client
import json
from collections.abc import Mapping
from typing import Any

from alise_bench.load.request import Address
from alise_bench.overhead.mock import CHAT_BODY, DEFAULT_EVENTS, MODEL
from alise_core.errors import AliseError

_SECONDS = 20.0
_OK = 200


class WrongReply(AliseError):
    """A server does not relay what its backend answers."""


def verified_reply_bytes(address: Address, headers: Mapping[str, str]) -> int:
    """Check one JSON reply and one stream; the length of the JSON reply.

    Raises:
        WrongReply: Status, text, token counts or the number of events differ from the mock's.
        OSError: No connection.
    """
    reply = _post(address, headers, {})
    message = _message(reply)
    if message != _message(CHAT_BODY):
        raise WrongReply(f"the reply's message differs: {reply[:200]!r}")
    stream = _post(address, headers, {"stream": True, "max_tokens": DEFAULT_EVENTS})
    events = [line for line in stream.split(b"\n") if line.startswith(b"data: ")]
    if len(events) != DEFAULT_EVENTS + 1 or events[-1] != b"data: [DONE]":
        raise WrongReply(f"the stream has {len(events)} events and ends in {stream[-80:]!r}")
    return len(reply)


def _post(address: Address, headers: Mapping[str, str], extra: dict[str, Any]) -> bytes:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], **extra}
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_SECONDS)
    try:
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(body),
            {"content-type": "application/json", **headers},
        )
        response = connection.getresponse()
        status, data = response.status, response.read()
    except http.client.HTTPException as error:
        raise WrongReply(f"not HTTP: {error!r}") from error
    finally:
        connection.close()
    if status != _OK:
        raise WrongReply(f"status {status}: {data[:200]!r}")
    return data


def _message(reply: bytes) -> tuple[str, int]:
    try:
        values = json.loads(reply)
        content = values["choices"][0]["message"]["content"]
        return str(content), int(values["usage"]["completion_tokens"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise WrongReply(f"not a chat completion: {reply[:200]!r}") from error
