"""Requests that are sent at given times, each from a thread of its own, and what came back.

Latencies are the client's; how long a request waited for a slot is the engine's own word
(``--enable-per-request-metrics``). Some dozens of requests at a time are all that one engine of
these trials serves, so that threads are enough.
"""

import http.client
import json
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from alise_bench.load.request import Address

PATH = "/v1/completions"
_TOKEN_IDS = (10, 800)
"""Of any tokenizer: what they mean does not matter."""
_ANSWER_SECONDS = 300.0
_OK = 200


@dataclass(frozen=True, slots=True)
class Ask:
    """A request.

    Attributes:
        at_s: When it is sent, seconds after the start.
        kind: What it is, for figures.
        prompt: Token ids.
        tokens: Its answer has exactly so many.
        fields: Further ones of its body.
    """

    at_s: float
    kind: str
    prompt: Sequence[int]
    tokens: int
    fields: dict[str, Any] = field(default_factory=dict)

    def body(self, model: str) -> bytes:
        """As it is sent."""
        fixed = {"model": model, "temperature": 0, "ignore_eos": True}
        said = {**fixed, "prompt": list(self.prompt), "max_tokens": self.tokens, **self.fields}
        return json.dumps(said).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        ask: Of which request.
        status: 0 is no answer at all.
        sent_s: When it was really sent, seconds after the start.
        seconds: Until the answer was whole.
        tokens: Of the answer.
        queue_s: That it waited until it ran for the first time, by the engine's own word.
        logprobs: Of the first token's candidates, where they were asked for.
    """

    ask: Ask
    status: int
    sent_s: float
    seconds: float
    tokens: int = 0
    queue_s: float | None = None
    logprobs: dict[str, float] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether it is what was asked for."""
        return self.status == _OK and self.tokens == self.ask.tokens


def some_prompt(generator: random.Random, tokens: int) -> list[int]:
    """Token ids that nobody has sent before."""
    return [generator.randint(*_TOKEN_IDS) for _ in range(tokens)]


def send(
    address: Address,
    model: str,
    asks: Sequence[Ask],
    at_once: int | None = None,
    now: Callable[[], float] = time.monotonic,
) -> list[Answer]:
    """Send everything at its time and wait for the answers, which are in the order of the asks.

    Args:
        address: The engine.
        model: Its name there.
        asks: By time.
        at_once: At most so many are under way; None is no limit.
        now: Seconds.
    """
    begin = now()

    def one(ask: Ask) -> Answer:
        time.sleep(max(0.0, begin + ask.at_s - now()))
        sent = now()
        status, said = _post(address, ask.body(model))
        return _read(ask, status, said, sent - begin, now() - sent)

    with ThreadPoolExecutor(at_once or max(1, len(asks))) as threads:
        return list(threads.map(one, asks))


def _post(address: Address, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("POST", PATH, body, {"content-type": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _read(ask: Ask, status: int, said: bytes, sent_s: float, seconds: float) -> Answer:
    if status != _OK:
        return Answer(ask, status, sent_s, seconds)
    found = json.loads(said)
    waited = (found.get("metrics") or {}).get("queue_time_ms")
    (choice,) = found["choices"]
    (top, *_) = (choice.get("logprobs") or {}).get("top_logprobs") or [{}]
    return Answer(
        ask,
        status,
        sent_s,
        seconds,
        found["usage"]["completion_tokens"],
        None if waited is None else waited / 1_000,
        top,
    )
