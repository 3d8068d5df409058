import logging
from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest

from alise_gateway.control.api import create_control_app
from alise_gateway.control.view import Readiness
from fakes.control import FakeControlView

TOKEN = "admin-secret"


def client(
    view: FakeControlView, *, admin: bool = True, token: str | None = None
) -> httpx.AsyncClient:
    app = create_control_app(view, admin=admin, admin_token=token)
    transport = httpx.ASGITransport(app)  # raises what the app raises
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


def error_of(reply: httpx.Response) -> dict[str, str | None]:
    document = reply.json()
    assert list(document) == ["error"]
    error: dict[str, str | None] = document["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.fixture
def view() -> FakeControlView:
    return FakeControlView()


async def test_healthz_needs_nothing(view: FakeControlView) -> None:
    view.ready = Readiness(False, ("no usable backend",))
    async with client(view) as http:
        reply = await http.get("/healthz")
        assert (reply.status_code, reply.json()) == (200, {"status": "ok"})
        head = await http.head("/healthz")
        assert (head.status_code, head.content) == (200, b"")


async def test_readyz_says_why_not(view: FakeControlView) -> None:
    async with client(view) as http:
        reply = await http.get("/readyz")
        assert (reply.status_code, reply.json()) == (200, {"status": "ready", "reasons": []})
        assert (await http.head("/readyz")).status_code == 200
        view.ready = Readiness(False, ("no usable backend",))
        reply = await http.get("/readyz")
        assert reply.status_code == 503
        assert reply.json() == {"status": "not_ready", "reasons": ["no usable backend"]}
        head = await http.head("/readyz")
        assert (head.status_code, head.content) == (503, b"")


async def test_metrics_pass_the_scrapers_wish_on(view: FakeControlView) -> None:
    async with client(view) as http:
        reply = await http.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert view.accepted == ["application/openmetrics-text"]
    assert reply.content == b"a 1.0\n"
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_models_have_openais_shape(view: FakeControlView) -> None:
    async with client(view, admin=False) as http:
        reply = await http.get("/v1/models")
        one = await http.get("/v1/models/meta-llama/Llama-3.1-8B")
        escaped = await http.get("/v1/models/meta-llama%2FLlama-3.1-8B")
    llama = {
        "id": "meta-llama/Llama-3.1-8B",
        "object": "model",
        "created": 1_750_000_000,
        "owned_by": "vllm",
        "max_model_len": 131_072,
    }
    assert reply.json()["object"] == "list"
    assert reply.json()["data"][0] == llama
    assert reply.json()["data"][1]["max_model_len"] is None
    assert one.json() == escaped.json() == llama


@pytest.mark.parametrize("name", ["gpt-4", "", "small/", "meta-llama", "x" * 5_000])
async def test_an_unknown_model_is_not_found(view: FakeControlView, name: str) -> None:
    async with client(view) as http:
        reply = await http.get(f"/v1/models/{name}")
    assert reply.status_code == 404
    error = error_of(reply)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert len(error["message"] or "") < 300


async def test_backends_and_queue_are_shown(view: FakeControlView) -> None:
    async with client(view) as http:
        backends = (await http.get("/alise/backends")).json()["backends"]
        queue = (await http.get("/alise/queue")).json()
    assert backends[1] == {
        "name": "10.0.0.2:8000",
        "url": "http://10.0.0.2:8000",
        "probe": "unhealthy",
        "probe_error": "connection refused",
        "has_plugin": False,
        "breaker": "open",
        "usable": False,
        "in_flight": 0,
        "max_in_flight": 256,
        "models": [],
        "load": {
            "capacity_tokens": None,
            "cache_dtype": None,
            "kv_used_ratio": None,
            "kv_predicted_peak_ratio": None,
            "kv_correction_ratio": 1.0,
            "admission_quantile_ratio": 0.5,
            "in_flight_limit": 256.0,
            "figures_stale": True,
            "engine_running": None,
            "engine_waiting": None,
            "step_seconds": 0.012,
        },
    }
    assert queue == {
        "waiting": 2,
        "waiting_by_class": {"default": 2},
        "ordering": "boost",
        "ordering_by_model": {},
        "max_waiting": 100,
        "in_flight": 3,
        "oldest_wait_seconds": 1.5,
        "draining": False,
    }


async def test_draining_makes_the_gateway_not_ready(view: FakeControlView) -> None:
    async with client(view) as http:
        for _ in range(2):
            reply = await http.post("/alise/drain")
            assert reply.status_code == 202
            assert reply.json() == {"status": "draining", "in_flight": 3, "waiting": 2}
        assert (await http.get("/readyz")).status_code == 503


@pytest.mark.parametrize("path", ["/alise/backends", "/alise/queue", "/alise/drain"])
async def test_clients_do_not_reach_the_admin_endpoints(view: FakeControlView, path: str) -> None:
    async with client(view, admin=False) as http:
        for method in ("GET", "POST"):
            assert (await http.request(method, path)).status_code == 404
        paths = (await http.get("/openapi.json")).json()["paths"]
    assert not view.draining
    assert not [listed for listed in paths if listed.startswith("/alise")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": b"Bearer \xff\xfe"},
    ],
)
async def test_without_the_token_nothing_is_done(
    view: FakeControlView, headers: dict[str, str | bytes]
) -> None:
    async with client(view, token=TOKEN) as http:
        raw = [
            (key.encode(), v.encode() if isinstance(v, str) else v) for key, v in headers.items()
        ]
        reply = await http.post("/alise/drain", headers=raw)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert error_of(reply)["type"] == "authentication_error"
    assert TOKEN not in reply.text
    assert not view.draining


