"""Two models behind one name, and one that stands in for another, on real sockets."""

from collections.abc import AsyncIterator

import pytest

from alise_core.outcome import Outcome
from alise_gateway.domain.backend import ProbeState
from fakes.engine import RunningEngine, fast_engine, running_engine
from fakes.gateway import RunningGateway, running_gateway
from fakes.raw_client import RawClient, chat, connected, post

ALIASES = {
    "chat": [{"model": "old", "weight": 1}, {"model": "new", "weight": 1}],
    "nick": "old",
}


@pytest.fixture
async def old() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(model="old")) as running:
        yield running


@pytest.fixture
async def new() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(model="new")) as running:
        yield running


@pytest.fixture
async def gateway(old: RunningEngine, new: RunningEngine) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        old.url, new.url, aliases=ALIASES, fallbacks={"old": "new"}
    ) as running:
        yield running


async def model_of(client: RawClient, model: str, *headers: str) -> str:
    """The model that an answer says it comes from."""
    client.send(post(chat(model=model), *headers))
    reply = await client.reply()
    assert reply.status == 200
    answered: str = reply.json()["model"]
    return answered


async def test_a_conversation_stays_on_its_side(gateway: RunningGateway) -> None:
    sessions = [f"x-session-id: s-{number}" for number in range(12)]
    async with connected(gateway.port) as client:
        first = [await model_of(client, "chat", session) for session in sessions]
        second = [await model_of(client, "chat", session) for session in sessions]
    assert first == second
    assert set(first) == {"old", "new"}
    # Logs and metrics show the name that the client used.
    gateway.expect(Outcome.COMPLETED, model="chat")


async def test_a_model_without_backends_is_stood_in_for(
    gateway: RunningGateway, old: RunningEngine, new: RunningEngine
) -> None:
    async with connected(gateway.port) as client:
        assert await model_of(client, "old") == "old"
        gateway.app.registry.set_probe(gateway.backend(old.name), ProbeState.UNHEALTHY, "down")
        assert await model_of(client, "old") == "new"
        assert await model_of(client, "nick") == "new"
        gateway.expect(Outcome.COMPLETED, model="nick", backend=new.name)
        gateway.app.registry.set_probe(gateway.backend(old.name), ProbeState.HEALTHY, None)
        assert await model_of(client, "nick") == "old"
    assert gateway.metric("alise_gateway_fallbacks_total", model="old") == 2


async def test_the_catalogue_lists_an_alias_of_several_once(gateway: RunningGateway) -> None:
    async with connected(gateway.port) as client:
        client.send(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        reply = await client.reply()
    assert [model["id"] for model in reply.json()["data"]] == ["chat", "new", "nick", "old"]
