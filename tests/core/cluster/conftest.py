from collections.abc import AsyncIterator

import pytest

from alise_cluster.client import ClusterClient
from fakes.api_server import FakeApiServer
from fakes.clock import FakeClock


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    server = await FakeApiServer().start()
    server.install_crds()
    yield server
    await server.stop()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def client(server: FakeApiServer, clock: FakeClock) -> AsyncIterator[ClusterClient]:
    client = server.client(clock)
    yield client
    await client.close()