async def test_the_token_opens_and_probes_need_none(view: FakeControlView) -> None:
    async with client(view, token=TOKEN) as http:
        good = {"authorization": f"Bearer {TOKEN}"}
        assert (await http.get("/alise/queue", headers=good)).status_code == 200
        for path in ("/healthz", "/readyz", "/metrics", "/v1/models"):
            assert (await http.get(path)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/healthz/", "/docs", "/alise", "/v1/chat/completions"]
)
async def test_unknown_routes_have_openais_shape(view: FakeControlView, path: str) -> None:
    async with client(view) as http:
        reply = await http.get(path)
    assert reply.status_code == 404
    assert error_of(reply)["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/v1/models/small", "GET"),
        ("GET", "/alise/drain", "POST"),
        ("PUT", "/metrics", "GET"),
    ],
)
async def test_wrong_methods_say_which_are_right(
    view: FakeControlView, method: str, path: str, allow: str
) -> None:
    async with client(view) as http:
        reply = await http.request(method, path)
    assert reply.status_code == 405
    assert reply.headers["allow"] == allow
    assert error_of(reply)["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/readyz", "/metrics", "/v1/models", "/alise/queue"])
async def test_a_bug_is_logged_and_not_shown(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with client(FakeControlView(broken=True)) as http:
        with caplog.at_level(logging.ERROR):
            reply = await http.get(path)
        assert (await http.get("/healthz")).status_code == 200
    assert reply.status_code == 500
    assert error_of(reply)["type"] == "server_error"
    assert "internal detail" not in reply.text
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_lifespan_is_not_needed(view: FakeControlView) -> None:
    """The inference port serves the app without ever sending it a lifespan event."""
    app = create_control_app(view, admin=False)
    sent = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/healthz",
        "raw_path": b"/healthz",
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": None,
        "server": None,
    }
    await app(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 200


async def test_no_reply_promises_the_frameworks_error_shape(view: FakeControlView) -> None:
    async with client(view, token=TOKEN) as http:
        document = (await http.get("/openapi.json")).json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert "500" in operation["responses"], (method, path)
            assert ("401" in operation["responses"]) == path.startswith("/alise/"), path
