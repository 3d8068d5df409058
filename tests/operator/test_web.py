from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry

from alise_core.errors import ConfigError
from alise_operator.metrics import OperatorMetrics
from alise_operator.web import ProbeServer


class Probed:
    """A server whose readiness a test decides."""

    def __init__(self) -> None:
        self.problem = ""
        registry = CollectorRegistry()
        OperatorMetrics(registry)
        self.server = ProbeServer(registry, lambda: self.problem)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{self.server.port}{path}"
            return await client.get(url, headers=headers)


@pytest.fixture
async def probed() -> AsyncIterator[Probed]:
    probed = Probed()
    await probed.server.open("127.0.0.1", 0)
    yield probed
    await probed.server.close()


async def test_whoever_answers_lives(probed: Probed) -> None:
    probed.problem = "pods: not read"

    assert (await probed.get("/healthz")).status_code == 200


async def test_readiness_says_what_is_missing(probed: Probed) -> None:
    probed.problem = "may not list pods in ns"
    unready = await probed.get("/readyz")
    assert (unready.status_code, unready.json()) == (503, {"status": "may not list pods in ns"})

    probed.problem = ""
    assert (await probed.get("/readyz")).json() == {"status": "ok"}


async def test_metrics_in_both_formats(probed: Probed) -> None:
    plain = await probed.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    assert "alise_operator_leader 0.0" in plain.text

    modern = await probed.get("/metrics", accept="application/openmetrics-text")
    assert modern.text.endswith("# EOF\n")


async def test_an_address_that_is_taken(probed: Probed) -> None:
    port = probed.server.port
    assert port is not None

    with pytest.raises(ConfigError, match=f"127.0.0.1:{port}.*--metrics-port"):
        await ProbeServer(CollectorRegistry(), str).open("127.0.0.1", port)


async def test_closing_twice_is_fine(probed: Probed) -> None:
    await probed.server.close()
    await probed.server.close()
