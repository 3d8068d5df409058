"""The official ``anthropic`` client against the gateway."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from alise_bench.sim.faults import Fault, FaultKind
from alise_core.outcome import Outcome
from alise_gateway.identity.keys import create_key, hash_key
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, running_gateway

USER: Any = [{"role": "user", "content": "hello"}]
MODEL = "alise-sim"


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=replaying(hello=9))) as running:
        yield running


@pytest.fixture
async def gateway(engine: RunningEngine) -> AsyncIterator[RunningGateway]:
    async with running_gateway(engine.url, upstream={"max_retries": 0}) as running:
        yield running


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=gateway.url, api_key="unused", max_retries=0
    ) as made:
        yield made


async def test_messages(client: anthropic.AsyncAnthropic, gateway: RunningGateway) -> None:
    made = await client.messages.create(model=MODEL, messages=USER, max_tokens=50)
    assert made.content
    assert made.usage.output_tokens == 9
    gateway.expect(
        Outcome.COMPLETED,
        endpoint="messages",
        output_tokens=9,
        prompt_tokens=made.usage.input_tokens,
    )


async def test_streaming(client: anthropic.AsyncAnthropic, gateway: RunningGateway) -> None:
    async with client.messages.stream(model=MODEL, messages=USER, max_tokens=50) as stream:
        text = "".join([part async for part in stream.text_stream])
        final = await stream.get_final_message()
    assert text
    assert final.usage.output_tokens == 9
    line = gateway.expect(Outcome.COMPLETED, output_tokens=9, stream=True)
    assert line["prompt_tokens"] == final.usage.input_tokens


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "nothing"}, anthropic.NotFoundError),
        ({"max_tokens": -1}, anthropic.BadRequestError),
    ],
)
async def test_mistakes(
    client: anthropic.AsyncAnthropic,
    gateway: RunningGateway,
    fields: dict[str, Any],
    error: type[anthropic.APIStatusError],
) -> None:
    arguments: dict[str, Any] = {"model": MODEL, "messages": USER, "max_tokens": 5, **fields}
    with pytest.raises(error) as raised:
        await client.messages.create(**arguments)
    body: Any = raised.value.body
    assert body["type"] == "error"
    assert set(body["error"]) == {"type", "message"}
    gateway.expect(Outcome.REJECTED_INVALID)


async def test_a_failing_backend(
    client: anthropic.AsyncAnthropic, engine: RunningEngine, gateway: RunningGateway
) -> None:
    engine.faults.arm(Fault(FaultKind.STATUS, status=500))
    with pytest.raises(anthropic.InternalServerError):
        await client.messages.create(model=MODEL, messages=USER, max_tokens=5)
    gateway.expect(Outcome.FAILED_BACKEND_ERROR)


async def test_a_stream_that_breaks_raises(
    client: anthropic.AsyncAnthropic, engine: RunningEngine, gateway: RunningGateway
) -> None:
    engine.faults.arm(Fault(FaultKind.DIE_MIDSTREAM))
    with pytest.raises(anthropic.APIError, match="stopped answering"):
        async with client.messages.stream(model=MODEL, messages=USER, max_tokens=50) as stream:
            await stream.get_final_message()
    gateway.expect(Outcome.FAILED_BACKEND_LOST_MIDSTREAM)


async def test_its_key_comes_in_its_own_header(engine: RunningEngine, tmp_path: Any) -> None:
    key = create_key()
    keys = tmp_path / "keys.yaml"
    keys.write_text(f"tenants: [{{id: team, keys: [{{hash: '{hash_key(key)}'}}]}}]")
    async with running_gateway(engine.url, identity={"keys_file": keys}) as gateway:
        for given, error in ((key, None), ("wrong", anthropic.AuthenticationError)):
            async with anthropic.AsyncAnthropic(
                base_url=gateway.url, api_key=given, max_retries=0
            ) as client:
                asked = client.messages.create(model=MODEL, messages=USER, max_tokens=5)
                if error is None:
                    assert (await asked).content
                    gateway.expect(Outcome.COMPLETED, tenant="team")
                else:
                    with pytest.raises(error):
                        await asked
