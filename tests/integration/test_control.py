"""Control endpoints through a live gateway, on both of its ports."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from schemathesis.core.result import Ok

from alise_gateway.control.api import create_control_app
from fakes.control import FakeControlView
from fakes.engine import RunningEngine, fast_engine, running_engine
from fakes.gateway import RunningGateway, running_gateway
from fakes.raw_client import chat, connected, post


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine()) as running:
        yield running


@pytest.fixture
async def gateway(engine: RunningEngine) -> AsyncIterator[RunningGateway]:
    async with running_gateway(engine.url, admin_port=0, aliases={"nick": "alise-sim"}) as running:
        yield running


@pytest.fixture(params=["inference", "admin"])
async def http(
    request: pytest.FixtureRequest, gateway: RunningGateway
) -> AsyncIterator[httpx.AsyncClient]:
    port = gateway.port if request.param == "inference" else gateway.app.admin_port
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


async def test_probes_and_models_are_on_both_ports(http: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz"):
        whole, head = await http.get(path), await http.head(path)
        assert whole.status_code == head.status_code == 200
        assert whole.json()
        assert head.content == b""
    listed = (await http.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["alise-sim", "nick"]
    assert (await http.get("/v1/models/nick")).json()["id"] == "nick"
    missing = await http.get("/v1/models/nothing")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"


async def test_metrics_parse(http: httpx.AsyncClient, gateway: RunningGateway) -> None:
    async with connected(gateway.port) as client:
        client.send(post(chat(stream=True)) + post(b"{"))
        await client.reply()
        await client.reply()
    text = await http.get("/metrics")
    families = {family.name: family for family in parse_text(text.text)}
    samples = families["alise_gateway_requests"].samples
    assert sum(sample.value for sample in samples if sample.name.endswith("_total")) == 2
    newer = await http.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert newer.headers["content-type"].startswith("application/openmetrics-text")
    parsed = list(parse_openmetrics(newer.text))  # type: ignore[no-untyped-call]
    # What is an info there ends in _info here.
    assert {family.name for family in parsed} == {name.removesuffix("_info") for name in families}


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", "/metrics"), ("HEAD", "/v1/models"), ("POST", "/healthz"), ("PUT", "/v1/models")],
)
async def test_other_methods_are_refused(http: httpx.AsyncClient, method: str, path: str) -> None:
    reply = await http.request(method, path)
    assert reply.status_code == 405
    if method != "HEAD":
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


async def test_the_admin_api_is_on_its_own_port_only(
    gateway: RunningGateway, engine: RunningEngine
) -> None:
    async with httpx.AsyncClient() as http:
        for path in ("/alise/backends", "/alise/queue"):
            assert (await http.get(gateway.url + path)).status_code == 404
            reply = await http.get(f"http://127.0.0.1:{gateway.app.admin_port}{path}")
            assert reply.status_code == 200
        admin = f"http://127.0.0.1:{gateway.app.admin_port}"
        listed = (await http.get(admin + "/alise/backends")).json()["backends"]
        assert [item["name"] for item in listed] == [engine.name]
        assert (await http.post(gateway.url + "/v1/chat/completions", json=chat())).is_success
        assert (await http.get(admin + "/alise/queue")).json()["in_flight"] == 0
        assert (await http.post(admin + "/v1/chat/completions", json=chat())).status_code == 404


async def test_a_client_that_leaves_a_control_request_leaves_nothing(
    gateway: RunningGateway,
) -> None:
    async with connected(gateway.port) as client:
        client.send(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n" * 5)
        client.reset()


document = schemathesis.openapi.from_dict(
    create_control_app(FakeControlView(), admin=False).openapi()
)


@pytest.mark.slow
async def test_the_openapi_document_holds_through_the_gateways_own_server(
    gateway: RunningGateway,
) -> None:
    """The document's promises, kept by the live gateway and its own HTTP server."""

    asked = 0

    def ask_everything(url: str) -> None:
        for result in document.get_all_operations():
            assert isinstance(result, Ok)

            @settings(max_examples=15, deadline=None, database=None)
            @given(result.ok().as_strategy())
            def holds(case: schemathesis.Case[Any]) -> None:
                nonlocal asked
                asked += 1
                case.call_and_validate(base_url=url)

            holds()

    await asyncio.to_thread(ask_everything, gateway.url)
    assert asked >= 5
