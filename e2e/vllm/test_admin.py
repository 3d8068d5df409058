"""Looking at a running vLLM, changing it and draining it, and what the gateway makes of that."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from running.gateway import GatewayServer, start_gateway
from running.plugin import plugin_variables
from running.process import ServerProcess
from running.scrape import eventually
from running.vllm import MODEL, VllmEnvironment, VllmServer, start_vllm

TOKEN = "an-admin-token-of-the-test"
ADMIN = {"authorization": f"Bearer {TOKEN}"}
COMPLETIONS = "/v1/completions"
PART, KEY = "demo", "max_active_requests"
LONG = {"model": MODEL, "prompt": "Once", "max_tokens": 600, "ignore_eos": True, "stream": True}
SHORT = {"model": MODEL, "prompt": "Twice", "max_tokens": 3, "ignore_eos": True}
FLAGS = (
    "--middleware=alise_vllm.control.middleware.Drain",
    "--scheduler-cls=tunable_scheduler.TunableScheduler",
    "--shutdown-timeout=60",
    "--api-key=for-clients",
)
TURN = [{"role": "user", "content": "Name a module."}]
CLIENT = {"authorization": "Bearer for-clients"}
SEEN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Drainable:
    """An engine with the plugin."""

    server: VllmServer

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        options.setdefault("headers", ADMIN)
        return httpx.request(method, self.server.url + path, timeout=60, **options)

    def tune(self, changes: object) -> httpx.Response:
        return self.ask("POST", "/alise/tune", json=changes)

    def state(self) -> dict[str, Any]:
        (engine,) = self.ask("GET", "/alise/state").json()["engines"]
        found: dict[str, Any] = engine
        return found

    def ready(self) -> tuple[int, str | None]:
        reply = self.ask("GET", "/alise/ready", headers={})
        return reply.status_code, reply.json()["reason"]

    @contextmanager
    def streaming(self) -> Iterator[Iterator[str]]:
        """A long answer that has begun; its further lines."""
        url = self.server.url + COMPLETIONS
        with httpx.stream("POST", url, json=LONG, headers=CLIENT, timeout=120) as reply:
            assert reply.status_code == httpx.codes.OK
            lines = (line for line in reply.iter_lines() if line)
            next(lines)
            yield lines


def whole(lines: Iterator[str]) -> bool:
    *_, last, done = lines
    reason = json.loads(last.removeprefix("data: "))["choices"][0]["finish_reason"]
    return (reason, done) == ("length", "data: [DONE]")


@pytest.fixture(scope="module")
def drainable(
    environment: VllmEnvironment,
    logs: Path,
    processes: list[ServerProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Drainable]:
    folder = tmp_path_factory.mktemp("plugin")
    token = tmp_path_factory.mktemp("admin") / "token"
    token.write_text(f"{TOKEN}\n", encoding="utf-8")
    scheduler = Path(__file__).parents[1] / "running/tunable_scheduler.py"
    variables = plugin_variables(folder, [scheduler])
    config = json.dumps({"alise": {"admin": {"token_file": str(token)}}})
    flags = (*FLAGS, f"--additional-config={config}")
    server = start_vllm(environment, "vllm-admin", logs, 0, flags, variables)
    processes.append(server.process)
    server.wait_until_ready()
    yield Drainable(server)
    server.process.stop()
    assert TOKEN not in server.process.output()


@pytest.fixture(scope="module")
def gateway(
    drainable: Drainable,
    logs: Path,
    processes: list[ServerProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayServer]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "key").write_text("for-clients", encoding="utf-8")
    backend = {"url": drainable.server.url, "api_key_file": str(folder / "key")}
    config = folder / "gateway.yaml"
    config.write_text(json.dumps({"backends": [backend]}), encoding="utf-8")
    server = start_gateway("gateway-admin", [], logs, ("--config", str(config)))
    processes.append(server.process)
    yield server
    server.process.stop()


def test_state_is_shown_with_the_token_only(drainable: Drainable) -> None:
    assert drainable.state()[PART][KEY] == 32
    assert drainable.state()["core"]["scheduler"] == "TunableScheduler"
    for headers in ({}, CLIENT, {"authorization": "Bearer wrong"}):
        assert drainable.ask("GET", "/alise/state", headers=headers).status_code == 401
        assert drainable.ask("POST", "/alise/tune", headers=headers, json={}).status_code == 401
        assert drainable.ask("POST", "/alise/drain", headers=headers).status_code == 401
    assert drainable.ready() == (200, None)


def test_a_change_works_while_requests_run(drainable: Drainable) -> None:
    with drainable.streaming() as first:
        changed = drainable.tune({PART: {KEY: 1}})
        assert changed.json() == {"engines": [{PART: {KEY: [32, 1]}}]}
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(drainable.ask, "POST", COMPLETIONS, json=SHORT, headers=CLIENT)
            state = drainable.state
            eventually(lambda: state()["core"]["waiting"] == 1, SEEN_SECONDS, "a waiting request")
            assert drainable.state()["core"]["running"] == 1

            assert drainable.tune({PART: {KEY: 32}}).json()["engines"] == [{PART: {KEY: [1, 32]}}]
            assert second.result().status_code == httpx.codes.OK
        assert drainable.state()["core"]["running"] == 1
        assert whole(first)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({PART: {KEY: 5, "wrong": 1}}, f"{PART}.wrong"),
        ({PART: {KEY: 33}}, f"{PART}.{KEY}"),
        ({PART: {KEY: 2**80}}, f"{PART}.{KEY}"),
        ({PART: {KEY: 5}, "nobody": {}}, "nobody"),
        ({"core": {"running": 5}}, "core.running"),
        ([1], None),
    ],
)
def test_a_wrong_change_is_named_and_nothing_is_changed(
    drainable: Drainable, changes: object, param: str | None
) -> None:
    reply = drainable.tune(changes)

    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param
    assert drainable.state()[PART][KEY] == 32


def test_figures_are_on_vllms_own_page_of_metrics(drainable: Drainable) -> None:
    fresh = httpx.get(f"{drainable.server.url}/alise/metrics", timeout=10).text
    assert f'alise_engine_demo_{KEY}{{engine="0"}} 32.0' in fresh
    # What the registry shows is some seconds old and may be of the test before.
    eventually(
        lambda: drainable.server.metrics().sum(f"alise_engine_demo_{KEY}") == 32,
        SEEN_SECONDS,
        "the figures of the engine",
    )


def test_a_drain_lets_a_stream_finish(drainable: Drainable) -> None:
    with drainable.streaming() as lines:
        reply = drainable.ask("POST", "/alise/drain")
        assert reply.json() == {"draining": True, "in_progress": 1}
        assert drainable.ready() == (503, "draining")
        assert drainable.ask("GET", "/health").status_code == 200
        refused = drainable.ask("POST", COMPLETIONS, json=SHORT, headers=CLIENT)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == "draining"
        assert drainable.ask("GET", "/v1/models", headers=CLIENT).status_code == 200
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(drainable.ask, "POST", "/alise/drain?wait_seconds=60")
            assert whole(lines)
            assert waiting.result().json() == {"draining": True, "in_progress": 0}
    assert drainable.ask("POST", "/alise/undrain").json()["draining"] is False
    assert drainable.ask("POST", COMPLETIONS, json=SHORT, headers=CLIENT).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETIONS, {"prompt": "Twice"}),
        ("/v1/chat/completions", {"messages": TURN}),
        ("/v1/messages", {"messages": TURN}),
        ("/v1/responses", {"input": "Twice"}),
    ],
)
def test_the_engine_is_told_what_the_gateway_predicts(
    drainable: Drainable, gateway: GatewayServer, path: str, body: dict[str, Any]
) -> None:
    limit = "max_output_tokens" if path.endswith("responses") else "max_tokens"
    content = {"model": MODEL, limit: 40, "vllm_xargs": {"mine": "kept"}, **body}
    reply = httpx.post(gateway.url + path, json=content, timeout=60)

    assert reply.status_code == httpx.codes.OK, reply.text
    told = drainable.state()[PART]["told"]
    assert told["mine"] == "kept"
    assert told["alise_p50"] == int(reply.headers["x-alise-predicted-tokens"])
    assert told["alise_p50"] <= told["alise_p90"] <= 40
    assert told["alise_class"] == 2


def test_the_gateway_leaves_a_draining_engine_alone(
    drainable: Drainable, gateway: GatewayServer
) -> None:
    def answers(status: int) -> bool:
        return httpx.get(f"{gateway.url}/readyz", timeout=10).status_code == status

    drainable.ask("POST", "/alise/drain")
    eventually(lambda: answers(503), SEEN_SECONDS, "the gateway to see the drain")
    drainable.ask("POST", "/alise/undrain")
    eventually(lambda: answers(200), SEEN_SECONDS, "the gateway to see its end")
    content = {"model": MODEL, "prompt": "Twice", "max_tokens": 3}
    assert httpx.post(gateway.url + COMPLETIONS, json=content, timeout=60).status_code == 200


def test_sigterm_drains(drainable: Drainable) -> None:
    """Last of this server: it ends."""
    with drainable.streaming() as lines:
        os.kill(drainable.server.process.pid, signal.SIGTERM)
        closed = (503, "shutting_down")
        eventually(lambda: drainable.ready() == closed, SEEN_SECONDS, "SIGTERM to be heard")
        refused = drainable.ask("POST", COMPLETIONS, json=SHORT, headers=CLIENT)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "shutting_down"
        assert drainable.ask("GET", "/health").status_code == 200
        assert drainable.ask("POST", "/alise/undrain").status_code == 409
        assert whole(lines)
    eventually(lambda: not drainable.server.process.running, SEEN_SECONDS, "the end of vLLM")
