"""Many requests at once: counts stay exact, refusals stay clean, nothing runs for nobody."""

import asyncio
from typing import Any

import httpx
import pytest

from alise_core.wire.engine_metrics import ADMISSION_REJECTIONS
from running.gateway import GatewayServer
from running.scrape import eventually
from running.vllm import MODEL, VllmServer

PATH = "/v1/completions"
OUTPUT_TOKENS = "alise_gateway_output_tokens_total"
SHORT = 200
LONG = 3_000
TURN = [{"role": "user", "content": "import os"}]
Engines = tuple[VllmServer, VllmServer]


def body(tokens: int, *, stream: bool) -> dict[str, Any]:
    return {
        "model": MODEL,
        "prompt": "import os",
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": stream,
    }


@pytest.fixture(autouse=True)
def _settled(gateway: GatewayServer, engines: Engines) -> None:
    """Whatever an earlier scenario did, both engines take requests again."""

    def backends_that_answer() -> bool:
        asked = [httpx.post(gateway.url + PATH, json=body(1, stream=False)) for _ in range(4)]
        return {reply.headers.get("x-alise-backend") for reply in asked} == {
            engine.url.removeprefix("http://") for engine in engines
        }

    eventually(backends_that_answer, 60, "both engines answer")


def busy(engines: Engines) -> float:
    return sum(engine.busy for engine in engines)


async def test_concurrent_requests_are_spread_and_counted_exactly(
    gateway: GatewayServer, engines: Engines
) -> None:
    before = gateway.metrics().sum(OUTPUT_TOKENS)
    sizes = [5 + number for number in range(20)]
    async with httpx.AsyncClient(base_url=gateway.url, timeout=120) as client:
        replies = await asyncio.gather(
            *(client.post(PATH, json=body(size, stream=bool(size % 2))) for size in sizes)
        )

    assert [reply.status_code for reply in replies] == [200] * len(sizes)
    assert len({reply.headers["x-alise-backend"] for reply in replies}) == len(engines)
    streams = [reply for reply, size in zip(replies, sizes, strict=True) if size % 2]
    assert [reply.text.endswith("data: [DONE]\n\n") for reply in streams] == [True] * len(streams)
    eventually(
        lambda: gateway.metrics().sum(OUTPUT_TOKENS) - before == sum(sizes),
        5,
        "every output token is counted, and no other",
    )


ENDPOINTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "/v1/completions": ({"prompt": "import os", "max_tokens": SHORT}, ("[DONE]",)),
    "/v1/chat/completions": ({"messages": TURN, "max_tokens": SHORT}, ("[DONE]",)),
    "/v1/messages": ({"messages": TURN, "max_tokens": SHORT}, ("message_stop",)),
    "/v1/responses": (
        {"input": "import os", "max_output_tokens": SHORT},
        ("response.completed", "response.incomplete"),
    ),
}
"""What to ask for, and what the last event of a whole answer says."""


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_engine_that_refuses_becomes_a_clean_answer(
    gateway: GatewayServer, engines: Engines, path: str
) -> None:
    before = [engine.metrics().sum(ADMISSION_REJECTIONS) for engine in engines]
    fields, last_words = ENDPOINTS[path]
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=120, limits=limits) as client:
        ask = {"model": MODEL, "stream": True, **fields}
        replies = await asyncio.gather(*(client.post(path, json=ask) for _ in range(90)))

    after = [engine.metrics().sum(ADMISSION_REJECTIONS) for engine in engines]
    assert sum(after) > sum(before), "no engine refused anything: the scenario proves nothing"
    served = [reply.text for reply in replies if reply.status_code == 200]
    refused = [reply for reply in replies if reply.status_code != 200]
    broken = [text for text in served if 'data: {"error"' in text or "event: error" in text]
    whole = [text for text in served if any(word in text[-2_000:] for word in last_words)]
    assert whole
    assert len(whole) + len(broken) == len(served)
    # Here alone vLLM sends its first events before it refuses, and then breaks the connection.
    assert not broken or path == "/v1/responses"
    assert {reply.status_code for reply in refused} <= {429, 502, 503}
    for reply in refused:
        assert reply.json()["error"]["message"]
        assert reply.json()["error"]["type"]


@pytest.mark.parametrize("stream", [True, False])
def test_client_that_leaves_frees_the_engine(
    gateway: GatewayServer, engines: Engines, stream: bool
) -> None:
    with httpx.Client(base_url=gateway.url, timeout=120) as client:
        if stream:
            with client.stream("POST", PATH, json=body(LONG, stream=True)) as reply:
                lines = reply.iter_lines()  # dropping the iterator would close the stream
                assert next(lines).startswith("data: ")
                eventually(lambda: busy(engines) == 1, 5, "an engine works for this client")
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post(PATH, json=body(LONG, stream=False), timeout=1)

    eventually(lambda: busy(engines) == 0, 5, "the engines are idle")
    eventually(
        lambda: gateway.finished_requests()[-1]["outcome"] == "client_cancelled",
        5,
        "the gateway says why",
    )
