"""The official Anthropic client, against vLLM's Messages API behind the gateway."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from running.gateway import GatewayServer
from running.vllm import MODEL

TOKENS = 17
TURN: list[Any] = [{"role": "user", "content": "Name a module."}]


@pytest.fixture
def claude(gateway: GatewayServer) -> Iterator[anthropic.Anthropic]:
    made = anthropic.Anthropic(base_url=gateway.url, api_key="unused", max_retries=0)
    with made:
        yield made


def test_message(claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(model=MODEL, messages=TURN, max_tokens=TOKENS)

    assert answer.type == "message"
    assert 0 < answer.usage.output_tokens <= TOKENS


def test_message_as_a_stream(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model=MODEL, messages=TURN, max_tokens=TOKENS) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()

    assert texts
    assert 0 < final.usage.output_tokens <= TOKENS


def test_unknown_model_is_a_clean_404(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="no-such", messages=TURN, max_tokens=TOKENS)
