"""The inference port on real sockets: connections come, are limited, and go."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from alise_core.errors import ConfigError
from alise_gateway.intake.listener import Listener
from alise_gateway.settings import LimitSettings, TimeoutSettings
from fakes.clock import FakeClock
from fakes.handler import FakeHandler

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def listener(clock: FakeClock) -> AsyncIterator[Listener]:
    listener = Listener(FakeHandler(), LimitSettings(max_connections=2), TimeoutSettings(), clock)
    assert listener.port == 0
    await listener.open("127.0.0.1", 0)
    yield listener
    await listener.close(0.0)
    assert listener.connections == 0


async def connect(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", listener.port)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(GET)
    return await reader.readuntil(b"fine")


async def test_requests_and_the_limit(listener: Listener) -> None:
    first, second = await connect(listener), await connect(listener)
    assert (await ask(*first)).startswith(b"HTTP/1.1 200 ")
    await ask(*second)
    assert listener.connections == 2
    reader, writer = await connect(listener)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in answer
    assert listener.connections == 2
    for _, opened in (first, second, (reader, writer)):
        opened.close()
        await opened.wait_closed()


async def test_the_sweep_reaches_every_connection(listener: Listener, clock: FakeClock) -> None:
    reader, writer = await connect(listener)
    await ask(reader, writer)
    listener.sweep(clock.advance(76))
    assert await reader.read() == b""
    writer.close()


async def test_a_defect_in_a_sweep_costs_one_connection(
    listener: Listener, clock: FakeClock
) -> None:
    reader, writer = await connect(listener)
    await ask(reader, writer)

    def broken(now: float) -> None:
        raise RuntimeError(str(now))

    [connection] = listener._connections
    exchange = type(
        "Broken", (), {"sweep": staticmethod(broken), "client_gone": lambda _self: None}
    )()
    connection._exchange = exchange
    listener.sweep(clock.advance(1))
    assert await reader.read() == b""
    writer.close()


async def test_idle_connections_close_and_late_ones_are_cut(listener: Listener) -> None:
    idle, half = await connect(listener), await connect(listener)
    await ask(*idle)
    await ask(*half)
    half[1].write(b"GET /a HT")
    await half[1].drain()
    await asyncio.sleep(0.01)
    listener.shut_down_idle()
    assert await idle[0].read() == b""
    await listener.close(0.01)
    assert listener.connections == 0
    for _, writer in (idle, half):
        writer.close()


async def test_an_address_that_is_taken(listener: Listener, clock: FakeClock) -> None:
    other = Listener(FakeHandler(), LimitSettings(), TimeoutSettings(), clock)
    with pytest.raises(ConfigError, match="choose another"):
        await other.open("127.0.0.1", listener.port)
    await other.close(0.0)
