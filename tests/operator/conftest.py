"""A fake API server with ALISE's collections, and a client of it."""

from collections.abc import AsyncIterator

import pytest

from alise_cluster.client import ClusterClient
from fakes.api_server import FakeApiServer
from fakes.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    server.install_crds()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: FakeApiServer, clock: FakeClock) -> AsyncIterator[ClusterClient]:
    client = server.client(clock)
    yield client
    await client.close()
