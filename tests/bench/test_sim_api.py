"""The simulator's HTTP shapes, read by the official clients and compared with vLLM's."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from alise_bench.sim.engine import Admission
from alise_bench.sim.lengths import Lengths
from alise_bench.sim.waiting import Policy
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine

HELLO: Any = [{"role": "user", "content": "hello"}]
LONG: Any = [{"role": "user", "content": "hello " * 4200}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    config = fast_engine(lengths=replaying(hello=7), aliases=("other-name",))
    async with running_engine(config) as running:
        yield running


@pytest.fixture
async def http(engine: RunningEngine) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=engine.url) as client:
        yield client


@pytest.fixture
async def client(engine: RunningEngine) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{engine.url}/v1", api_key="none", max_retries=0
    ) as made:
        yield made


def events(body: str) -> list[Any]:
    """Data of each event; the end mark as text."""
    data = [line[6:] for line in body.splitlines() if line.startswith("data: ")]
    return [item if item == "[DONE]" else json.loads(item) for item in data]


async def test_chat_replays_the_recorded_length(client: openai.AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="alise-sim", messages=HELLO)
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 7
    assert len((reply.choices[0].message.content or "").split()) == 6, "the last token is the end"


async def test_a_chat_stream_has_vllms_order_of_events(http: httpx.AsyncClient) -> None:
    body = {"messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    reply = await http.post("/v1/chat/completions", json=body, headers={"x-request-id": "abc"})
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["transfer-encoding"] == "chunked"
    assert "x-request-id" not in reply.headers
    role, *tokens, usage, done = events(reply.text)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len(tokens) == 7
    assert {event["id"] for event in (role, *tokens, usage)} == {"chatcmpl-abc"}
    assert [event["choices"][0]["finish_reason"] for event in tokens] == [None] * 6 + ["stop"]
    assert all("usage" not in event for event in (role, *tokens))
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 7
    assert done == "[DONE]"


async def test_streamed_and_whole_text_agree(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="alise-sim", messages=HELLO)
    stream = await client.chat.completions.create(model="alise-sim", messages=HELLO, stream=True)
    streamed = "".join([event.choices[0].delta.content or "" async for event in stream])
    assert streamed == whole.choices[0].message.content


async def test_continuous_usage_counts_up(http: httpx.AsyncClient) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = {"messages": HELLO, "stream": True, "stream_options": options}
    reply = await http.post("/v1/chat/completions", json=body)
    counts = [event["usage"]["completion_tokens"] for event in events(reply.text)[:-1]]
    assert counts == [0, 1, 2, 3, 4, 5, 6, 7, 7]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_limit_cuts_the_output(client: openai.AsyncOpenAI, field: str) -> None:
    reply = await client.chat.completions.create(
        model="alise-sim", messages=HELLO, extra_body={field: 3}
    )
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 3


async def test_min_tokens_and_ignore_eos_lengthen_the_output(http: httpx.AsyncClient) -> None:
    for extra, expected in (
        ({"min_tokens": 20}, (20, "stop")),
        ({"ignore_eos": True, "max_tokens": 30}, (30, "length")),
    ):
        reply = (await http.post("/v1/completions", json={"prompt": "hello"} | extra)).json()
        if "min_tokens" in extra:
            assert "max_tokens=16" in reply["error"]["message"], "the default of completions"
            body = {"prompt": "hello", "max_tokens": 50} | extra
            reply = (await http.post("/v1/completions", json=body)).json()
        got = (reply["usage"]["completion_tokens"], reply["choices"][0]["finish_reason"])
        assert got == expected


async def test_a_stop_string_ends_the_text_before_it(http: httpx.AsyncClient) -> None:
    body = {"prompt": "hello", "max_tokens": 50}
    text = (await http.post("/v1/completions", json=body)).json()["choices"][0]["text"]
    third = text.split()[2]
    reply = (await http.post("/v1/completions", json={**body, "stop": [third]})).json()
    assert reply["choices"][0]["text"] == text[: text.index(third)]
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["choices"][0]["stop_reason"] == third
    streamed = await http.post("/v1/completions", json={**body, "stop": third, "stream": True})
    pieces = [event["choices"][0]["text"] for event in events(streamed.text)[:-1]]
    assert "".join(pieces) == text[: text.index(third)]


async def test_choices_are_separate_sequences(client: openai.AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="alise-sim", messages=HELLO, n=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in reply.choices}) == 3
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 21
    stream = await client.chat.completions.create(
        model="alise-sim", messages=HELLO, n=2, stream=True
    )
    finished = [
        choice.index
        async for event in stream
        for choice in event.choices
        if choice.finish_reason is not None
    ]
    assert sorted(finished) == [0, 1]


async def test_completions_take_every_form_of_prompt(client: openai.AsyncOpenAI) -> None:
    forms: list[Any] = ["hello", ["hello", "hello"], [1, 2, 3], [[1, 2, 3], [4]]]
    for prompt, choices, tokens in zip(forms, (1, 2, 1, 2), (1, 2, 3, 4), strict=True):
        reply = await client.completions.create(model="alise-sim", prompt=prompt, max_tokens=4)
        assert len(reply.choices) == choices
        assert reply.usage is not None
        assert reply.usage.prompt_tokens == tokens


async def test_a_completion_stream_carries_usage_at_the_end_only(
    http: httpx.AsyncClient,
) -> None:
    body = {"prompt": "hello", "stream": True, "stream_options": {"include_usage": True}}
    *tokens, usage, done = events((await http.post("/v1/completions", json=body)).text)
    assert len(tokens) == 7
    assert not any("usage" in event for event in tokens)
    assert usage["usage"] == {"prompt_tokens": 1, "total_tokens": 8, "completion_tokens": 7}
    assert done == "[DONE]"


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}], ids=str
)
async def test_a_tool_call_has_parseable_arguments(client: openai.AsyncOpenAI, choice: Any) -> None:
    asked: Any = {"model": "alise-sim", "messages": HELLO, "tools": [TOOL], "tool_choice": choice}
    reply = await client.chat.completions.create(**asked)
    call: Any = (reply.choices[0].message.tool_calls or [])[0]
    # vLLM ends with "stop" where the request names the function.
    assert reply.choices[0].finish_reason == ("tool_calls" if choice == "required" else "stop")
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    stream = await client.chat.completions.create(**asked, stream=True)
    deltas = [delta async for event in stream for delta in event.choices[0].delta.tool_calls or []]
    assert deltas[0].id == call.id
    assert [delta.id for delta in deltas[1:]] == [None] * (len(deltas) - 1)
    fragments = [delta.function.arguments or "" for delta in deltas if delta.function]
    assert "".join(fragments) == call.function.arguments


async def test_under_auto_a_fixed_share_of_requests_calls_a_tool() -> None:
    async with (
        running_engine(fast_engine(tool_call_share=0.5)) as engine,
        httpx.AsyncClient(base_url=engine.url) as http,
    ):
        kinds = []
        for seed in range(16):
            body = {"messages": HELLO, "tools": [TOOL], "seed": seed}
            reply = (await http.post("/v1/chat/completions", json=body)).json()
            kinds.append(bool(reply["choices"][0]["message"].get("tool_calls")))
        assert 3 < sum(kinds) < 13


async def test_a_limit_beyond_the_context_is_shortened_to_it(http: httpx.AsyncClient) -> None:
    body = {"prompt": list(range(1, 4081)), "max_tokens": 500, "ignore_eos": True}
    reply = (await http.post("/v1/completions", json=body)).json()
    assert reply["usage"]["total_tokens"] == 4096
    assert reply["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("body", "status", "kind", "param"),
    [
        ({"model": "nope", "messages": HELLO}, 404, "NotFoundError", "model"),
        ({"messages": HELLO, "max_tokens": 9999}, 400, "BadRequestError", "max_tokens"),
        ({"messages": LONG}, 400, "BadRequestError", "input_tokens"),
        ({"messages": HELLO, "max_tokens": 0}, 400, "BadRequestError", "max_tokens"),
        ({"messages": HELLO, "temperature": -1}, 400, "BadRequestError", "temperature"),
        ({"messages": HELLO, "n": 0}, 400, "BadRequestError", None),
        ({"messages": HELLO, "min_tokens": -1}, 400, "BadRequestError", None),
        ({"messages": []}, 400, "BadRequestError", None),
        ({"messages": HELLO, "tools": []}, 400, "BadRequestError", "tools"),
        ({"messages": HELLO, "tool_choice": "required"}, 400, "BadRequestError", "tool_choice"),
        ({"messages": HELLO, "stream_options": {}}, 400, "BadRequestError", "stream_options"),
        ({"messages": "text"}, 400, "Bad Request", "body.messages"),
        ({}, 400, "Bad Request", "body.messages"),
        ({"messages": HELLO, "max_tokens": "x"}, 400, "Bad Request", "body.max_tokens"),
        ({"messages": HELLO, "priority": 2**63}, 400, "Bad Request", "body.priority"),
    ],
    ids=str,
)
async def test_what_vllm_refuses_is_refused_in_its_shape(
    http: httpx.AsyncClient, body: dict[str, Any], status: int, kind: str, param: str | None
) -> None:
    reply = await http.post("/v1/chat/completions", json=body)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert (error["code"], error["type"], error["param"]) == (status, kind, param)


async def test_a_body_that_is_no_json_is_refused(http: httpx.AsyncClient) -> None:
    json_type = {"content-type": "application/json"}
    for content, headers in (
        (b"{", json_type),
        (b"\xff\xfe", json_type),
        (b"[" * 100_000, json_type),
        (b"{}", {"content-type": "text/plain"}),
    ):
        reply = await http.post("/v1/chat/completions", content=content, headers=headers)
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] == 400


async def test_priority_comes_from_the_header_before_the_body() -> None:
    config = fast_engine(0.01, policy=Policy.PRIORITY)
    async with (
        running_engine(config) as engine,
        httpx.AsyncClient(base_url=engine.url) as http,
    ):
        seen: list[int] = []

        async def ask(headers: dict[str, str]) -> int:
            body = {"prompt": "x", "priority": 3, "max_tokens": 5, "stream": True}
            async with http.stream("POST", "/v1/completions", json=body, headers=headers) as reply:
                await engine.until(engine.open_requests)
                seen.extend(item.request.priority for item in engine.scheduler.sequences.values())
                return reply.status_code

        assert await ask({}) == 200
        await engine.until_idle()
        assert await ask({"x-vllm-priority": "-7"}) == 200
        await engine.until_idle()
        assert await ask({"x-vllm-priority": "soon"}) == 200
        await engine.until_idle()
        assert seen == [3, -7, 3]
        too_big = {"x-vllm-priority": str(2**63)}
        reply = await http.post("/v1/completions", json={"prompt": "x"}, headers=too_big)
        assert reply.status_code == 500


async def test_the_responses_api_streams_typed_events(client: openai.AsyncOpenAI) -> None:
    whole = await client.responses.create(model="alise-sim", input="hello")
    assert whole.status == "completed"
    assert whole.usage is not None
    assert whole.usage.output_tokens == 7
    stream = await client.responses.create(model="alise-sim", input="hello", stream=True)
    received = [event async for event in stream]
    kinds = [event.type for event in received]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert kinds.count("response.output_text.delta") == 6
    assert [event.sequence_number for event in received] == list(range(len(received)))
    last: Any = received[-1]
    assert last.response.output_text == whole.output_text


async def test_the_messages_api_speaks_anthropic(engine: RunningEngine) -> None:
    async with anthropic.AsyncAnthropic(
        base_url=engine.url, api_key="none", max_retries=0
    ) as client:
        asked: Any = {"model": "alise-sim", "max_tokens": 100, "messages": HELLO}
        whole: Any = await client.messages.create(**asked)
        assert whole.stop_reason == "end_turn"
        assert whole.usage.output_tokens == 7
        async with client.messages.stream(**asked) as stream:
            kinds = [event.type async for event in stream]
            final: Any = await stream.get_final_message()
        assert final.content[0].text == whole.content[0].text
        assert final.usage.output_tokens == 7
        assert kinds[0] == "message_start"
        assert kinds[-1] == "message_stop"
        tool: Any = {"name": "look_up", "input_schema": {"properties": {"query": {}}}}
        called: Any = await client.messages.create(
            **asked, tools=[tool], tool_choice={"type": "any"}
        )
        assert called.stop_reason == "tool_use"
        assert set(called.content[0].input) == {"query"}
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.create(**{**asked, "model": "nope"})


async def test_embeddings_are_deterministic_unit_vectors(client: openai.AsyncOpenAI) -> None:
    texts = ["hello", "hello", "other"]
    reply = await client.embeddings.create(model="alise-sim", input=texts)
    one, same, other = [item.embedding for item in reply.data]
    assert one == same
    assert one != other
    assert sum(value * value for value in one) == pytest.approx(1.0, abs=1e-5)
    assert reply.usage.prompt_tokens == 3
    plain = await client.embeddings.create(
        model="alise-sim", input="hello", encoding_format="float"
    )
    assert plain.data[0].embedding == pytest.approx(one, abs=1e-6)


async def test_models_tell_the_context_length(http: httpx.AsyncClient) -> None:
    models = (await http.get("/v1/models")).json()["data"]
    assert [model["id"] for model in models] == ["alise-sim", "other-name"]
    assert models[0]["max_model_len"] == 4096


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/health", 200, ""),
        ("GET", "/ping", 200, ""),
        ("POST", "/ping", 200, ""),
        ("GET", "/version", 200, '{"version":"0.32.0"}'),
        ("GET", "/load", 200, '{"server_load":0}'),
        ("GET", "/nowhere", 404, '{"detail":"Not Found"}'),
        ("GET", "/v1/completions", 405, '{"detail":"Method Not Allowed"}'),
        ("POST", "/version", 405, '{"detail":"Method Not Allowed"}'),
        ("POST", "/alise/drain", 404, '{"detail":"Not Found"}'),
    ],
)
async def test_small_endpoints(
    http: httpx.AsyncClient, method: str, path: str, status: int, body: str
) -> None:
    reply = await http.request(method, path)
    assert (reply.status_code, reply.text) == (status, body)


async def test_an_api_key_protects_the_api_only() -> None:
    async with (
        running_engine(fast_engine(api_key="k")) as engine,
        httpx.AsyncClient(base_url=engine.url) as http,
    ):
        assert (await http.get("/health")).status_code == 200
        for headers, status in (
            ({}, 401),
            ({"authorization": "Bearer wrong"}, 401),
            ({"authorization": "Bearer k"}, 200),
        ):
            reply = await http.get("/v1/models", headers=headers)
            assert reply.status_code == status
        denied = await http.get("/v1/models")
        assert denied.json() == {"error": "Unauthorized"}


async def test_the_request_id_is_echoed_only_when_enabled() -> None:
    async with (
        running_engine(fast_engine(request_id_headers=True)) as engine,
        httpx.AsyncClient(base_url=engine.url) as http,
    ):
        reply = await http.post(
            "/v1/completions", json={"prompt": "x"}, headers={"x-request-id": "r1"}
        )
        assert reply.headers["x-request-id"] == "r1"
        assert reply.json()["id"] == "cmpl-r1"


@pytest.mark.parametrize(
    "admission", [Admission(max_num_queued_reqs=1), Admission(max_num_queued_tokens=1)], ids=str
)
async def test_a_full_queue_answers_503_or_an_error_event(admission: Admission) -> None:
    # The first request has no output before the others come, however slow this machine is.
    config = fast_engine(30, admission=admission)
    async with (
        running_engine(config) as engine,
        httpx.AsyncClient(base_url=engine.url) as http,
    ):
        body = {"messages": HELLO, "stream": True}
        async with http.stream("POST", "/v1/chat/completions", json=body):
            await engine.until(engine.open_requests)
            whole = await http.post("/v1/chat/completions", json={"messages": HELLO})
            assert whole.status_code == 503
            assert "retry-after" not in whole.headers
            assert whole.json()["error"]["code"] == 503
            streamed = await http.post("/v1/chat/completions", json=body)
            assert streamed.status_code == 200
            error, done = events(streamed.text)
            assert error["error"]["code"] == 503
            assert done == "[DONE]"
        await engine.until_idle()
        reason = "max_num_queued_reqs" if admission.max_num_queued_reqs else "max_num_queued_tokens"
        assert engine.metric("vllm:admission_rejections_total", reason=reason) == 2


async def test_a_repeated_request_id_is_served_beside_its_twin() -> None:
    async with (
        running_engine(fast_engine(0.005, lengths=replaying(hello=8))) as engine,
        httpx.AsyncClient(base_url=engine.url, headers={"x-request-id": "same"}) as http,
    ):
        asked = [http.post("/v1/chat/completions", json={"messages": HELLO}) for _ in range(3)]
        replies = [reply.json() for reply in await asyncio.gather(*asked)]
    assert {reply["id"] for reply in replies} == {"chatcmpl-same"}
    assert [reply["usage"]["completion_tokens"] for reply in replies] == [8, 8, 8]


async def test_a_request_is_aborted_by_its_full_id_only() -> None:
    config = fast_engine(0.01, scale_out=True, lengths=Lengths(median_tokens=5000))
    async with (
        running_engine(config) as engine,
        httpx.AsyncClient(base_url=engine.url) as http,
    ):
        body = {"messages": HELLO, "stream": True}
        headers = {"x-request-id": "r"}
        path = "/inference/v1/abort_requests"
        async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as reply:
            await engine.until(engine.open_requests)
            await http.post(path, json={"request_ids": ["r"]})
            assert engine.open_requests() == ["chatcmpl-r"]
            await http.post(path, json={"request_ids": ["chatcmpl-r"]})
            assert engine.open_requests() == []
            received = events((await reply.aread()).decode())
        assert received[-2]["choices"][0]["finish_reason"] == "abort"
