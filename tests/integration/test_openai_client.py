"""The official ``openai`` client against the gateway: what applications will do to it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from alise_bench.sim.faults import Fault, FaultKind
from alise_core.outcome import Outcome
from alise_gateway.identity.keys import create_key, hash_key
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway

USER: Any = [{"role": "user", "content": "hello"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
MODEL = "alise-sim"
KEY = create_key()


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=replaying(hello=9, long=2000))) as running:
        yield running


@pytest.fixture
async def gateway(engine: RunningEngine) -> AsyncIterator[RunningGateway]:
    async with running_gateway(engine.url, aliases={"gpt-4o": MODEL}) as running:
        yield running


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=gateway.url + "/v1", api_key="unused", max_retries=0
    ) as made:
        yield made


async def test_chat(client: openai.AsyncOpenAI, gateway: RunningGateway) -> None:
    made = await client.chat.completions.create(model="gpt-4o", messages=USER, max_tokens=20)
    assert made.choices[0].message.content
    assert made.usage is not None
    assert made.usage.completion_tokens == 9
    gateway.expect(Outcome.COMPLETED, output_tokens=9, model="gpt-4o")


async def test_chat_streaming(client: openai.AsyncOpenAI, gateway: RunningGateway) -> None:
    stream = await client.chat.completions.create(
        model=MODEL, messages=USER, max_tokens=20, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert all(chunk.choices for chunk in chunks), "the usage chunk was not asked for"
    assert chunks[-1].choices[0].finish_reason in {"stop", "length"}
    gateway.expect(Outcome.COMPLETED, output_tokens=9, stream=True)


async def test_chat_streaming_with_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=USER,
        max_tokens=20,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 9


async def test_the_streaming_helper_accumulates(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model=MODEL, messages=USER) as stream:
        text = "".join([event.delta async for event in stream if event.type == "content.delta"])
        final = await stream.get_final_completion()
    assert text == final.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
async def test_tools(client: openai.AsyncOpenAI, gateway: RunningGateway, stream: bool) -> None:
    arguments: dict[str, Any] = {
        "model": MODEL,
        "messages": USER,
        "tools": TOOLS,
        "tool_choice": "required",
    }
    if stream:
        async with client.chat.completions.stream(**arguments) as made:
            answer = await made.get_final_completion()
        message = answer.choices[0].message
    else:
        message = (await client.chat.completions.create(**arguments)).choices[0].message
    assert message.tool_calls
    called: Any = message.tool_calls[0]
    assert called.function.name == "weather"
    gateway.expect(Outcome.COMPLETED)


async def test_several_choices(client: openai.AsyncOpenAI, gateway: RunningGateway) -> None:
    made = await client.chat.completions.create(model=MODEL, messages=USER, n=3)
    assert [choice.index for choice in made.choices] == [0, 1, 2]
    assert made.usage is not None
    gateway.expect(Outcome.COMPLETED, output_tokens=made.usage.completion_tokens)


async def test_completions(client: openai.AsyncOpenAI, gateway: RunningGateway) -> None:
    made = await client.completions.create(model=MODEL, prompt="hello", max_tokens=20)
    assert made.usage is not None
    gateway.expect(Outcome.COMPLETED, output_tokens=made.usage.completion_tokens)
    stream = await client.completions.create(
        model=MODEL, prompt="hello", max_tokens=20, stream=True
    )
    text = "".join([chunk.choices[0].text async for chunk in stream])
    assert text
    gateway.expect(Outcome.COMPLETED, output_tokens=9)


async def test_responses(client: openai.AsyncOpenAI, gateway: RunningGateway) -> None:
    made = await client.responses.create(model=MODEL, input="hello", max_output_tokens=20)
    assert made.output_text
    stream = await client.responses.create(
        model=MODEL, input="hello", max_output_tokens=20, stream=True
    )
    kinds = [event.type async for event in stream]
    assert kinds[0] == "response.created"
    assert kinds[-1] in {"response.completed", "response.incomplete"}
    gateway.expect(Outcome.COMPLETED, output_tokens=9, endpoint="responses")


async def test_embeddings(client: openai.AsyncOpenAI, gateway: RunningGateway) -> None:
    made = await client.embeddings.create(model=MODEL, input=["a", "b"])
    assert len(made.data) == 2
    gateway.expect(Outcome.COMPLETED, prompt_tokens=made.usage.prompt_tokens)


async def test_models(client: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed == [MODEL, "gpt-4o"]
    assert (await client.models.retrieve("gpt-4o")).id == "gpt-4o"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nothing")


async def test_leaving_a_stream_stops_the_engine(
    client: openai.AsyncOpenAI, gateway: RunningGateway, engine: RunningEngine
) -> None:
    long: Any = [{"role": "user", "content": "long"}]
    stream = await client.chat.completions.create(
        model=MODEL, messages=long, max_tokens=2000, stream=True
    )
    await anext(aiter(stream))
    await stream.close()
    await gateway.ended(Outcome.CLIENT_CANCELLED)
    await engine.until_idle()


@pytest.mark.parametrize(
    ("fields", "error", "code"),
    [
        ({"model": "nothing"}, openai.NotFoundError, "model_not_found"),
        ({"max_tokens": -1}, openai.BadRequestError, "invalid_max_tokens"),
        ({"messages": "wrong"}, openai.BadRequestError, "400"),
        ({"max_tokens": 100_000}, openai.BadRequestError, "400"),
    ],
)
async def test_mistakes_raise_their_own_exceptions(
    client: openai.AsyncOpenAI,
    gateway: RunningGateway,
    fields: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str,
) -> None:
    arguments: dict[str, Any] = {"model": MODEL, "messages": USER, **fields}
    with pytest.raises(error) as raised:
        await client.chat.completions.create(**arguments)
    assert raised.value.code == code
    assert raised.value.request_id == gateway.requests()[-1]["request_id"]
    gateway.expect(Outcome.REJECTED_INVALID)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        (FaultKind.STATUS, 500, openai.InternalServerError),
        (FaultKind.STATUS, 503, openai.InternalServerError),
        (FaultKind.ERROR_FIRST_EVENT, 503, openai.InternalServerError),
        (FaultKind.GARBAGE_HTTP, 502, openai.InternalServerError),
    ],
)
async def test_failures_of_the_backend_raise_too(
    client: openai.AsyncOpenAI,
    engine: RunningEngine,
    kind: FaultKind,
    status: int,
    error: type[openai.APIStatusError],
    stream: bool,
) -> None:
    engine.faults.arm(Fault(kind, status=status))
    arguments: dict[str, Any] = {"model": MODEL, "messages": USER, "stream": stream}
    with pytest.raises(error) as raised:
        await client.chat.completions.create(**arguments)
    assert raised.value.status_code == status


async def test_a_stream_that_breaks_raises(
    client: openai.AsyncOpenAI, engine: RunningEngine, gateway: RunningGateway
) -> None:
    engine.faults.arm(Fault(FaultKind.DIE_MIDSTREAM))
    stream = await client.chat.completions.create(model=MODEL, messages=USER, stream=True)
    with pytest.raises(openai.APIError, match="stopped answering"):
        _ = [chunk async for chunk in stream]
    gateway.expect(Outcome.FAILED_BACKEND_LOST_MIDSTREAM)


@pytest.mark.slow
async def test_the_clients_own_retries_obey_retry_after(engine: RunningEngine) -> None:
    async with (
        running_gateway(engine.url, upstream={"max_retries": 0}) as gateway,
        openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="x", max_retries=1) as client,
    ):
        engine.faults.arm(Fault(FaultKind.STATUS, status=503))
        made = await client.chat.completions.create(model=MODEL, messages=USER)
        assert made.choices
        assert [line["status"] for line in gateway.requests()] == [503, 200]


async def test_credentials(engine: RunningEngine, tmp_path: Any) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(
        f"tenants: [{{id: team, keys: [{{hash: '{hash_key(KEY)}'}}], allowed_models: [other]}}]"
    )
    async with running_gateway(engine.url, identity={"keys_file": keys}) as gateway:
        url = gateway.url + "/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(model=MODEL, messages=USER)
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
            with pytest.raises(openai.PermissionDeniedError):
                await client.chat.completions.create(model=MODEL, messages=USER)


async def test_the_synchronous_client(gateway: RunningGateway) -> None:
    def use() -> tuple[Any, list[Any], list[str]]:
        with openai.OpenAI(base_url=gateway.url + "/v1", api_key="unused", max_retries=0) as client:
            made = client.chat.completions.create(model=MODEL, messages=USER)
            stream = client.chat.completions.create(model=MODEL, messages=USER, stream=True)
            listed = [model.id for model in client.models.list()]
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(model="nothing", messages=USER)
            return made, list(stream), listed

    made, chunks, listed = await asyncio.to_thread(use)
    assert made.usage.completion_tokens == 9
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == made.choices[0].message.content
    assert MODEL in listed
    await eventually(lambda: gateway.app.listener.connections == 0)
