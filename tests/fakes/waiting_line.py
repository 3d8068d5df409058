"""A gateway's queue behind an engine with one place, and the order in which it is served."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from alise_core.outcome import Outcome
from fakes.engine import replaying
from fakes.gateway import RunningGateway, eventually
from fakes.raw_client import RawClient, RawReply, chat, connected, post

LENGTHS = replaying(hello=4, long=2000)
"""For the engine: whoever says hello is done at once, whatever was predicted."""
ONE_PLACE: dict[str, Any] = {"max_in_flight_per_backend": 1}


def asked(name: str, *headers: str, key: str = "none", **fields: Any) -> bytes:
    """A request that the log shows by its name."""
    lines = (f"x-request-id: {name}", f"authorization: Bearer {key}", *headers)
    return post(chat(**fields), *lines)


async def reply_to(gateway: RunningGateway, request: bytes) -> RawReply:
    """The answer to one request, on a connection of its own."""
    async with connected(gateway.port) as client:
        client.send(request)
        return await client.reply()


@contextlib.asynccontextmanager
async def occupied(gateway: RunningGateway, key: str = "none") -> AsyncIterator[RawClient]:
    """Whoever has the engine's only place, until the end of the block or its ``reset``."""
    async with connected(gateway.port) as client:
        client.send(asked("first", key=key, content="long", stream=True, max_tokens=2000))
        await client.head()
        try:
            yield client
        finally:
            client.reset()


@contextlib.asynccontextmanager
async def in_line(gateway: RunningGateway, *requests: bytes) -> AsyncIterator[list[RawClient]]:
    """Clients whose requests have come in this order and wait."""
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        before = gateway.app.queue.waiting
        for request in requests:
            client = await stack.enter_async_context(connected(gateway.port))
            client.send(request)
            clients.append(client)
            await eventually(lambda: gateway.app.queue.waiting == before + len(clients))
        yield clients


async def served(gateway: RunningGateway, *requests: bytes, key: str = "none") -> list[str]:
    """Names of requests that came in this order while nothing was free, as they were served."""
    async with occupied(gateway, key) as first, in_line(gateway, *requests) as clients:
        first.reset()
        replies = [await client.reply() for client in clients]
    assert {reply.status for reply in replies} == {200}
    lines = gateway.requests()
    return [line["request_id"] for line in lines if line["outcome"] == Outcome.COMPLETED]
