"""Connections to one backend, against a real socket that accepts them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from alise_core.units import BackendName
from alise_gateway.domain.backend import BackendAddress
from alise_gateway.proxy.connection import UpstreamConnection
from alise_gateway.proxy.pool import UpstreamPool
from alise_gateway.settings import UpstreamSettings
from fakes.clock import FakeClock


class Waiter:
    """Asks for one connection."""

    def __init__(self) -> None:
        self.connection: UpstreamConnection | None = None
        self.error: OSError | None = None
        self.calls = 0
        self.called = asyncio.Event()

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        self._note()

    def on_connect_failed(self, error: OSError) -> None:
        self.error = error
        self._note()

    def _note(self) -> None:
        self.calls += 1
        self.called.set()


class Backend:
    """Accepts connections and remembers them."""

    def __init__(self) -> None:
        self.open: set[asyncio.StreamWriter] = set()
        self.accepted = 0
        self.changed = asyncio.Condition()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open.add(writer)
        await self._tell()
        await reader.read()
        writer.close()
        self.open.discard(writer)
        await self._tell()

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: len(self.open) == count)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = Backend()
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    backend.port = server.sockets[0].getsockname()[1]
    yield backend
    server.close()
    await backend.until_open(0)  # every test closes what it opened
    await server.wait_closed()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def pool_to(backend: Backend, clock: FakeClock, **settings: float) -> UpstreamPool:
    address = BackendAddress(BackendName("b"), "127.0.0.1", backend.port)
    return UpstreamPool(address, UpstreamSettings(**settings), clock)  # type: ignore[arg-type]  # ints too


async def connect(pool: UpstreamPool, *, fresh: bool = False) -> UpstreamConnection:
    waiter = Waiter()
    pool.acquire(waiter, fresh=fresh)
    async with asyncio.timeout(5):
        await waiter.called.wait()
    assert waiter.connection is not None
    assert waiter.calls == 1
    return waiter.connection


def counts(pool: UpstreamPool) -> tuple[int, int, int]:
    return pool.counts.idle, pool.counts.busy, pool.counts.connecting


async def test_the_latest_is_used_first(backend: Backend, clock: FakeClock) -> None:
    pool = pool_to(backend, clock)
    first, second = await connect(pool), await connect(pool)
    assert counts(pool) == (0, 2, 0)
    pool.release(first, keep_alive=True)
    pool.release(second, keep_alive=True)
    assert counts(pool) == (2, 0, 0)
    assert await connect(pool) is second
    assert await connect(pool) is first
    third = await connect(pool)
    assert third not in (first, second)
    pool.release(first, keep_alive=True)
    assert await connect(pool, fresh=True) is not first
    pool.abort()
    await backend.until_open(0)


async def test_idle_ones_expire(backend: Backend, clock: FakeClock) -> None:
    pool = pool_to(backend, clock, idle_connection_seconds=4)
    old, young = await connect(pool), await connect(pool)
    pool.release(old, keep_alive=True)
    clock.advance(3)
    pool.release(young, keep_alive=True)
    pool.sweep(clock.advance(2))
    await backend.until_open(1)
    assert counts(pool)[0] == 1
    assert await connect(pool) is young
    pool.abort()
    await backend.until_open(0)
    assert counts(pool) == (0, 0, 0)


async def test_limits(backend: Backend, clock: FakeClock) -> None:
    pool = pool_to(backend, clock, max_connections=2, max_idle_connections=1)
    first, second = await connect(pool), await connect(pool)
    waiter = Waiter()
    pool.acquire(waiter)()
    assert waiter.error is not None
    pool.release(first, keep_alive=True)
    pool.release(second, keep_alive=True)
    await backend.until_open(1)
    assert counts(pool)[0] == 1
    pool.release(await connect(pool), keep_alive=False)
    await backend.until_open(0)


async def test_a_refused_dial_is_told(backend: Backend, clock: FakeClock) -> None:
    pool = pool_to(backend, clock)
    unused = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    port = unused.sockets[0].getsockname()[1]
    unused.close()
    await unused.wait_closed()
    pool = UpstreamPool(
        BackendAddress(BackendName("b"), "127.0.0.1", port), UpstreamSettings(), clock
    )
    waiter = Waiter()
    pool.acquire(waiter)
    async with asyncio.timeout(5):
        await waiter.called.wait()
    assert waiter.error is not None
    assert waiter.calls == 1
    await asyncio.sleep(0)
    assert counts(pool) == (0, 0, 0)


@pytest.mark.parametrize("turns", range(8))
async def test_a_dial_taken_back_leaves_nothing_open(
    backend: Backend, clock: FakeClock, turns: int
) -> None:
    pool = pool_to(backend, clock)
    waiter = Waiter()
    take_back = pool.acquire(waiter)
    for _ in range(turns):
        await asyncio.sleep(0)
    take_back()
    for _ in range(5):
        await asyncio.sleep(0)
    if waiter.connection is not None:  # too late: it had it already
        pool.release(waiter.connection, keep_alive=False)
    assert waiter.error is None
    await backend.until_open(0)
    assert counts(pool)[2] == 0


async def test_close_tells_whoever_waits(backend: Backend, clock: FakeClock) -> None:
    pool = pool_to(backend, clock)
    idle, busy = await connect(pool), await connect(pool)
    pool.release(idle, keep_alive=True)
    waiter = Waiter()
    pool.acquire(waiter, fresh=True)
    await asyncio.sleep(0)
    pool.close()
    async with asyncio.timeout(5):
        await waiter.called.wait()
    assert waiter.error is not None
    assert waiter.calls == 1
    await backend.until_open(1)
    assert not busy.closed
    late = Waiter()
    pool.acquire(late)
    assert late.error is not None
    pool.release(busy, keep_alive=True)
    await backend.until_open(0)


async def test_one_that_the_backend_closes_is_forgotten(backend: Backend, clock: FakeClock) -> None:
    pool = pool_to(backend, clock)
    gone = await connect(pool)
    pool.release(gone, keep_alive=True)
    await backend.until_open(1)
    for writer in tuple(backend.open):
        writer.close()
    await backend.until_open(0)
    for _ in range(20):  # its end arrives in one of the loop's next turns
        await asyncio.sleep(0)
    assert gone.closed
    assert counts(pool) == (0, 0, 0)
    fresh = await connect(pool)
    assert fresh is not gone
    pool.release(gone, keep_alive=True)  # late: it is not taken back
    assert counts(pool)[0] == 0
    pool.abort()
    await backend.until_open(0)
