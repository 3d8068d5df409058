"""The official OpenAI client, against real vLLM behind the gateway."""

import json
from typing import Any

import httpx
import openai
import pytest

from running.gateway import GatewayServer
from running.scrape import eventually
from running.vllm import MODEL, VllmServer

TOKENS = 17
# The model would end where it likes; ignore_eos makes the true count known beforehand.
EXACTLY: dict[str, Any] = {"max_tokens": TOKENS, "extra_body": {"ignore_eos": True}}
TURN: list[Any] = [{"role": "user", "content": "Name a module."}]
LAMP: Any = {
    "type": "function",
    "function": {
        "name": "set_lamp",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"on": {"type": "boolean"}},
            "required": ["on"],
            "additionalProperties": False,
        },
    },
}
CALL_LAMP: Any = {"type": "function", "function": {"name": "set_lamp"}}


def logged(gateway: GatewayServer, request_id: str) -> dict[str, Any]:
    """The log line of one request, which may come a moment after its answer."""
    found: list[dict[str, Any]] = []

    def has_line() -> bool:
        lines = gateway.finished_requests()
        found[:] = [line for line in lines if line["request_id"] == request_id]
        return bool(found)

    eventually(has_line, 5, f"log line of {request_id}")
    assert len(found) == 1
    return found[0]


def test_lists_the_model(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]


def test_chat(client: openai.OpenAI, gateway: GatewayServer) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=TURN, **EXACTLY)
    answer = raw.parse()

    assert answer.usage
    assert answer.usage.completion_tokens == TOKENS
    assert answer.choices[0].finish_reason == "length"
    line = logged(gateway, raw.headers["x-request-id"])
    assert (line["outcome"], line["status"], line["stream"]) == ("completed", 200, False)
    assert line["output_tokens"] == TOKENS
    assert line["prompt_tokens"] == answer.usage.prompt_tokens


def test_stream_shows_no_usage_that_was_not_asked_for_and_yet_counts_exactly(
    client: openai.OpenAI, gateway: GatewayServer
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=TURN, stream=True, **EXACTLY
    )
    chunks = list(raw.parse())

    assert [chunk for chunk in chunks if chunk.usage is not None or not chunk.choices] == []
    assert chunks[-1].choices[0].finish_reason == "length"
    line = logged(gateway, raw.headers["x-request-id"])
    assert (line["outcome"], line["stream"]) == ("completed", True)
    assert line["output_tokens"] == TOKENS
    assert line["prompt_tokens"] > 0
    assert line["first_token_s"] <= line["last_token_s"] <= line["finished_s"]


def test_stream_shows_usage_once_where_it_was_asked_for(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=TURN,
            stream=True,
            stream_options={"include_usage": True},
            **EXACTLY,
        )
    )

    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert [usage.completion_tokens for usage in usages] == [TOKENS]
    assert chunks[-1].choices == []


def test_completions_stream_counts_exactly_for_several_choices(
    client: openai.OpenAI, gateway: GatewayServer
) -> None:
    raw = client.completions.with_raw_response.create(
        model=MODEL, prompt="import", stream=True, n=2, temperature=1, **EXACTLY
    )
    chunks = list(raw.parse())

    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}
    assert [chunk for chunk in chunks if not chunk.choices] == []
    assert logged(gateway, raw.headers["x-request-id"])["output_tokens"] == 2 * TOKENS


def test_tool_call(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=TURN, tools=[LAMP], tool_choice=CALL_LAMP, seed=1, max_tokens=500
    )

    calls: Any = answer.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["set_lamp"]
    assert json.loads(calls[0].function.arguments).keys() == {"on"}


def test_tool_call_as_a_stream(client: openai.OpenAI, gateway: GatewayServer) -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=TURN, tools=[LAMP], tool_choice=CALL_LAMP, seed=1, max_tokens=500
    ) as stream:
        final = stream.get_final_completion()

    calls: Any = final.choices[0].message.tool_calls
    assert calls[0].function.name == "set_lamp"
    assert json.loads(calls[0].function.arguments).keys() == {"on"}


def test_responses(client: openai.OpenAI, gateway: GatewayServer) -> None:
    raw = client.responses.with_raw_response.create(
        model=MODEL, input="Name a module.", max_output_tokens=TOKENS
    )
    answer = raw.parse()

    assert answer.usage
    assert answer.output_text
    line = logged(gateway, raw.headers["x-request-id"])
    assert line["endpoint"] == "responses"
    assert line["output_tokens"] == answer.usage.output_tokens


def test_responses_as_a_stream(client: openai.OpenAI) -> None:
    events = list(
        client.responses.create(
            model=MODEL, input="Name a module.", max_output_tokens=TOKENS, stream=True
        )
    )

    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] in {"response.completed", "response.incomplete"}
    assert "response.output_text.delta" in kinds


async def test_async_client(gateway: GatewayServer) -> None:
    async with openai.AsyncOpenAI(base_url=gateway.api, api_key="unused", max_retries=0) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=TURN, **EXACTLY)
        stream = await client.chat.completions.create(
            model=MODEL, messages=TURN, stream=True, **EXACTLY
        )
        text = [chunk.choices[0].delta.content async for chunk in stream]

    assert answer.usage
    assert answer.usage.completion_tokens == TOKENS
    assert any(text)


def test_unknown_model_is_a_clean_404(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such", messages=TURN)

    assert caught.value.type == "invalid_request_error"
    assert caught.value.code == "model_not_found"


def test_error_of_the_engine_reaches_the_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=MODEL, prompt="import", max_tokens=100_000, stream=True)

    assert "max_tokens" in caught.value.message


def test_bodies_pass_through(
    gateway: GatewayServer, engines: tuple[VllmServer, VllmServer]
) -> None:
    # A field that no client library knows, white space and key order that no serialiser keeps.
    body = (
        b'{ "model":"tiny" ,"prompt":"import \\u006fs","temperature":0,\n'
        b' "max_tokens":5, "x_unknown": [1e2, 1.50] }'
    )
    headers = {"content-type": "application/json"}
    path = "/v1/completions"
    direct = httpx.post(engines[0].url + path, content=body, headers=headers, timeout=60)
    relayed = httpx.post(gateway.url + path, content=body, headers=headers, timeout=60)

    assert direct.status_code == relayed.status_code == 200
    assert without_identity(relayed.json()) == without_identity(direct.json())
    assert list(relayed.json()) == list(direct.json())


def without_identity(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in {"id", "created"}}
